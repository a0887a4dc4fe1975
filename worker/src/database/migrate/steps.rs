//! Migrations one after the other, each in a transaction where the database has such for its schema.

use std::time::Instant;

use gin_shared::migration::Direction;
use sea_orm::{DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use sea_orm_migration::{IntoSchemaManagerConnection, MigratorTrait, MigratorTraitSelf};

use super::journal::{self, Journal, Known};
use super::lock::Held;
use super::mark::{self, Ended};
use super::{MigrateError, Target, Uncut};

/// See [`super::Migrations::up`].
pub(super) async fn up<M: MigratorTrait + 'static>(
    target: &Target,
    count: Option<u32>,
) -> Result<Vec<String>, MigrateError> {
    let seen = journal::read::<M>(&target.connection).await?;
    let unknown = seen.unknown();
    if !unknown.is_empty() {
        tracing::info!(
            "migrations of a newer version are applied, which this program does not know: {}",
            unknown.join(", ")
        );
    }
    if seen.pending().is_empty() && seen.own_mark().is_none() {
        // A worker of the old generation, which replaces one that has crashed, starts whatever becomes of the newer version.
        if let Some(mark) = seen.foreign_mark() {
            tracing::warn!(
                "migration {} of another version runs without a transaction now, or has ended half way; this program does not know it, \
                 and starts",
                mark.name
            );
        }
        return Ok(Vec::new());
    }
    let held = Held::take(target).await?;
    let outcome = up_locked::<M>(held.connection(), &target.uncut, count).await;
    held.free().await;
    outcome
}

/// See [`super::Migrations::down`].
pub(super) async fn down<M: MigratorTrait + 'static>(target: &Target, count: u32) -> Result<Vec<String>, MigrateError> {
    let held = Held::take(target).await?;
    let outcome = down_locked::<M>(held.connection(), &target.uncut, count).await;
    held.free().await;
    outcome
}

async fn up_locked<M: MigratorTrait + 'static>(
    connection: &DatabaseConnection,
    uncut: &Uncut,
    count: Option<u32>,
) -> Result<Vec<String>, MigrateError> {
    let mut names = settled::<M>(connection).await?.pending();
    names.truncate(count.map_or(usize::MAX, |count| count as usize));
    for name in &names {
        step::<M>(connection, uncut, Direction::Up, name).await?;
    }
    Ok(names)
}

async fn down_locked<M: MigratorTrait + 'static>(
    connection: &DatabaseConnection,
    uncut: &Uncut,
    count: u32,
) -> Result<Vec<String>, MigrateError> {
    let journal = settled::<M>(connection).await?;
    let unknown = journal.unknown();
    if !unknown.is_empty() {
        return Err(MigrateError::Unknown(unknown));
    }
    let mut names = journal.to_take_back();
    names.truncate(count as usize);
    for name in &names {
        step::<M>(connection, uncut, Direction::Down, name).await?;
    }
    Ok(names)
}

/// The journal, once it is sure that no migration has ended half way.
async fn settled<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<Journal, MigrateError> {
    let journal = journal::read::<M>(connection).await?;
    if let Some(mark) = &journal.mark {
        match mark.ended(journal.applied_at(&mark.name).is_some()) {
            Ended::Whole => mark::remove(connection, &mark.name).await?,
            Ended::HalfWay => return Err(MigrateError::HalfWay(mark.advice(&journal.table))),
        }
    }
    Ok(journal)
}

/// The next migration in this direction, which is `name`.
async fn step<M: MigratorTrait + 'static>(
    connection: &DatabaseConnection,
    uncut: &Uncut,
    direction: Direction,
    name: &str,
) -> Result<(), MigrateError> {
    let began = Instant::now();
    let is_undone = has_transaction(connection.get_database_backend(), wish::<M>(name));
    let _running = if is_undone { None } else { Some(uncut.begin().ok_or(MigrateError::Stopped)?) };
    let outcome = if is_undone {
        within_transaction::<M>(connection, direction).await
    } else {
        marked::<M>(connection, direction, name).await
    };
    outcome.map_err(|error| MigrateError::Failed { name: name.to_owned(), direction, error, is_undone })?;
    let took_ms = crate::graceful::millis_since(began);
    tracing::info!(migration = name, took_ms, "migration {name} done ({})", direction.word());
    Ok(())
}

async fn within_transaction<M: MigratorTrait + 'static>(
    connection: &DatabaseConnection,
    direction: Direction,
) -> Result<(), DbErr> {
    // SQLite: a transaction that only later finds that it writes may find another writer there, and then waiting does not help.
    let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode, ..TransactionOptions::default() };
    let transaction = connection.begin_with_options(options).await?;
    match run::<M, _>(&transaction, direction).await {
        Ok(()) => transaction.commit().await,
        Err(error) => {
            if let Err(error) = transaction.rollback().await {
                tracing::debug!("migrations: rollback: {error}");
            }
            Err(error)
        }
    }
}

/// A failure leaves the mark.
async fn marked<M: MigratorTrait + 'static>(
    connection: &DatabaseConnection,
    direction: Direction,
    name: &str,
) -> Result<(), DbErr> {
    mark::write(connection, &M::migration_table_name().to_string(), direction, name).await?;
    run::<M, _>(connection, direction).await?;
    mark::remove(connection, name).await
}

async fn run<'c, M, C>(connection: C, direction: Direction) -> Result<(), DbErr>
where
    M: MigratorTrait + 'static,
    C: IntoSchemaManagerConnection<'c>,
{
    let known = Known::<M>::new();
    match direction {
        Direction::Status => Ok(()),
        Direction::Up => MigratorTraitSelf::up(&known, connection, Some(1)).await,
        Direction::Down => MigratorTraitSelf::down(&known, connection, Some(1)).await,
    }
}

/// A migration's own choice about a transaction.
fn wish<M: MigratorTrait>(name: &str) -> Option<bool> {
    M::migrations().iter().find(|migration| migration.name() == name).and_then(|migration| migration.use_transaction())
}

/// True if all of a migration can be undone. MySQL commits at each statement on the schema, whatever a migration says.
fn has_transaction(backend: DbBackend, wish: Option<bool>) -> bool {
    backend != DbBackend::MySql && wish != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_undoes_nothing_and_the_others_all_unless_a_migration_says_otherwise() {
        for wish in [None, Some(true), Some(false)] {
            assert!(!has_transaction(DbBackend::MySql, wish));
            for backend in [DbBackend::Postgres, DbBackend::Sqlite] {
                assert_eq!(has_transaction(backend, wish), wish != Some(false));
            }
        }
    }
}
