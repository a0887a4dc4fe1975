//! Doubts about connections of the pool.
//!
//! A connection to a server that was killed, or that hangs, looks as any other. To ask each one before each use would cost a round trip a
//! request. So a connection is asked only if it was idle for long, or if there was a sign of trouble since its last use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An idle connection is asked after this time: firewalls and servers close such.
const IDLE: Duration = Duration::from_secs(10);
/// Time after a sign in which each connection that comes back is asked, too.
const LASTS: Duration = Duration::from_secs(30);

/// The last sign of trouble.
pub(super) struct Trouble {
    began: Instant,
    /// In milliseconds since the beginning, and one more. 0: there was none.
    last: AtomicU64,
}

impl Trouble {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, last: AtomicU64::new(0) }
    }

    /// There is a sign: an error of the connection, or a query that nobody waits for any more.
    pub(super) fn sign(&self, now: Instant) {
        self.last.store(self.at(now) + 1, Ordering::Relaxed);
    }

    /// True if a connection that was idle for so long must be asked before it is used.
    pub(super) fn doubts_idle(&self, now: Instant, idle: Duration) -> bool {
        idle >= IDLE || self.since_last(now).is_some_and(|since| since <= idle)
    }

    /// True if a connection that comes back must answer in time.
    pub(super) fn doubts_returned(&self, now: Instant) -> bool {
        self.since_last(now).is_some_and(|since| since <= LASTS)
    }

    fn since_last(&self, now: Instant) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.at(now).saturating_sub(last)))
    }

    fn at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_asked_after_long_idleness_or_trouble() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let idle = Duration::from_secs;
        let trouble = Trouble::new(began);
        assert!(!trouble.doubts_idle(at(5), idle(5)) && trouble.doubts_idle(at(10), idle(10)));
        assert!(!trouble.doubts_returned(at(10)));
        trouble.sign(at(20));
        // Idle since 18, 20 and 23.
        assert!(trouble.doubts_idle(at(24), idle(6)) && trouble.doubts_idle(at(24), idle(4)));
        assert!(!trouble.doubts_idle(at(24), idle(1)));
        assert!(trouble.doubts_returned(at(50)) && !trouble.doubts_returned(at(51)));
    }
}
