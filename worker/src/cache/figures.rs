//! Hits, misses and errors of each cache, for the private listener and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

#[cfg(feature = "metrics")]
use crate::metrics::{Counter, Histogram, counter, histogram};

/// Bounds of a round trip to Redis, in seconds.
#[cfg(feature = "metrics")]
const BOUNDS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];

/// Outcome of a look at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit,
    Miss,
    /// The level did not answer, or with a value that is no such one.
    Error,
}

impl Outcome {
    const ALL: [(Self, &str); 3] = [(Self::Hit, "hit"), (Self::Miss, "miss"), (Self::Error, "error")];
}

/// Looks at one level of one cache.
pub(super) struct Level {
    counts: [AtomicU64; 3],
    #[cfg(feature = "metrics")]
    counters: [Counter; 3],
    /// Of round trips, where there are any.
    #[cfg(feature = "metrics")]
    times: Option<Histogram>,
}

impl Level {
    /// `cache` is the cache's name, `level` "memory" or "redis".
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, reason = "they are labels of metrics"))]
    pub(super) fn new(namespace: &str, cache: &str, level: &str) -> Self {
        #[cfg(feature = "metrics")]
        let requests =
            counter(&format!("{namespace}_cache_requests"), "Looks at a level of a cache, by what they found");
        #[cfg(feature = "metrics")]
        let times = (level == "redis").then(|| {
            let name = format!("{namespace}_cache_request_duration_seconds");
            histogram(&name, "Round trips of a cache to Redis", &BOUNDS).with(&[("cache", cache), ("level", level)])
        });
        Self {
            counts: [const { AtomicU64::new(0) }; 3],
            #[cfg(feature = "metrics")]
            counters: Outcome::ALL
                .map(|(_, result)| requests.with(&[("cache", cache), ("level", level), ("result", result)])),
            #[cfg(feature = "metrics")]
            times,
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.counters[outcome as usize].add(1);
    }

    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, reason = "it is a metric"))]
    pub(super) fn took(&self, time: Duration) {
        #[cfg(feature = "metrics")]
        if let Some(times) = &self.times {
            times.observe(time.as_secs_f64());
        }
    }

    pub(super) fn details(&self) -> Value {
        let of = |outcome: Outcome| self.counts[outcome as usize].load(Ordering::Relaxed);
        json!({ "hits": of(Outcome::Hit), "misses": of(Outcome::Miss), "errors": of(Outcome::Error) })
    }

    #[cfg(test)]
    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        let of = |outcome: Outcome| self.counts[outcome as usize].load(Ordering::Relaxed);
        (of(Outcome::Hit), of(Outcome::Miss))
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn only_redis_has_round_trips() {
        let has_times = |level| Level::new("shop", "numbers", level).times.is_some();
        assert!(has_times("redis") && !has_times("memory"));
    }
}
