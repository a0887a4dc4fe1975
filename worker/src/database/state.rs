//! State of a database at a moment: whether it is here, and who waits for it.
//!
//! An error says little: a pool whose connections are all in use looks like a server that is gone. So a sign of trouble only has the
//! server asked, on a connection of its own. What that says is the health: while it is bad, operations fail at once, and the server is
//! asked again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{DbErr, RuntimeErr};
use tokio::runtime::Handle;

use super::figures::Figures;
use super::spans::{self, Fault};
use super::statement::without_values;
use super::target::{STATEMENT, Target};
use super::trouble::Trouble;
use crate::config::Database as Config;
use crate::parts::Health;

/// Time in which a server must answer when it is asked whether it is there.
const LOOK: Duration = Duration::from_secs(2);
/// Pause between two looks that signs of trouble cause.
const PAUSE: Duration = Duration::from_secs(1);
/// The same for queries that fail, for whatever reason: most say nothing of the server.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// Connections to a file of SQLite at most, if there are fewer processors: each is a thread.
const SQLITE_LEAST: usize = 4;

/// Bounds of the pool and its queries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at most.
    pub(super) open: u32,
    /// Of them idle.
    pub(super) idle: u32,
    pub(super) lifetime: Option<Duration>,
    /// Longest wait for a connection.
    pub(super) acquire: Duration,
    /// A query that takes longer is logged.
    pub(super) slow: Option<Duration>,
}

impl Limits {
    pub(super) fn of(config: &Config, target: &Target) -> Self {
        let some = |time: Duration| Some(time).filter(|time| !time.is_zero());
        let threads = std::thread::available_parallelism().map_or(SQLITE_LEAST, |count| count.get().max(SQLITE_LEAST));
        let open = if target.is_in_memory() {
            1
        } else if target.is_file() {
            config.max_open_conns.min(u32::try_from(threads).unwrap_or(u32::MAX))
        } else {
            config.max_open_conns
        };
        Self {
            open: open.max(1),
            // With its connection a database in memory is gone.
            idle: if target.is_in_memory() { 1 } else { config.max_idle_conns },
            lifetime: some(config.conn_max_lifetime),
            acquire: config.acquire_timeout,
            slow: some(config.slow),
        }
    }

    /// Longest time of an operation, with the wait for a connection. A server that hangs keeps no limit of its own.
    pub(super) fn operation(&self) -> Duration {
        self.acquire + STATEMENT + Duration::from_secs(1)
    }
}

/// See the module.
pub(super) struct State {
    pub(super) target: Target,
    pub(super) limits: Limits,
    /// Operations that wait for a connection.
    pub(super) waiting: AtomicUsize,
    trouble: Trouble,
    /// Why the database is away.
    away: Mutex<Option<String>>,
    /// The same for a look without a lock.
    is_away: AtomicBool,
    /// End of the last look.
    looked: Mutex<Option<Instant>>,
    is_looking: AtomicBool,
    figures: OnceLock<Figures>,
}

impl State {
    pub(super) fn new(target: Target, limits: Limits) -> Self {
        Self {
            target,
            limits,
            waiting: AtomicUsize::new(0),
            trouble: Trouble::new(Instant::now()),
            away: Mutex::new(None),
            is_away: AtomicBool::new(false),
            looked: Mutex::new(None),
            is_looking: AtomicBool::new(false),
            figures: OnceLock::new(),
        }
    }

    /// Counts in metrics whose names begin with this namespace, from now on.
    pub(super) fn count_in(&self, namespace: &str) {
        self.figures.get_or_init(|| Figures::new(namespace, &self.target.name));
    }

    pub(super) fn figures(&self) -> Option<&Figures> {
        self.figures.get()
    }

    pub(super) fn health(&self) -> Health {
        match &*lock(&self.away) {
            Some(why) => Health::Away { why: why.clone() },
            None => Health::Here,
        }
    }

    /// The error of an operation that is not begun, as the database is away.
    pub(super) fn refusal(self: &Arc<Self>) -> Option<DbErr> {
        if !self.is_away.load(Ordering::Acquire) {
            return None;
        }
        self.look_soon(PAUSE);
        let why = lock(&self.away).clone()?;
        Some(DbErr::Conn(RuntimeErr::Internal(format!("{} is away: {why}", self.target.place))))
    }

    /// An operation failed in a way that makes the server doubtful.
    pub(super) fn suspect(self: &Arc<Self>) {
        self.sign();
        self.look_soon(PAUSE);
    }

    /// Connections that were idle until now, or that come back soon, are asked.
    pub(super) fn sign(&self) {
        self.trouble.sign(Instant::now());
    }

    pub(super) fn doubts_idle(&self, idle: Duration) -> bool {
        self.trouble.doubts_idle(Instant::now(), idle)
    }

    pub(super) fn doubts_returned(&self) -> bool {
        self.trouble.doubts_returned(Instant::now())
    }

    /// Looks in a task of its own, unless that was done less than `pause` ago.
    fn look_soon(self: &Arc<Self>, pause: Duration) {
        let is_known = lock(&self.looked).is_some_and(|looked| looked.elapsed() < pause);
        if is_known || self.is_looking.load(Ordering::Acquire) {
            return;
        }
        // A query may be given up where its runtime has ended.
        let Ok(runtime) = Handle::try_current() else { return };
        let own = Arc::clone(self);
        runtime.spawn(async move { own.look().await });
    }

    /// Asks the server on a connection of its own. One look at a time is enough.
    pub(super) async fn look(&self) {
        if self.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let _looking = Looking(self);
        let found = self.target.connect(LOOK).await;
        self.judge(found.err().filter(|refusal| !refusal.is_answer).map(|refusal| refusal.why));
    }

    /// Sets the health: away for this reason, or here.
    pub(super) fn judge(&self, away: Option<String>) {
        let is_away = away.is_some();
        *lock(&self.away) = away;
        if self.is_away.swap(is_away, Ordering::AcqRel) != is_away {
            // What is in the pool is of the time before.
            self.sign();
        }
    }

    /// A query has ended: it is counted, traced if its request is, and logged if it was slow.
    pub(super) fn queried(self: &Arc<Self>, elapsed: Duration, is_failed: bool, sql: &str) {
        if is_failed {
            self.look_soon(FAILURE_PAUSE);
        }
        spans::query(&self.target, elapsed, sql, is_failed.then_some(Fault::Failed));
        let slow = self.limits.slow.filter(|slow| elapsed >= *slow);
        if let Some(figures) = self.figures() {
            figures.queried(elapsed, slow.is_some(), is_failed);
        }
        if let Some(slow) = slow {
            let (sql, database) = (without_values(sql, self.target.backend()), self.target.name.as_str());
            tracing::warn!(database, "slow query: {elapsed:.1?} (database.slow = {slow:?}): {sql}");
        }
    }

    /// Nobody waits for this query any more: its request has come to its deadline, say, or its client has gone. A server that stands
    /// still shows itself in no other way.
    pub(super) fn given_up(self: &Arc<Self>, elapsed: Duration, sql: &str) {
        self.sign();
        if elapsed >= LOOK {
            self.look_soon(PAUSE);
        }
        if let Some(slow) = self.limits.slow.filter(|slow| elapsed >= *slow) {
            let (sql, database) = (without_values(sql, self.target.backend()), self.target.name.as_str());
            tracing::warn!(
                database,
                "slow query: given up after {elapsed:.1?} without an answer (database.slow = {slow:?}): {sql}"
            );
        }
    }
}

/// A look under way.
struct Looking<'a>(&'a State);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        *lock(&self.0.looked) = Some(Instant::now());
        self.0.is_looking.store(false, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
