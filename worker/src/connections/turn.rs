//! Turns of accepting: a worker that has others beside it leaves them their part of a burst.

use std::time::{Duration, Instant};

/// Turns of one listener.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "no worker hears yet how many serve beside it")]
pub(crate) struct Turns;

#[allow(dead_code, reason = "no worker hears yet how many serve beside it")]
impl Turns {
    /// Notes a connection that was accepted. Returns the time to leave to the others before the next one.
    pub(crate) fn after_accept(&mut self, _now: Instant, _peers: u32) -> Option<Duration> {
        None
    }
}
