//! The migrations that a program knows, compared with those that its database has had.

use std::marker::PhantomData;

use sea_orm::sea_query::{Order, Query};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, DynIden};
use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::{MigrationTrait, MigratorTrait, MigratorTraitSelf, SchemaManager, seaql_migrations};

use super::mark::{self, Mark};
use super::{ANSWER, answered};

/// Migrations that are applied, and those that are not.
#[derive(Debug)]
pub(super) struct Journal {
    /// The table in which sea-orm-migration notes what is applied.
    pub(super) table: String,
    /// The names of the migrations that the program knows, in their order.
    pub(super) known: Vec<String>,
    /// The names of those that are applied, with the second since 1970.
    pub(super) applied: Vec<(String, i64)>,
    /// The migration of this table that runs without a transaction now, or has ended half way.
    pub(super) mark: Option<Mark>,
}

impl Journal {
    /// The second since 1970 at which a migration was applied.
    pub(super) fn applied_at(&self, name: &str) -> Option<i64> {
        self.applied.iter().find(|(applied, _)| applied == name).map(|(_, at)| *at)
    }

    /// Known ones that are not applied, in their order.
    pub(super) fn pending(&self) -> Vec<String> {
        self.known.iter().filter(|name| self.applied_at(name).is_none()).cloned().collect()
    }

    /// Known ones that are applied, the last one first.
    pub(super) fn to_take_back(&self) -> Vec<String> {
        self.known.iter().rev().filter(|name| self.applied_at(name).is_some()).cloned().collect()
    }

    /// The mark of a migration that the program knows. What has become of another one is for the version that has it to find out.
    pub(super) fn own_mark(&self) -> Option<&Mark> {
        self.mark.as_ref().filter(|mark| self.known.contains(&mark.name))
    }

    /// The mark of a migration that the program does not know.
    pub(super) fn foreign_mark(&self) -> Option<&Mark> {
        self.mark.as_ref().filter(|mark| !self.known.contains(&mark.name))
    }

    /// Applied ones that the program does not know: those of a newer version.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.applied.iter().map(|(name, _)| name).filter(|name| !self.known.contains(name)).cloned().collect()
    }
}

/// Reads what is there, and creates nothing: a user without the right to create tables can read it.
pub(super) async fn read<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<Journal, DbErr> {
    answered(ANSWER, whole::<M>(connection)).await
}

async fn whole<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<Journal, DbErr> {
    let table = M::migration_table_name().to_string();
    let known = names::<M>();
    let manager = SchemaManager::new(connection);
    let applied = if manager.has_table(&table).await? { applied::<M>(connection).await? } else { Vec::new() };
    let mark = if manager.has_table(mark::TABLE).await? { mark::read(connection, &table).await? } else { None };
    Ok(Journal { table, known, applied, mark })
}

fn names<M: MigratorTrait>() -> Vec<String> {
    M::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

async fn applied<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<Vec<(String, i64)>, DbErr> {
    let question = Query::select()
        .columns([seaql_migrations::Column::Version, seaql_migrations::Column::AppliedAt])
        .from(M::migration_table_name())
        .order_by(seaql_migrations::Column::Version, Order::Asc)
        .to_owned();
    let rows = connection.query_all(&question).await?;
    rows.iter().map(|row| Ok((row.try_get("", "version")?, row.try_get("", "applied_at")?))).collect()
}

/// The migrations of `M` to sea-orm-migration, which refuses any work while one is applied that it does not know: of such it is told
/// nothing.
pub(super) struct Known<M>(PhantomData<fn() -> M>);

impl<M> Known<M> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

#[async_trait]
impl<M: MigratorTrait + 'static> MigratorTraitSelf for Known<M> {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        M::migrations()
    }

    fn migration_table_name(&self) -> DynIden {
        M::migration_table_name()
    }

    async fn get_migration_models<C>(&self, db: &C) -> Result<Vec<seaql_migrations::Model>, DbErr>
    where
        C: ConnectionTrait,
    {
        let known = names::<M>();
        let mut models = M::get_migration_models(db).await?;
        models.retain(|model| known.contains(&model.version));
        Ok(models)
    }
}
