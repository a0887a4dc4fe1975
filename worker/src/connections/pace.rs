//! Pace of a peer: for how long it has let us wait, and how much it let through meanwhile.
//!
//! One rule bounds every wait for a peer, in either direction. It may let us wait for `patience` at a time; and all its waits
//! together may take `patience`, and a second more for every `min_rate` bytes. So a peer that is just slow goes on, and one
//! that gives or takes a byte now and then does not hold a connection for ever. Time that we need ourselves never counts.

use std::time::{Duration, Instant};

/// Pace of a peer in one direction, for one message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The moment from which the peer is waited for.
    since: Option<Instant>,
    /// Time that was spent waiting before that.
    waited: Duration,
    /// Bytes that have come through.
    bytes: u64,
}

impl Pace {
    /// Records that the peer is waited for.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Records that this many bytes have come through. Costs no look at the clock if nobody waited.
    pub(crate) fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.bytes += bytes as u64;
        if self.since.is_some() {
            self.rest(now());
        }
    }

    /// Records that the peer is not waited for any more.
    pub(crate) fn rest(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// The moment from which the peer is waited for. `None` if it is not.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.since
    }

    /// The end of the wait. `None` if the peer is not waited for. `min_rate`: bytes a second; 0 sets no least rate.
    pub(crate) fn deadline(&self, patience: Duration, min_rate: u64) -> Option<Instant> {
        let since = self.since?;
        let Some(earned) = self.bytes.checked_div(min_rate) else { return Some(since + patience) };
        // At least what is left of the first `patience`; at most `patience` again.
        let all = patience.saturating_add(Duration::from_secs(earned));
        Some(since + all.saturating_sub(self.waited).min(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_peer_that_gives_a_byte_now_and_then_does_not_go_on_for_ever() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let began = now;
        for _ in 0..10_000 {
            pace.wait(now);
            let end = pace.deadline(PATIENCE, 240).unwrap();
            now += Duration::from_secs(1);
            if end <= now {
                assert!(now - began <= Duration::from_secs(31), "{:?}", now - began);
                return;
            }
            pace.moved(1, || now);
        }
        panic!("it went on");
    }

    #[test]
    fn a_slow_peer_goes_on_and_has_its_patience_at_every_wait() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..10_000 {
            pace.wait(now);
            assert!(pace.deadline(PATIENCE, 240).unwrap() > now + Duration::from_secs(20));
            assert_eq!(pace.deadline(PATIENCE, 0), Some(now + PATIENCE));
            now += Duration::from_secs(20);
            pace.moved(6_000, || now);
            assert_eq!(pace.deadline(PATIENCE, 240), None);
            // What we need ourselves does not count.
            now += Duration::from_secs(1_000);
        }
        pace.wait(now);
        assert_eq!(pace.deadline(PATIENCE, 240), Some(now + PATIENCE), "never more at once");
    }
}
