//! Turns of accepting: a worker that has others beside it leaves them their part of a burst.

use std::time::{Duration, Instant};

/// Turns of one listener.
#[derive(Debug, Default)]
pub(crate) struct Turns(());

impl Turns {
    /// Notes a connection that was accepted. Returns the time to leave to the others before the next one. `peers`: number of workers
    /// that serve, this one included; 0 if nobody has said it.
    pub(crate) fn after_accept(&mut self, _now: Instant, _peers: u32) -> Option<Duration> {
        None
    }
}
