//! Requests and tasks that are alive, what they wait for, and the polls of them that block their thread.
//!
//! A thread takes a lock of its own shard when a request comes and when it goes; a poll reads the clock twice, and takes no lock unless
//! it has blocked its thread.

mod body;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use slab::Slab;

use crate::request_id::RequestId;
use crate::shard::{SHARDS, shard};
use body::WatchedBody;

/// Limit of the names whose blocking polls are counted apart. There are as many as routes and tasks.
const NAMES_MAX: usize = 1024;
/// Limit of the kinds of things that are waited for.
const KINDS: usize = 8;
/// The name for all others.
const OTHERS: &str = "others";
/// Methods that everybody knows; clients may make up others, which count as one.
static METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];

thread_local! {
    static CURRENT: Cell<Option<Arc<Alive>>> = const { Cell::new(None) };
}

/// Requests and tasks that are alive.
#[derive(Debug)]
pub(crate) struct Requests {
    block: Duration,
    alive: [Mutex<Slab<Arc<Alive>>>; SHARDS],
    blocked: Mutex<HashMap<String, Counts>>,
}

/// A request or a task that is alive.
#[derive(Debug)]
pub(crate) struct Alive {
    pub(crate) what: What,
    pub(crate) since: Instant,
    /// Number of things of each kind that are waited for: a handler may have hundreds of calls at once.
    waits: [AtomicU32; KINDS],
    /// Nanoseconds after `since`. 0: it is not polled.
    polling_since: AtomicU64,
    polls: AtomicU64,
}

/// Something that is polled.
#[derive(Debug)]
pub(crate) enum What {
    Request { method: Method, route: &'static str, id: RequestId },
    Task { name: Arc<str> },
}

/// The name of a route or a task: "GET /users/:id", "task mailer".
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, route, .. } if METHODS.contains(method) => write!(f, "{method} {route}"),
            Self::Request { route, .. } => write!(f, "_OTHER {route}"),
            Self::Task { name } => write!(f, "task {name}"),
        }
    }
}

/// Polls that have blocked their thread.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    count: u64,
    total: Duration,
    longest: Duration,
}

impl Counts {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(took);
        self.longest = self.longest.max(took);
    }
}

/// Polls that have blocked their thread, of one route or task.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// As [`What`] is told.
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

impl Requests {
    /// Makes the list. A poll that takes longer than `block` blocks its thread. It is as old as the process will be.
    pub(crate) fn new(block: Duration) -> &'static Self {
        Box::leak(Box::new(Self { block, alive: Default::default(), blocked: Mutex::default() }))
    }

    /// Adds a request or a task.
    pub(crate) fn enter(&'static self, what: What) -> Watch {
        let (waits, polling_since, polls) = (Default::default(), AtomicU64::new(0), AtomicU64::new(0));
        let alive = Arc::new(Alive { what, since: Instant::now(), waits, polling_since, polls });
        let shard = shard();
        let place = locked(&self.alive[shard]).insert(Arc::clone(&alive));
        Watch { requests: self, alive, shard, place }
    }

    /// Number of those that are alive.
    pub(crate) fn count(&self) -> usize {
        self.alive.iter().map(|shard| locked(shard).len()).sum()
    }

    /// All that are alive, the oldest first.
    pub(crate) fn alive(&self) -> Vec<Arc<Alive>> {
        let of = |shard: &Mutex<Slab<Arc<Alive>>>| -> Vec<Arc<Alive>> {
            locked(shard).iter().map(|(_, alive)| Arc::clone(alive)).collect()
        };
        let mut all: Vec<_> = self.alive.iter().flat_map(of).collect();
        all.sort_by_key(|alive| alive.since);
        all
    }

    /// Polls that have blocked their thread, by route or task, the longest together first. One that blocks it now counts, too.
    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        let mut all = locked(&self.blocked).clone();
        for alive in self.alive() {
            if let Some(took) = alive.polled_for().filter(|took| *took > self.block) {
                count(&mut all, &alive.what, took);
            }
        }
        let told = |(name, Counts { count, total, longest })| Blocked { name, count, total, longest };
        let mut all: Vec<_> = all.into_iter().map(told).collect();
        all.sort_by(|one, other| other.total.cmp(&one.total).then_with(|| one.name.cmp(&other.name)));
        all
    }

    fn polled(&self, alive: &Alive, took: Duration) {
        if took > self.block {
            count(&mut locked(&self.blocked), &alive.what, took);
        }
    }
}

/// Counts a poll by its name. At the limit of names it counts among the others.
fn count(all: &mut HashMap<String, Counts>, what: &What, took: Duration) {
    let name = what.to_string();
    let is_known = all.contains_key(&name) || all.len() < NAMES_MAX;
    all.entry(if is_known { name } else { OTHERS.to_owned() }).or_default().add(took);
}

/// Nobody panics while he has one of the locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alive {
    fn age_ns(&self) -> u64 {
        // 0 is the word for "not polled".
        (self.since.elapsed().as_nanos() as u64).max(1)
    }

    /// Length of the poll that a thread is in.
    pub(crate) fn polled_for(&self) -> Option<Duration> {
        let since = Some(self.polling_since.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
        Some(Duration::from_nanos(self.age_ns().saturating_sub(since)))
    }

    /// Number of polls that have ended.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// True if a thing of this kind is waited for. `kind`: of `observed::Doing`.
    pub(crate) fn waits_for(&self, kind: u8) -> bool {
        self.waits.get(usize::from(kind)).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }
}

/// Says that the thread's current request or task waits for a thing of this kind (of `observed::Doing`), until the guard is dropped.
/// Without a request it is nothing.
#[cfg_attr(
    not(any(feature = "cache", feature = "database", feature = "otel", feature = "redis")),
    allow(dead_code, reason = "nothing is waited for")
)]
pub(crate) fn wait_for(kind: u8) -> Option<Waiting> {
    let current = swap(None);
    swap(current.clone());
    Some(Waiting::begin(current?, kind))
}

/// A thing that is waited for, until this is dropped. It may be dropped on another thread.
#[derive(Debug)]
#[must_use]
pub(crate) struct Waiting {
    alive: Arc<Alive>,
    kind: u8,
}

impl Waiting {
    fn begin(alive: Arc<Alive>, kind: u8) -> Self {
        if let Some(count) = alive.waits.get(usize::from(kind)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self { alive, kind }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(count) = self.alive.waits.get(usize::from(self.kind)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A request or a task, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    requests: &'static Requests,
    alive: Arc<Alive>,
    shard: usize,
    place: usize,
}

impl Watch {
    /// Runs one poll. A panic leaves it.
    pub(crate) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        let _poll = Poll::begin(self);
        f()
    }

    /// The same body of the request. While it is waited for, the request waits for this kind (of `observed::Doing`).
    pub(crate) fn body(&self, body: Body, kind: u8) -> Body {
        Body::new(WatchedBody::new(body, Arc::clone(&self.alive), kind))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        locked(&self.requests.alive[self.shard]).remove(self.place);
    }
}

/// A poll, until it is dropped.
struct Poll<'a> {
    watch: &'a Watch,
    /// Nanoseconds, as in [`Alive`].
    since: u64,
    /// The thread's current one before.
    before: Option<Arc<Alive>>,
}

impl<'a> Poll<'a> {
    fn begin(watch: &'a Watch) -> Self {
        let since = watch.alive.age_ns();
        watch.alive.polling_since.store(since, Ordering::Relaxed);
        Self { watch, since, before: swap(Some(Arc::clone(&watch.alive))) }
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        swap(self.before.take());
        let alive = &self.watch.alive;
        alive.polling_since.store(0, Ordering::Relaxed);
        alive.polls.fetch_add(1, Ordering::Relaxed);
        self.watch.requests.polled(alive, Duration::from_nanos(alive.age_ns().saturating_sub(self.since)));
    }
}

/// Puts a request in the place of the thread's current one, and returns that.
fn swap(current: Option<Arc<Alive>>) -> Option<Arc<Alive>> {
    // Fails at the end of a thread alone: nothing is polled there.
    CURRENT.try_with(|own| own.replace(current)).ok().flatten()
}
