//! Turns of accepting: a worker that has others beside it leaves them their part of a burst.
//!
//! Whoever accepts first finds the next connection first, too, and would take a burst alone. So a worker whose connections grow by
//! [`TURN`] in a row lets the others accept for [`REST`]. Connections that end as fast as new ones come are no burst: these cost no pause.

use std::time::{Duration, Instant};

/// Number of connections by which a worker grows in one turn.
const TURN: usize = 16;
/// Time that is left to the others after a turn. A connection that comes later than this after the last one begins a turn.
const REST: Duration = Duration::from_millis(1);

/// Turns of one listener.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Number of connections before this turn.
    before: usize,
    /// The moment of the last connection.
    last: Option<Instant>,
}

impl Turns {
    /// Notes a connection that was accepted. Returns the time to leave to the others before the next one. `open`: number of connections of
    /// this worker, with the new one. `peers`: number of workers that serve, this one included; 0 if nobody has said it.
    pub(crate) fn after_accept(&mut self, now: Instant, open: usize, peers: u32) -> Option<Duration> {
        if peers <= 1 {
            self.last = None;
            return None;
        }
        let goes_on = self.last.is_some_and(|last| now.saturating_duration_since(last) <= REST);
        let before = if goes_on { self.before.min(open) } else { open.saturating_sub(1) };
        let is_over = open - before >= TURN;
        *self = Self { before, last: (!is_over).then_some(now) };
        is_over.then_some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_rests_after_each_turn_of_a_burst() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let rests: Vec<usize> = (1..=100).filter(|open| turns.after_accept(now, *open, 4).is_some()).collect();
        assert_eq!(rests, [16, 32, 48, 64, 80, 96]);
    }

    #[test]
    fn a_worker_that_is_alone_never_rests() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert!((1..=100).all(|open| turns.after_accept(now, open, 0).or(turns.after_accept(now, open, 1)).is_none()));
    }

    #[test]
    fn connections_that_come_now_and_then_are_no_burst() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert!((1..100).all(|open| turns.after_accept(now + REST * 2 * open, open as usize, 4).is_none()));
    }

    #[test]
    fn connections_that_end_at_once_cost_no_pause() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert!((0..100).all(|number| turns.after_accept(now, 50 + number % (TURN - 1), 4).is_none()));
        // Those that stay count from the fewest on.
        let rests: Vec<usize> = (51..=90).filter(|open| turns.after_accept(now, *open, 4).is_some()).collect();
        assert_eq!(rests, [65, 81]);
    }
}
