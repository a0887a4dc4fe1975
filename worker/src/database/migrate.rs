//! Migrations of the database: each runs once, however many workers and generations start at the same time.
//!
//! [`Migrations`] is what the rest knows of an application's `MigratorTrait`. Order, names and the table (`seaql_migrations`) are
//! sea-orm-migration's own, so that sea-orm-cli can go on with the same database. This is added:
//!
//! | file | has |
//! |---|---|
//! | `lock` | one process migrates at a time; its death frees the lock |
//! | `journal` | what is applied and what is pending. A migration that is applied and that this program does not know is of a newer version: no error, or no old worker could be started while the new generation comes up |
//! | `steps` | a migration in a transaction, where the database has such for its schema |
//! | `uncut` | a process that is asked to stop ends a migration without a transaction first |
//! | `mark` | a row while a migration without a transaction runs: the next start knows that one has ended half way |
//! | `report` | the outcome, for people |
//!
//! If nothing is pending, a start asks two or three questions and takes no lock.

mod journal;
mod lock;
mod mark;
mod report;
mod steps;
#[cfg(test)]
mod tests;
mod uncut;

use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gin_shared::migration::{Direction, Order};
use sea_orm::{DatabaseConnection, DbErr, RuntimeErr};
use sea_orm_migration::MigratorTrait;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

pub(crate) use report::Report;
pub(crate) use uncut::Uncut;

/// The database that is migrated.
pub(crate) struct Target {
    /// The worker's own connection: to look, and on SQLite to migrate by. It may write.
    pub(crate) connection: DatabaseConnection,
    /// The kind, with what a connection for the migrations alone is made of.
    pub(crate) kind: Kind,
    /// Migrations that are not to be cut off.
    pub(crate) uncut: Uncut,
}

/// A kind of database.
pub(crate) enum Kind {
    /// SQLite in this file; `None`: in memory, where nobody else migrates.
    Sqlite(Option<PathBuf>),
    /// MySQL, or MariaDB.
    MySql(Box<MySqlConnectOptions>),
    /// PostgreSQL.
    Postgres(Box<PgConnectOptions>),
}

/// Time for a server to answer a question that it need not think about.
const ANSWER: Duration = Duration::from_secs(30);

/// The answer to such a question. A start that waited for a server that hangs would never end, as its time is extended.
///
/// # Errors
/// The question's own, or that there was no answer in time.
async fn answered<T>(within: Duration, question: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    match tokio::time::timeout(within, question).await {
        Ok(answer) => answer,
        Err(_) => Err(DbErr::Conn(RuntimeErr::Internal(format!("no answer within {within:?}")))),
    }
}

/// Why a database is not as the program needs it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The database failed at something that is no migration.
    #[error("the migrations cannot be looked at: {0}")]
    Database(#[from] DbErr),
    /// There is no connection for the migrations.
    #[error("no connection to migrate by: {0}")]
    Connection(#[from] sqlx::Error),
    /// The file of the lock cannot be used.
    #[error("the lock of the migrations, {}: {error}", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The database gives no lock.
    #[error("the database gives no lock for the migrations (GET_LOCK says NULL); its error log may tell why")]
    NoLock,
    /// A migration failed.
    #[error("migration {name} failed ({}): {error}; {}", .direction.word(), remains(*.is_undone))]
    Failed {
        /// Its name.
        name: String,
        /// Direction of the migration.
        direction: Direction,
        /// Its error.
        error: DbErr,
        /// True if it ran in a transaction.
        is_undone: bool,
    },
    /// The process was asked to stop.
    #[error(
        "the process was asked to stop: the migration that it was at is done or undone, and no other one was begun"
    )]
    Stopped,
    /// A migration without a transaction was begun, and has not ended.
    #[error("{0}")]
    HalfWay(String),
    /// Later migrations are applied, of which this program knows nothing.
    #[error(
        "the database has migrations that this program does not know, of a newer version: {}; take those back first, by the program \
         that has them",
        .0.join(", ")
    )]
    Unknown(Vec<String>),
}

fn remains(is_undone: bool) -> &'static str {
    if is_undone {
        "nothing of it remains"
    } else {
        "it ran without a transaction, so a part of it may remain: the next start refuses, and says what to do"
    }
}

/// The migrations of an application, whatever its type.
pub(crate) trait Migrations: Send + Sync {
    /// Applies what is pending, `count` of them at most, under the lock. Gives the names of those that were applied here.
    fn up<'a>(&'a self, target: &'a Target, count: Option<u32>) -> BoxFuture<'a, Result<Vec<String>, MigrateError>>;

    /// Takes the last `count` back, under the lock. Gives their names.
    fn down<'a>(&'a self, target: &'a Target, count: u32) -> BoxFuture<'a, Result<Vec<String>, MigrateError>>;

    /// Tells what is applied and what is not. It takes no lock and creates nothing.
    fn status<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Report, MigrateError>>;
}

/// The migrations of `M`.
pub(crate) fn of<M: MigratorTrait + 'static>() -> Box<dyn Migrations> {
    Box::new(Registered::<M>(PhantomData))
}

struct Registered<M>(PhantomData<fn() -> M>);

impl<M: MigratorTrait + 'static> Migrations for Registered<M> {
    fn up<'a>(&'a self, target: &'a Target, count: Option<u32>) -> BoxFuture<'a, Result<Vec<String>, MigrateError>> {
        Box::pin(steps::up::<M>(target, count))
    }

    fn down<'a>(&'a self, target: &'a Target, count: u32) -> BoxFuture<'a, Result<Vec<String>, MigrateError>> {
        Box::pin(steps::down::<M>(target, count))
    }

    fn status<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Report, MigrateError>> {
        Box::pin(async move { Ok(Report::of(&journal::read::<M>(&target.connection).await?)) })
    }
}

/// Answer of a program to an order.
pub(crate) struct Told {
    /// The text to print.
    pub(crate) text: String,
    /// True if a migration runs without a transaction, or has ended half way.
    pub(crate) is_marked: bool,
}

/// Does what a program is asked for by `--migrate` or `GIN_MIGRATE`.
///
/// # Errors
/// See [`MigrateError`].
pub(crate) async fn carry_out(
    order: Order,
    migrations: &dyn Migrations,
    target: &Target,
) -> Result<Told, MigrateError> {
    let text = match order.direction {
        Direction::Status => {
            let report = migrations.status(target).await?;
            return Ok(Told { text: report.to_string(), is_marked: report.is_marked });
        }
        Direction::Up => report::done("applied", &migrations.up(target, order.count).await?),
        Direction::Down => report::done("taken back", &migrations.down(target, order.count.unwrap_or(1)).await?),
    };
    Ok(Told { text, is_marked: false })
}
