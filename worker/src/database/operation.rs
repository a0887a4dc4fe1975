//! An operation of the pool: it waits for a connection, and then for its answer.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sea_orm::{DbErr, RuntimeErr};
use tokio::time::timeout;

use super::error::is_away;
use super::state::State;

tokio::task_local! {
    /// The operation that is polled: the pool's hooks, which run inside of it, tell it that it has a connection.
    static WAIT: Wait;
}

/// A wait for a connection, until [`has_connection`] or its end.
struct Wait {
    state: Arc<State>,
    is_over: Cell<bool>,
}

impl Wait {
    fn begin(state: Arc<State>) -> Self {
        state.waiting.fetch_add(1, Ordering::Relaxed);
        Self { state, is_over: Cell::new(false) }
    }

    fn end(&self) {
        if !self.is_over.replace(true) {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

/// The operation that is polled has its connection. Outside of one, nothing waits.
pub(super) fn has_connection() {
    let _ = WAIT.try_with(Wait::end);
}

/// A query that has no answer yet. It is given up if it is dropped so.
struct Asked<'a> {
    state: &'a Arc<State>,
    sql: &'a str,
    began: Instant,
    is_answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.state.given_up(self.began.elapsed(), self.sql);
        }
    }
}

/// Runs an operation, if the database is not away, and for no longer than the limits say.
///
/// # Errors
/// Its own, or that the database is away, or gave no answer.
pub(super) async fn run<T>(
    state: &Arc<State>,
    sql: &str,
    operation: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    if let Some(away) = state.refusal() {
        return Err(away);
    }
    let limit = state.limits.operation();
    let mut operation = pin!(timeout(limit, WAIT.scope(Wait::begin(Arc::clone(state)), operation)));
    // Dropped before the operation, whose connection then goes back to the pool: it is doubted there.
    let mut asked = Asked { state, sql, began: Instant::now(), is_answered: false };
    let outcome = operation.as_mut().await;
    let Ok(answer) = outcome else {
        drop(asked);
        state.suspect();
        return Err(DbErr::Conn(RuntimeErr::Internal(format!("{}: no answer within {limit:?}", state.target.place))));
    };
    asked.is_answered = true;
    if answer.as_ref().is_err_and(is_away) {
        state.suspect();
    }
    answer
}
