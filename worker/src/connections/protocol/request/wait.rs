//! Time that a client has for its body.

use std::task::Context as Task;
use std::time::Instant;

use crate::connections::alarm::Alarm;
use crate::connections::bounds::Bounds;
use crate::connections::pace::Pace;

/// The wait for a client's next bytes.
#[derive(Default)]
pub(super) struct Wait {
    pace: Pace,
    alarm: Alarm,
}

impl Wait {
    /// Records that bytes have come.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.pace.moved(bytes, Instant::now);
        self.alarm.moved();
    }

    /// Records that it is not the client that is waited for.
    pub(super) fn rest(&mut self) {
        self.pace.rest(Instant::now());
    }

    /// True if the client has had its time. Else the task is woken when there is reason to ask again.
    pub(super) fn is_late(&mut self, cx: &mut Task<'_>, bounds: &Bounds) -> bool {
        self.pace.wait(Instant::now());
        let deadline = self.pace.deadline(bounds.timeouts.read, bounds.limits.min_rate);
        deadline.is_some_and(|deadline| self.alarm.is_late(cx, deadline))
    }
}
