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
use crate::kept::rows::{Rows, whichever};
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
        whichever!(self, store => store.load(id).await)
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        whichever!(self, store => store.create(id, row).await)
    }

    /// Has the next refresh token take the place of this one, in one step. False: the login has another number, or there is none.
    pub(super) async fn turn(&self, id: Id, version: i64, turned: Millis, expires: Millis) -> Result<bool, BoxError> {
        whichever!(self, store => store.turn(id, version, turned, expires).await)
    }

    /// The logins as rows, for what is asked of all rows alike.
    pub(super) fn rows(&self) -> Rows<'_> {
        match self {
            Self::Sql(rows) => Rows::Sql(rows),
            #[cfg(feature = "redis")]
            Self::Redis(rows) => Rows::Redis(rows),
        }
    }
}
