//! The database as a part of the service.

use futures_util::future::BoxFuture;
use gin_shared::config::Problem;
use serde_json::{Value, json};

use super::Database;
use super::migrate::{Migrations, Target, Uncut};
use crate::Error;
use crate::config::Database as Config;
use crate::parts::{Health, Part};

/// The database that a program registers, with its migrations.
pub(crate) struct DatabasePart {
    database: Database,
    migrations: Option<Box<dyn Migrations>>,
    uncut: Uncut,
}

impl DatabasePart {
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// If the configuration names no database that can be used.
    pub(crate) fn new(config: &Config, migrations: Option<Box<dyn Migrations>>) -> Result<Self, Problem> {
        Ok(Self { database: Database::new(config)?, migrations, uncut: Uncut::default() })
    }

    /// The handle that handlers take.
    pub(crate) fn handle(&self) -> Database {
        self.database.clone()
    }

    /// The migrations that the program has registered.
    pub(crate) fn migrations(&self) -> Option<&dyn Migrations> {
        self.migrations.as_deref()
    }

    /// The database for migrations. It must be open.
    pub(crate) fn target(&self) -> Target {
        let kind = self.database.0.state.target.for_migrations();
        Target { connection: self.database.connection().clone(), kind, uncut: self.uncut.clone() }
    }
}

impl Part for DatabasePart {
    fn name(&self) -> &'static str {
        "database"
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.database.try_to_open())
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            if let Some(migrations) = &self.migrations {
                migrations.up(&self.target(), None).await.map_err(Error::internal)?;
            }
            Ok(())
        })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.uncut.leave())
    }

    fn health(&self) -> Health {
        self.database.0.state.health()
    }

    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.database.0.state.look())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.database.close().await })
    }

    fn details(&self) -> Value {
        let state = &self.database.0.state;
        let sample = self.database.sample();
        json!({
            "place": state.target.place,
            "connections": { "open": sample.open, "idle": sample.idle, "used": sample.used(), "max": state.limits.open },
            "waiting": sample.waiting,
        })
    }
}
