//! Silence of a client: it is sent a ping, and closed if nothing comes of it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Time between the two looks after which a client counts as gone.
const LATE_LOOK: Duration = Duration::from_millis(100);

/// What is due after a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a ping: nothing has come for half of the time.
    Ping,
    /// Close: nothing has come, though a ping was sent.
    Close,
}

/// Follows the silence of one client. `idle`: the longest one.
#[derive(Debug)]
pub(super) struct Silence {
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
    pinged: Option<Instant>,
    found_late: bool,
}

impl Silence {
    pub(super) fn new(idle: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(idle / 2));
        Self { idle, sleep, pinged: None, found_late: false }
    }

    /// Waits until something is due. `heard`: the moment at which bytes came last.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heard: Instant) -> Poll<Due> {
        if self.pinged.is_some_and(|pinged| heard > pinged) {
            (self.pinged, self.found_late) = (None, false);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            let at = match self.pinged {
                None => heard + self.idle / 2,
                Some(pinged) => pinged + self.idle / 2,
            };
            if now < at {
                self.sleep.as_mut().reset(at.into());
            } else if self.pinged.is_none() {
                self.pinged = Some(now);
                self.sleep.as_mut().reset((now + self.idle / 2).into());
                return Poll::Ready(Due::Ping);
            } else if std::mem::replace(&mut self.found_late, true) {
                return Poll::Ready(Due::Close);
            } else {
                // After a pause of the whole process this timer can come before the bytes that came in time.
                self.sleep.as_mut().reset((now + LATE_LOOK).into());
            }
        }
    }
}
