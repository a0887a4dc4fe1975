//! Silence of a client: it is sent a ping, and closed if nothing comes of it.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::connections::Alarm;

/// Duty after a silence.
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
    alarm: Alarm,
    /// The moment of the ping that nothing has followed.
    pinged: Option<Instant>,
}

impl Silence {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, alarm: Alarm::default(), pinged: None }
    }

    /// Waits until something is due. `heard`: the moment at which bytes came last.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heard: Instant) -> Poll<Due> {
        if self.pinged.is_some_and(|pinged| heard > pinged) {
            self.pinged = None;
            self.alarm.moved();
        }
        let since = self.pinged.unwrap_or(heard);
        if !self.alarm.is_late(cx, since + self.idle / 2) {
            return Poll::Pending;
        }
        self.alarm = Alarm::default();
        Poll::Ready(if self.pinged.is_some() {
            Due::Close
        } else {
            self.pinged = Some(Instant::now());
            Due::Ping
        })
    }
}
