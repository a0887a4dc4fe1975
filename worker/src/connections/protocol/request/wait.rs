//! Time that a client has for its body.

use std::future::Future;
use std::pin::Pin;
use std::task::Context as Task;
use std::time::Instant;

use tokio::time::Sleep;

use crate::connections::bounds::Bounds;
use crate::connections::pace::Pace;
use crate::connections::protocol::timer::LATE_LOOK;

/// The wait for a client's next bytes. Its timer is made at the first wait, and re-armed only when it fires.
#[derive(Default)]
pub(super) struct Wait {
    pace: Pace,
    sleep: Option<Pin<Box<Sleep>>>,
    /// True if the client was found late, and is looked at once more.
    found_late: bool,
}

impl Wait {
    /// Records that bytes have come.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.pace.moved(bytes, Instant::now);
        self.found_late = false;
    }

    /// Records that it is not the client that is waited for.
    pub(super) fn rest(&mut self) {
        self.pace.rest(Instant::now());
    }

    /// True if the client has had its time. Else the task is woken when there is reason to ask again.
    pub(super) fn is_late(&mut self, cx: &mut Task<'_>, bounds: &Bounds) -> bool {
        let mut now = Instant::now();
        self.pace.wait(now);
        loop {
            let Some(deadline) = self.pace.deadline(bounds.timeouts.read, bounds.limits.min_rate) else { return false };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            now = now.max(Instant::now());
            if now < deadline {
                sleep.as_mut().reset(deadline.into());
            } else if std::mem::replace(&mut self.found_late, true) {
                return true;
            } else {
                // After a pause of the whole process this timer can come before the bytes that came in time.
                sleep.as_mut().reset((now + LATE_LOOK).into());
            }
        }
    }
}
