//! Questions to a store, and whether it answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::parts::Health;
use crate::{BoxError, Error, Result};

/// Longest wait for a store. SQLite's own wait for another writer is shorter.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a store, and notes whether it answers.
pub(crate) struct Asking {
    /// For clients and the log, after "the": "session store".
    part: &'static str,
    is_away: AtomicBool,
    /// Why the store did not answer at the last use.
    why: Mutex<String>,
}

impl Asking {
    pub(crate) fn new(part: &'static str) -> Self {
        Self { part, is_away: AtomicBool::new(false), why: Mutex::default() }
    }

    /// Waits for the store's answer. A refusal is one: of two that wait for each other the database ends one, a disk may be full. Then this
    /// request alone has failed.
    ///
    /// # Errors
    /// 503, if the answer is an error, or does not come in time.
    pub(crate) async fn ask<T>(&self, asked: impl Future<Output = Result<T, BoxError>>) -> Result<T> {
        let (answer, is_away) = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => {
                let is_away = answer.as_ref().err().is_some_and(is_away);
                (answer, is_away)
            }
            Err(_) => (Err(format!("no answer within {PATIENCE:?}").into()), true),
        };
        if let (true, Err(error)) = (is_away, &answer) {
            *self.why.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
            self.is_away.store(true, Ordering::Relaxed);
        } else if self.is_away.load(Ordering::Relaxed) && self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("the {} answers again", self.part);
        }
        answer.map_err(|error| Error::away(self.part).caused_by(error))
    }

    /// The store's state, as its last answer has told it.
    pub(crate) fn health(&self) -> Health {
        if self.is_away.load(Ordering::Relaxed) {
            return Health::Away { why: self.why.lock().unwrap_or_else(PoisonError::into_inner).clone() };
        }
        Health::Here
    }
}

/// True if the store has not answered.
fn is_away(error: &BoxError) -> bool {
    #[cfg(feature = "redis")]
    if let Some(failure) = error.downcast_ref::<crate::redis::Failure>() {
        return matches!(failure, crate::redis::Failure::Away { .. });
    }
    error.downcast_ref::<sea_orm::DbErr>().is_some_and(crate::database::is_away)
}
