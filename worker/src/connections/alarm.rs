//! The alarm of a wait for a peer: made at the first wait, re-armed only when it rings, and believed only when it rings twice.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Time between the two looks after which a peer counts as late. After a pause of the whole process (SIGSTOP, a freezer) a timer can
/// come before the bytes that came in time.
pub(crate) const LATE_LOOK: Duration = Duration::from_millis(100);

/// Alarm of one wait after the other.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// True if the peer was found late, and is looked at once more.
    found_late: bool,
}

impl Alarm {
    /// Records that the peer has all of its time again.
    pub(crate) fn moved(&mut self) {
        self.found_late = false;
    }

    /// True if the peer has had its time. Else the task is woken when there is reason to ask again. `deadline` may be another one
    /// each time, if it is a later one.
    pub(crate) fn is_late(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            let now = Instant::now();
            if now < deadline {
                self.found_late = false;
                sleep.as_mut().reset(deadline.into());
            } else if std::mem::replace(&mut self.found_late, true) {
                return true;
            } else {
                sleep.as_mut().reset((now + LATE_LOOK).into());
            }
        }
    }
}
