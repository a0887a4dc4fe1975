//! What the machine knows of a generation's frozen configuration: no paths, only numbers and choices.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a worker shows that it is ready.
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

/// Between two checks of [`Readiness::Check`].
pub const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The part of a generation's configuration that decides its course.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The name people know it by.
    pub release: Option<String>,
    /// How many slots.
    pub workers: u32,
    /// When a worker counts as ready.
    pub ready: Readiness,
    /// How long it may take to get there, and to accept after `go`.
    pub ready_timeout: Duration,
    /// Whether a command is run for each ready worker before it serves.
    #[serde(default)]
    pub warms_up: bool,
    /// Whether each is probed before it serves.
    #[serde(default)]
    pub probes: bool,
    /// Whether it takes the old one's place slot by slot.
    #[serde(default)]
    pub rolling: bool,
    /// How long both generations serve before the old one drains.
    pub soak: Duration,
    /// How long a worker may drain.
    pub drain_timeout: Duration,
    /// Whether the worker waits for `go` on its channel.
    pub channel: bool,
    /// How long a serving worker may be silent.
    #[serde(default)]
    pub watchdog: Option<Duration>,
    /// How old one may become.
    #[serde(default)]
    pub max_age: Option<Duration>,
}

impl Plan {
    /// How old the worker in `slot` may become: the slots are spread over the last fifth of `max_age`.
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
            rolling: false,
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
