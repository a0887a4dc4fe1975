//! The store of sessions, in whichever place it is.

use std::path::PathBuf;

use super::cache::Cache;
#[cfg(feature = "redis")]
use super::in_redis::InRedis;
use super::record::{Millis, Row};
use super::sql::InSql;
use super::sqlite;
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::place::Place;
use crate::kept::rows::{Rows, whichever};
use crate::kept::sql::Sql;

/// A place that was opened.
pub(super) enum Store {
    Sql(InSql),
    #[cfg(feature = "redis")]
    Redis(InRedis),
}

impl Store {
    /// Opens the place: one try. `directory`: the state directory.
    ///
    /// # Errors
    /// If the place does not answer, or nothing can be kept there.
    pub(super) async fn open(
        place: &Place,
        directory: impl FnOnce() -> Result<PathBuf, BoxError> + Send,
    ) -> Result<(Self, Option<Cache>), BoxError> {
        match place {
            Place::Directory => {
                let directory = directory()?;
                let sql = InSql::open(Sql::Own(sqlite::open(&directory).await?)).await?;
                Ok((Self::Sql(sql), Some(Cache::open(&directory)?)))
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

    /// Replaces the session of this id and the row's version, in one step. `new`: its id from now on. False: there is none.
    pub(super) async fn update(&self, id: Id, new: Id, row: &Row) -> Result<bool, BoxError> {
        whichever!(self, store => store.update(id, new, row).await)
    }

    /// Lets a session live until then, and no shorter than it would have.
    pub(super) async fn touch(&self, id: Id, expires: Millis) -> Result<(), BoxError> {
        whichever!(self, store => store.touch(id, expires).await)
    }

    /// The sessions as rows, for what is asked of all rows alike.
    pub(super) fn rows(&self) -> Rows<'_> {
        match self {
            Self::Sql(rows) => Rows::Sql(rows),
            #[cfg(feature = "redis")]
            Self::Redis(rows) => Rows::Redis(rows),
        }
    }
}
