//! The part of a generation's frozen configuration that the machine knows: no paths, only numbers and choices.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The way in which a worker shows that it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It says READY=1.
    Notify,
    /// It has run for so long.
    After(Duration),
    /// A command of the operator's says so, by exit code 0; asked again after [`CHECK_INTERVAL`].
    Check,
}

/// The way in which a generation takes the place of the one before. A boolean in the state file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Strategy {
    /// All slots at once, beside the old generation.
    #[default]
    Surge,
    /// Slot by slot.
    Rolling,
}

impl From<bool> for Strategy {
    fn from(rolling: bool) -> Self {
        if rolling { Self::Rolling } else { Self::Surge }
    }
}

impl From<Strategy> for bool {
    fn from(strategy: Strategy) -> Self {
        strategy == Strategy::Rolling
    }
}

/// Interval between two checks of [`Readiness::Check`].
pub const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The part of a generation's configuration that decides its course.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The name of its release.
    pub release: Option<String>,
    /// The number of slots.
    pub workers: u32,
    /// The way in which a worker shows that it is ready.
    pub ready: Readiness,
    /// Time for a worker to get ready, and to accept after `go`.
    pub ready_timeout: Duration,
    /// True if a command is run for each ready worker before it serves.
    #[serde(default)]
    pub warms_up: bool,
    /// True if each is probed before it serves.
    #[serde(default)]
    pub probes: bool,
    /// The way in which it takes the old generation's place.
    #[serde(default, rename = "rolling")]
    pub strategy: Strategy,
    /// Time for which both generations serve before the old one drains.
    pub soak: Duration,
    /// Time for a worker to drain.
    pub drain_timeout: Duration,
    /// True if each worker waits for `go` on its channel. One that has announced itself waits for it, too.
    pub channel: bool,
    /// Time for which a serving worker may be silent.
    #[serde(default)]
    pub watchdog: Option<Duration>,
    /// The age that a worker may reach.
    #[serde(default)]
    pub max_age: Option<Duration>,
}

impl Plan {
    /// The age that the worker in `slot` may reach: the slots are spread over the last fifth of `max_age`.
    #[must_use]
    pub fn age_of(&self, slot: u32) -> Option<Duration> {
        let spread = |age: Duration| age - age / 5 * (slot % self.workers.max(1)) / self.workers.max(1);
        self.max_age.map(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_due_one_after_the_other() {
        let plan = Plan {
            release: None,
            workers: 4,
            ready: Readiness::Notify,
            ready_timeout: Duration::ZERO,
            warms_up: false,
            probes: false,
            strategy: Strategy::Surge,
            soak: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            channel: false,
            watchdog: None,
            max_age: Some(Duration::from_secs(100)),
        };
        let ages: Vec<u64> = (0..4).map(|slot| plan.age_of(slot).unwrap().as_secs()).collect();
        assert_eq!(ages, [100, 95, 90, 85]);
        assert_eq!(Plan { max_age: None, ..plan }.age_of(0), None);
    }
}
