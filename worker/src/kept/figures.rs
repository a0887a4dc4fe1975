//! Counts of what becomes of rows: for the private listener, and for Prometheus.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

#[cfg(feature = "metrics")]
use crate::metrics::{Counter, counter};

const UNKNOWN: u64 = u64::MAX;

/// Events that are counted, `N` kinds of them.
pub(crate) trait Event<const N: usize>: Copy {
    /// The metric's name after the namespace.
    const METRIC: &'static str;
    const HELP: &'static str;
    /// Labels, by [`Event::number`].
    const NAMES: [&'static str; N];

    fn number(self) -> usize;
}

/// Counts of one worker.
pub(crate) struct Figures<E, const N: usize> {
    counts: [AtomicU64; N],
    /// Rows in the store at the last look, or [`UNKNOWN`].
    alive: AtomicU64,
    #[cfg(feature = "metrics")]
    counters: [Counter; N],
    of: PhantomData<fn(E)>,
}

impl<E: Event<N>, const N: usize> Figures<E, N> {
    pub(crate) fn new(namespace: &str) -> Self {
        #[cfg(feature = "metrics")]
        let counter = counter(&format!("{namespace}_{}", E::METRIC), E::HELP);
        #[cfg(not(feature = "metrics"))]
        let _ = namespace;
        Self {
            counts: [const { AtomicU64::new(0) }; N],
            alive: AtomicU64::new(UNKNOWN),
            #[cfg(feature = "metrics")]
            counters: E::NAMES.map(|name| counter.with(&[("event", name)])),
            of: PhantomData,
        }
    }

    pub(crate) fn count(&self, event: E) {
        self.add(event, 1);
    }

    pub(crate) fn add(&self, event: E, by: u64) {
        self.counts[event.number()].fetch_add(by, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.counters[event.number()].add(by);
    }

    pub(crate) fn set_alive(&self, alive: Option<u64>) {
        self.alive.store(alive.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    pub(crate) fn told(&self) -> Value {
        let counts = E::NAMES.iter().zip(&self.counts);
        let counts = counts.map(|(name, count)| ((*name).to_owned(), count.load(Ordering::Relaxed).into()));
        let mut all: Map<String, Value> = counts.collect();
        let alive = self.alive.load(Ordering::Relaxed);
        all.insert("alive".to_owned(), Some(alive).filter(|alive| *alive != UNKNOWN).into());
        Value::Object(all)
    }
}
