//! The way of a connection of HTTP/2 to its rest: a busy one never pauses by itself, because its client always has a request under way.
//!
//! | state | means | left by |
//! |---|---|---|
//! | Free | requests go on | a rest that is wanted: the gate closes |
//! | Gated | new requests wait, for 200 ms at most | a rest that is wanted no more, its time: the gate opens |
//! | Waits | the gate was closed in vain | 1 s; twice as long each further time, up to 8 s |
//! | Told | the client knows that the connection ends | nothing |
//!
//! The pauses grow, because a connection with a long stream (an event stream, a large download) cannot rest however often its other requests
//! wait.
//!
//! A rest is wanted while other workers take connections. When the connection rests, it leaves, in whichever state: nothing here is asked
//! then. At its goodbye each state becomes Told, and the gate opens: what has waited is answered.

use std::time::{Duration, Instant};

/// Longest time for which new requests wait.
const GATED: Duration = Duration::from_millis(200);
/// Time between a gate that did not help and the next one: at first, and at most.
const BETWEEN: Duration = Duration::from_secs(1);
const BETWEEN_MAX: Duration = Duration::from_secs(8);

/// Way of one connection to its rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Rest {
    #[default]
    Free,
    Gated {
        until: Instant,
        /// Pause that follows if the gate does not help.
        pause: Duration,
    },
    Waits {
        again: Instant,
        /// Pause after this one.
        next: Duration,
    },
    Told {
        since: Instant,
    },
}

/// Things to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    CloseGate,
    OpenGate,
    /// Open the gate, and tell the client that the connection ends.
    Goodbye,
}

impl Rest {
    /// Looks at the connection. `wanted`: it is to leave when it rests. `is_last_call`: its client is to be told of the end now.
    pub(super) fn look(&mut self, now: Instant, wanted: bool, is_last_call: bool) -> Step {
        let (next, step) = match *self {
            Self::Told { .. } => (*self, Step::Nothing),
            Self::Free | Self::Gated { .. } | Self::Waits { .. } if is_last_call => {
                (Self::Told { since: now }, Step::Goodbye)
            }
            Self::Gated { until, pause } if now >= until || !wanted => {
                (Self::Waits { again: now + pause, next: (pause * 2).min(BETWEEN_MAX) }, Step::OpenGate)
            }
            Self::Gated { .. } => (*self, Step::Nothing),
            Self::Waits { again, .. } if now < again => (*self, Step::Nothing),
            Self::Free if wanted => (Self::Gated { until: now + GATED, pause: BETWEEN }, Step::CloseGate),
            Self::Waits { next, .. } if wanted => (Self::Gated { until: now + GATED, pause: next }, Step::CloseGate),
            Self::Free | Self::Waits { .. } => (Self::Free, Step::Nothing),
        };
        *self = next;
        step
    }

    /// The client is told of the end for another reason.
    pub(super) fn tell(&mut self, now: Instant) {
        *self = Self::Told { since: now };
    }

    /// The moment at which the client was told of the end.
    pub(super) fn told(self) -> Option<Instant> {
        match self {
            Self::Told { since } => Some(since),
            Self::Free | Self::Gated { .. } | Self::Waits { .. } => None,
        }
    }

    /// The moment of the next look, if there is something to do by then.
    pub(super) fn next(self) -> Option<Instant> {
        match self {
            Self::Gated { until, .. } => Some(until),
            Self::Waits { again, .. } => Some(again),
            Self::Free | Self::Told { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const STEP: Duration = Duration::from_millis(50);

    /// A connection under looks in every order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct World {
        rest: Rest,
        now: Instant,
        is_closed: bool,
        /// The moment at which the gate was closed last.
        closed_at: Option<Instant>,
        /// The moment at which it was opened last.
        opened_at: Option<Instant>,
    }

    impl World {
        fn after(mut self, wanted: bool, is_last_call: bool) -> Self {
            let before = self.rest;
            match self.rest.look(self.now, wanted, is_last_call) {
                Step::Nothing => {}
                Step::CloseGate => {
                    assert!(wanted && !is_last_call && !self.is_closed, "{self:?}");
                    assert!(self.opened_at.is_none_or(|at| self.now >= at + BETWEEN), "too soon: {self:?}");
                    (self.is_closed, self.closed_at) = (true, Some(self.now));
                }
                Step::OpenGate => {
                    assert!(self.is_closed, "{self:?}");
                    (self.is_closed, self.opened_at) = (false, Some(self.now));
                }
                Step::Goodbye => {
                    assert!(is_last_call && before.told().is_none(), "{self:?}");
                    self.is_closed = false;
                }
            }
            assert_eq!(self.is_closed, matches!(self.rest, Rest::Gated { .. }), "{self:?}");
            assert!(before.told().is_none() || before == self.rest, "told once, and for good");
            self
        }
    }

    #[test]
    fn a_gate_is_closed_for_a_short_time_in_each_second_and_never_after_the_goodbye() {
        let began = Instant::now();
        let first = World { rest: Rest::Free, now: began, is_closed: false, closed_at: None, opened_at: None };
        let (mut todo, mut seen) = (vec![first], HashSet::from([first]));
        while let Some(world) = todo.pop() {
            for (wanted, is_last_call) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut next = world.after(wanted, is_last_call);
                if let Some(closed_at) = next.closed_at.filter(|_| next.is_closed) {
                    assert!(next.now < closed_at + GATED, "requests wait for too long: {next:?}");
                }
                // Looks come at the latest when there is something to do.
                assert!(next.rest.next().is_none_or(|at| at > next.now), "{next:?}");
                next.now += STEP;
                if next.now <= began + 2 * (GATED + BETWEEN) && seen.insert(next) {
                    todo.push(next);
                }
            }
        }
        println!("{} states", seen.len());
    }

    #[test]
    fn a_gate_that_did_not_help_is_closed_again_after_a_second() {
        let (mut rest, began) = (Rest::default(), Instant::now());
        assert_eq!(rest.look(began, false, false), Step::Nothing);
        assert_eq!(rest.look(began, true, false), Step::CloseGate);
        assert_eq!(rest.next(), Some(began + GATED));
        assert_eq!(rest.look(began + GATED / 2, true, false), Step::Nothing);
        assert_eq!(rest.look(began + GATED, true, false), Step::OpenGate);
        assert_eq!(rest.look(began + GATED + BETWEEN / 2, true, false), Step::Nothing);
        assert_eq!(rest.look(began + GATED + BETWEEN, true, false), Step::CloseGate);
        // The takers are gone.
        assert_eq!(rest.look(began + GATED + BETWEEN + STEP, false, false), Step::OpenGate);
        let again = began + GATED + BETWEEN + STEP + 2 * BETWEEN;
        assert_eq!(rest.next(), Some(again));
        assert_eq!((rest.look(again, false, false), rest, rest.next()), (Step::Nothing, Rest::Free, None));
    }

    #[test]
    fn a_connection_that_cannot_rest_is_held_back_less_and_less_often() {
        let (mut rest, mut now) = (Rest::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(rest.look(now, true, false), Step::CloseGate);
            now = rest.next().unwrap();
            assert_eq!(rest.look(now, true, false), Step::OpenGate);
            pauses.push((rest.next().unwrap() - now).as_secs());
            now = rest.next().unwrap();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
        // The next drain or share begins anew.
        assert_eq!((rest.look(now, false, false), rest), (Step::Nothing, Rest::Free));
        assert_eq!(rest.look(now, true, false), Step::CloseGate);
        assert_eq!((rest.look(now + GATED, true, false), rest.next()), (Step::OpenGate, Some(now + GATED + BETWEEN)));
    }
}
