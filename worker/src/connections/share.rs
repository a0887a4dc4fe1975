//! The serving giver: a worker with too many connections gives a number of them, and serves on.
//!
//! | state | means | a connection that pauses | left by |
//! |---|---|---|---|
//! | Even | nothing is to be given | stays | the master's order |
//! | Giving | so many are still to leave, parked ones first | leaves, and counts | the last of them, [`GIVING`], the loss of all takers, a drain |
//! | Ended | no more leave; answers for what was offered are awaited | stays | the answers, or the end of the time for them |
//!
//! A connection that leaves counts whether or not a taker has room for it: so no more are on their way than were ordered. An order that
//! comes before the end of the last one is passed over. The master gives another one after the next report.

use std::time::{Duration, Instant};

/// Longest time in which connections leave as they pause.
const GIVING: Duration = Duration::from_secs(2);

/// The share of a worker's connections that goes to others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Share {
    #[default]
    Even,
    Giving {
        left: u32,
        until: Instant,
    },
    Ended,
}

impl Share {
    /// Begins to give so many connections. Returns false if the last share is not over.
    pub(crate) fn begin(&mut self, now: Instant, left: u32) -> bool {
        match self {
            Self::Even => {
                *self = Self::Giving { left, until: now + GIVING };
                true
            }
            Self::Giving { .. } | Self::Ended => false,
        }
    }

    /// Returns true if a connection that pauses leaves. It counts then.
    pub(crate) fn takes(&mut self) -> bool {
        match self {
            Self::Giving { left, .. } if *left > 0 => {
                *left -= 1;
                true
            }
            Self::Even | Self::Giving { .. } | Self::Ended => false,
        }
    }

    /// The moment until which connections leave; `None` if none leaves.
    pub(crate) fn until(self) -> Option<Instant> {
        match self {
            Self::Giving { left, until } if left > 0 => Some(until),
            Self::Even | Self::Giving { .. } | Self::Ended => None,
        }
    }

    /// No more connections leave.
    pub(crate) fn end(&mut self) {
        *self = match self {
            Self::Even => Self::Even,
            Self::Giving { .. } | Self::Ended => Self::Ended,
        };
    }

    /// All that was offered has its answer.
    pub(crate) fn over(&mut self) {
        *self = Self::Even;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_leave_than_were_ordered() {
        let (mut share, now) = (Share::default(), Instant::now());
        assert!(!share.takes() && share.until().is_none());
        assert!(share.begin(now, 2));
        assert_eq!(share.until(), Some(now + GIVING));
        assert!(share.takes() && share.takes() && !share.takes());
        assert_eq!(share.until(), None);
    }

    #[test]
    fn an_order_before_the_end_of_the_last_one_is_passed_over() {
        let (mut share, now) = (Share::default(), Instant::now());
        assert!(share.begin(now, 7) && !share.begin(now, 9));
        share.end();
        assert!(!share.takes() && !share.begin(now, 9), "answers are awaited");
        share.over();
        assert!(share.begin(now, 9) && share.takes());
    }

    #[test]
    fn the_end_of_no_share_is_nothing() {
        let mut share = Share::Even;
        share.end();
        assert_eq!(share, Share::Even);
        assert!(share.begin(Instant::now(), 0));
        assert!(share.until().is_none() && !share.takes(), "all were parked");
    }
}
