//! The place where sessions are kept, whichever it is.

use std::path::PathBuf;

use super::cache::Cache;
use super::cookie::Id;
#[cfg(feature = "redis")]
use super::in_redis::InRedis;
use super::record::{Millis, Row};
use super::sql::Sql;
use super::sqlite;
use crate::BoxError;
use crate::database::Database;
#[cfg(feature = "redis")]
use crate::redis::Redis;

/// A place for sessions.
pub(super) enum Place {
    /// A file of SQLite in the state directory.
    Directory,
    /// The service's database.
    Database(Database),
    #[cfg(feature = "redis")]
    Redis(Redis),
}

/// A place that was opened.
pub(super) enum Store {
    Sql(Sql),
    #[cfg(feature = "redis")]
    Redis(InRedis),
}

/// Asks the store, whichever it is.
macro_rules! of {
    ($store:ident, $inner:ident => $answer:expr) => {
        match $store {
            Self::Sql($inner) => $answer,
            #[cfg(feature = "redis")]
            Self::Redis($inner) => $answer,
        }
    };
}

impl Place {
    /// Opens it: one try. `directory`: the state directory.
    ///
    /// # Errors
    /// If the place does not answer, or nothing can be kept there.
    pub(super) async fn open(
        &self,
        directory: impl FnOnce() -> Result<PathBuf, BoxError> + Send,
    ) -> Result<(Store, Option<Cache>), BoxError> {
        match self {
            Self::Directory => {
                let directory = directory()?;
                let sql = Sql::Own(sqlite::open(&directory).await?);
                sql.prepare().await?;
                Ok((Store::Sql(sql), Some(Cache::open(&directory)?)))
            }
            Self::Database(database) => {
                let sql = Sql::OfTheService(database.clone());
                sql.prepare().await?;
                Ok((Store::Sql(sql), None))
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                redis.open().await?;
                Ok((Store::Redis(InRedis::new(redis.clone())), None))
            }
        }
    }
}

impl Store {
    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        of!(self, store => store.load(id).await)
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        of!(self, store => store.create(id, row).await)
    }

    /// Replaces the session of this id and the row's version, in one step. `new`: its id from now on. False: there is none.
    pub(super) async fn update(&self, id: Id, new: Id, row: &Row) -> Result<bool, BoxError> {
        of!(self, store => store.update(id, new, row).await)
    }

    /// Lets a session live until then, and no shorter than it would have.
    pub(super) async fn touch(&self, id: Id, expires: Millis) -> Result<(), BoxError> {
        of!(self, store => store.touch(id, expires).await)
    }

    /// Removes sessions. Returns how many of them there were.
    pub(super) async fn delete(&self, ids: &[Id]) -> Result<u64, BoxError> {
        of!(self, store => store.delete(ids).await)
    }

    /// The sessions of the user with this key that live longer than until then, the newest first.
    pub(super) async fn of_user(&self, user_key: &str, then: Millis) -> Result<Vec<Id>, BoxError> {
        of!(self, store => store.of_user(user_key, then).await)
    }

    /// Removes what has expired. Returns how many sessions that were.
    pub(super) async fn sweep(&self, now: Millis) -> Result<u64, BoxError> {
        of!(self, store => store.sweep(now).await)
    }

    /// The number of all sessions, if the place can tell.
    pub(super) async fn count(&self) -> Result<Option<u64>, BoxError> {
        of!(self, store => store.count().await)
    }

    /// True if other hosts may have the same sessions.
    pub(super) fn is_shared(&self) -> bool {
        of!(self, store => store.is_shared())
    }

    /// Asks the place for a sign of life.
    pub(super) async fn ping(&self) -> Result<(), BoxError> {
        of!(self, store => store.ping().await)
    }

    pub(super) async fn close(&self) {
        of!(self, store => store.close().await);
    }
}
