//! Counts of what becomes of logins and their tokens: for the private listener, and for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

#[cfg(feature = "metrics")]
use crate::metrics::{Counter, counter};

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Login,
    /// A token that is not good, whatever is wrong with it.
    Refused,
    /// An attempt too many.
    Limited,
    Refreshed,
    /// A refresh token that was used before.
    Reused,
    /// By a logout, by reuse, or by the limit for a user.
    LoggedOut,
    /// An access token was read, and its login asked for.
    Verified,
    /// An access token was found among those that were verified.
    Cached,
    /// A login that nobody has refreshed in time.
    Expired,
    /// The store did not answer.
    Failed,
}

/// In the order of [`Event`].
const NAMES: [&str; 10] =
    ["login", "refused", "limited", "refreshed", "reused", "logged_out", "verified", "cached", "expired", "failed"];

const UNKNOWN: u64 = u64::MAX;

/// Counts of one worker.
pub(crate) struct Figures {
    counts: [AtomicU64; NAMES.len()],
    /// Logins in the store at the last look, or [`UNKNOWN`].
    alive: AtomicU64,
    #[cfg(feature = "metrics")]
    counters: [Counter; NAMES.len()],
}

impl Figures {
    pub(super) fn new(namespace: &str) -> Self {
        #[cfg(feature = "metrics")]
        let counter = counter(&format!("{namespace}_auth_events"), "What became of logins and their tokens");
        #[cfg(not(feature = "metrics"))]
        let _ = namespace;
        Self {
            counts: Default::default(),
            alive: AtomicU64::new(UNKNOWN),
            #[cfg(feature = "metrics")]
            counters: NAMES.map(|name| counter.with(&[("event", name)])),
        }
    }

    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    pub(super) fn add(&self, event: Event, by: u64) {
        self.counts[event as usize].fetch_add(by, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.counters[event as usize].add(by);
    }

    pub(super) fn set_alive(&self, alive: Option<u64>) {
        self.alive.store(alive.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    pub(super) fn told(&self) -> Value {
        let counts = NAMES.iter().zip(&self.counts);
        let counts = counts.map(|(name, count)| ((*name).to_owned(), count.load(Ordering::Relaxed).into()));
        let mut all: Map<String, Value> = counts.collect();
        let alive = self.alive.load(Ordering::Relaxed);
        all.insert("alive".to_owned(), Some(alive).filter(|alive| *alive != UNKNOWN).into());
        Value::Object(all)
    }
}
