//! Figures of the database: the pool's connections, the queries' time, and who waits.
//!
//! The names are those that `systemd/monitoring/` expects.

use std::sync::Arc;
use std::time::Duration;

use super::pool::Pool;
use super::state::State;
#[cfg(feature = "metrics")]
use crate::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Between two samples of a pool that works, and of one that has nothing to do.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(15);

/// Upper bounds of queries' times, in seconds.
#[cfg(feature = "metrics")]
const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Connections of the pool at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) open: usize,
    pub(super) idle: usize,
    /// Operations that wait for a connection.
    pub(super) waiting: usize,
}

impl Sample {
    pub(super) fn used(self) -> usize {
        self.open.saturating_sub(self.idle)
    }
}

/// Metrics of one database.
#[cfg(feature = "metrics")]
pub(super) struct Figures {
    idle: Gauge,
    used: Gauge,
    max: Gauge,
    waiting: Gauge,
    time: Histogram,
    slow: Counter,
    errors: Counter,
}

#[cfg(feature = "metrics")]
impl Figures {
    /// Metrics whose names begin with this namespace.
    pub(super) fn new(namespace: &str, database: &str) -> Self {
        let name = |name: &str| format!("{namespace}_database_{name}");
        let own = [("database", database)];
        let connections = gauge(&name("connections"), "Connections of the pool to the database");
        let state = |state| connections.with(&[("database", database), ("state", state)]);
        Self {
            idle: state("idle"),
            used: state("used"),
            max: gauge(&name("connections_max"), "Connections that the pool may open").with(&own),
            waiting: gauge(&name("connections_waiting"), "Operations that wait for a connection").with(&own),
            time: histogram(&name("query_duration_seconds"), "Time of queries", &BOUNDS).with(&own),
            slow: counter(&name("slow_queries"), "Queries above database.slow").with(&own),
            errors: counter(&name("errors"), "Queries that failed").with(&own),
        }
    }

    pub(super) fn queried(&self, elapsed: Duration, is_slow: bool, is_failed: bool) {
        self.time.observe(elapsed.as_secs_f64());
        if is_slow {
            self.slow.add(1);
        }
        if is_failed {
            self.errors.add(1);
        }
    }

    fn sampled(&self, sample: Sample, max: u32) {
        let number = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        self.idle.set(number(sample.idle));
        self.used.set(number(sample.used()));
        self.waiting.set(number(sample.waiting));
        self.max.set(f64::from(max));
    }
}

/// Metrics that nobody counts.
#[cfg(not(feature = "metrics"))]
pub(super) struct Figures(());

#[cfg(not(feature = "metrics"))]
impl Figures {
    pub(super) fn new(_: &str, _: &str) -> Self {
        Self(())
    }

    pub(super) fn queried(&self, _: Duration, _: bool, _: bool) {}

    fn sampled(&self, _: Sample, _: u32) {}
}

/// Looks at the pool again and again until it is closed: its gauges are brought up to date, and connections that have been too many idle
/// ones at two looks are closed.
pub(super) async fn keep(state: Arc<State>, pool: Pool) {
    let mut closed = pool.close_event();
    let mut spare = 0;
    loop {
        let sample = pool.sample(&state);
        if let Some(figures) = state.figures() {
            figures.sampled(sample, state.limits.open);
        }
        let too_many = sample.idle.saturating_sub(state.limits.idle as usize);
        pool.close_idle(too_many.min(spare)).await;
        spare = too_many;
        let pause = if sample.used() + sample.waiting > 0 || too_many > 0 { BUSY } else { IDLE };
        if closed.do_until(tokio::time::sleep(pause)).await.is_err() {
            return;
        }
    }
}
