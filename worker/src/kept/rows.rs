//! Rows in whichever place they are: what the stores of sessions and of logins ask of all rows alike.

use super::id::Id;
#[cfg(feature = "redis")]
use super::in_redis;
use super::sql;
use crate::BoxError;

/// Rows in a place that was opened.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    Sql(&'a sql::Rows),
    #[cfg(feature = "redis")]
    Redis(&'a in_redis::Rows),
}

/// Asks what stands in either place, SQL or Redis.
macro_rules! whichever {
    ($place:ident, $inner:ident => $answer:expr) => {
        match $place {
            Self::Sql($inner) => $answer,
            #[cfg(feature = "redis")]
            Self::Redis($inner) => $answer,
        }
    };
}

pub(crate) use whichever;

impl Rows<'_> {
    /// Removes rows. Returns how many of them there were.
    pub(crate) async fn delete(self, ids: &[Id]) -> Result<u64, BoxError> {
        whichever!(self, rows => rows.delete(ids).await)
    }

    /// The rows of the user with this key that live longer than until then, in milliseconds since 1970, the newest first.
    pub(crate) async fn of_user(self, user_key: &str, then: i64) -> Result<Vec<Id>, BoxError> {
        whichever!(self, rows => rows.of_user(user_key, then).await)
    }

    /// Removes what has expired. Returns how many rows that were.
    pub(crate) async fn sweep(self, now: i64) -> Result<u64, BoxError> {
        whichever!(self, rows => rows.sweep(now).await)
    }

    /// The number of all rows, if the place can tell.
    pub(crate) async fn count(self) -> Result<Option<u64>, BoxError> {
        whichever!(self, rows => rows.count().await)
    }

    /// True if other hosts may have the same rows.
    pub(crate) fn is_shared(self) -> bool {
        whichever!(self, rows => rows.is_shared())
    }

    /// Asks the place for a sign of life.
    pub(crate) async fn ping(self) -> Result<(), BoxError> {
        whichever!(self, rows => rows.ping().await)
    }

    pub(crate) async fn close(self) {
        whichever!(self, rows => rows.close().await);
    }
}
