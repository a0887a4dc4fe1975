//! What the driver looks at by itself, from time to time.

use std::time::Duration;

use super::Driver;
use crate::moment::Moment;
use crate::os::time;

/// Interval between two looks at the memory of workers.
const WEIGHING: Duration = Duration::from_secs(2);

/// Moments of the next looks.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Workers are weighed, if there is a limit.
    pub(super) weighing: Option<Moment>,
    /// Workers share their load, if one was left alone that is apart from the others.
    pub(super) balance: Option<Moment>,
}

impl Driver {
    /// The moment of the next weighing; `None` without a limit.
    pub(super) fn next_weighing(&mut self) -> Option<Moment> {
        if self.generations.memory_limit(&self.machine).is_none() {
            self.looks.weighing = None;
        } else if self.looks.weighing.is_none() {
            self.looks.weighing = Some(time::now() + WEIGHING);
        }
        self.looks.weighing
    }

    pub(super) fn weigh(&mut self) {
        self.looks.weighing = None;
        let limit = self.generations.memory_limit(&self.machine);
        if let (Some(current), Some(limit)) = (self.machine.current(), limit) {
            self.pending.extend(self.workers.weigh(current, limit));
        }
    }
}
