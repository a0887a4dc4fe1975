//! An operation of the pool: it waits for a connection, and then for its answer.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sea_orm::{DbErr, RuntimeErr};
use tokio::time::timeout;

use super::error::is_away;
use super::spans::{self, Fault};
use super::state::State;
use crate::observed::doing::{Doing, DoingGuard, doing};
use crate::traces;

/// Begins a transaction. sea-orm does not tell of it, as it does of queries.
const BEGIN: &str = "BEGIN";

tokio::task_local! {
    /// The operation that is polled: the pool's hooks, which run inside of it, tell it that it has a connection.
    static WAIT: Wait;
}

/// A wait for a connection, until [`has_connection`] or its end.
struct Wait {
    state: Arc<State>,
    began: Instant,
    is_over: Cell<bool>,
    /// The request waits for a connection, and from then on for the answer.
    doing: Cell<Option<DoingGuard>>,
}

impl Wait {
    fn begin(state: Arc<State>, began: Instant) -> Self {
        state.waiting.fetch_add(1, Ordering::Relaxed);
        let doing = Cell::new(Some(doing(Doing::DatabaseConnection)));
        Self { state, began, is_over: Cell::new(false), doing }
    }

    /// Returns true the first time.
    fn end(&self) -> bool {
        if self.is_over.replace(true) {
            return false;
        }
        self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        // No clock is read for nobody.
        if traces::is_on() {
            spans::wait(&self.state.target, self.began.elapsed());
        }
        true
    }

    fn has_connection(&self) {
        if self.end() {
            // The one ends before the other begins.
            self.doing.set(None);
            self.doing.set(Some(doing(Doing::Query)));
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
    let _ = WAIT.try_with(Wait::has_connection);
}

/// A query that has no answer yet. It is given up if it is dropped so.
struct Asked<'a> {
    state: &'a Arc<State>,
    sql: &'a str,
    began: Instant,
    /// `None` if there was an answer.
    fault: Option<Fault>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.fault.is_some() {
            let elapsed = self.began.elapsed();
            spans::query(&self.state.target, elapsed, self.sql, self.fault);
            self.state.given_up(elapsed, self.sql);
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
    let began = Instant::now();
    let mut operation = pin!(timeout(limit, WAIT.scope(Wait::begin(Arc::clone(state), began), operation)));
    // Dropped before the operation, whose connection then goes back to the pool: it is doubted there.
    let mut asked = Asked { state, sql, began, fault: Some(Fault::GivenUp) };
    let outcome = operation.as_mut().await;
    let Ok(answer) = outcome else {
        asked.fault = Some(Fault::TimedOut);
        drop(asked);
        state.suspect();
        return Err(DbErr::Conn(RuntimeErr::Internal(format!("{}: no answer within {limit:?}", state.target.place))));
    };
    asked.fault = None;
    if sql == BEGIN {
        spans::query(&state.target, began.elapsed(), sql, answer.is_err().then_some(Fault::Failed));
    }
    if answer.as_ref().is_err_and(is_away) {
        state.suspect();
    }
    answer
}
