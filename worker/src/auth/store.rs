//! The store of logins, in whichever place it is.

use std::path::PathBuf;

use sqlx::sqlite::SqliteSynchronous;

#[cfg(feature = "redis")]
use super::in_redis::InRedis;
use super::logins::{Millis, Row};
use super::sql::InSql;
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::marks::Marks;
use crate::kept::place::Place;
use crate::kept::sql::Sql;
use crate::kept::sqlite;

/// Files in the state directory.
const DATABASE: &str = "auth.db";
const MARKS: &str = "auth.marks";
/// A logout, and the use of a refresh token, are on the disk before they are answered: a power cut brings no login back.
const SYNCHRONOUS: SqliteSynchronous = SqliteSynchronous::Full;

/// A place that was opened.
pub(super) enum Store {
    Sql(InSql),
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

impl Store {
    /// Opens the place: one try. `directory`: the state directory. The marks are those of logins in the state directory: of others nobody
    /// says when they change.
    ///
    /// # Errors
    /// If the place does not answer, or nothing can be kept there.
    pub(super) async fn open(
        place: &Place,
        directory: impl FnOnce() -> Result<PathBuf, BoxError> + Send,
    ) -> Result<(Self, Option<Marks>), BoxError> {
        match place {
            Place::Directory => {
                let directory = directory()?;
                let sql = InSql::open(Sql::Own(sqlite::open(&directory, DATABASE, SYNCHRONOUS).await?)).await?;
                Ok((Self::Sql(sql), Some(Marks::open(&directory, MARKS)?)))
            }
            Place::Database(database) => Ok((Self::Sql(InSql::open(Sql::OfTheService(database.clone())).await?), None)),
            #[cfg(feature = "redis")]
            Place::Redis(redis) => {
                redis.open().await?;
                Ok((Self::Redis(InRedis::new(redis.clone())), None))
            }
        }
    }

    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        of!(self, store => store.load(id).await)
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        of!(self, store => store.create(id, row).await)
    }

    /// Has the next refresh token take the place of this one, in one step. False: the login has another number, or there is none.
    pub(super) async fn turn(&self, id: Id, version: i64, turned: Millis, expires: Millis) -> Result<bool, BoxError> {
        of!(self, store => store.turn(id, version, turned, expires).await)
    }

    /// Removes logins. Returns how many of them there were.
    pub(super) async fn delete(&self, ids: &[Id]) -> Result<u64, BoxError> {
        of!(self, store => store.delete(ids).await)
    }

    /// The logins of the user with this key that live longer than until then, the newest first.
    pub(super) async fn of_user(&self, user_key: &str, then: Millis) -> Result<Vec<Id>, BoxError> {
        of!(self, store => store.of_user(user_key, then).await)
    }

    /// Removes what has expired. Returns how many logins that were.
    pub(super) async fn sweep(&self, now: Millis) -> Result<u64, BoxError> {
        of!(self, store => store.sweep(now).await)
    }

    /// The number of all logins, if the place can tell.
    pub(super) async fn count(&self) -> Result<Option<u64>, BoxError> {
        of!(self, store => store.count().await)
    }

    /// True if other hosts may have the same logins.
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
