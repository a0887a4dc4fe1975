//! Knowledge about a server that may be away: a machine without I/O and without a clock.
//!
//! While the server is away nobody asks it, so no request waits for it. One look after another asks it instead, [`RETRY`] apart.
//!
//! | state | a question fails | a look begins | the look is answered | the look fails |
//! |---|---|---|---|---|
//! | `Here` | `Away`, the next look in [`RETRY`] | stays | stays | stays |
//! | `Away` | stays | `Looking`, once it is due | stays | stays |
//! | `Looking` | stays | stays | `Here` | `Away`, the next look in [`RETRY`] |
//!
//! A question that was under way may be answered while the state is `Away`: that changes nothing, only a look brings the server back.

use std::time::{Duration, Instant};

/// Time between two looks at a server that is away.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// State of a server, as the last question or look has told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Circuit {
    /// The server answers, or nobody has asked it yet.
    Here,
    /// The server does not answer, and is not asked.
    Away {
        /// The error, for people.
        why: String,
        since: Instant,
        /// Time of the next look.
        next: Instant,
    },
    /// The same, and a look is under way.
    Looking { why: String, since: Instant },
}

impl Circuit {
    pub(super) fn is_here(&self) -> bool {
        matches!(self, Self::Here)
    }

    /// Why the server is away, if it is.
    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::Here => None,
            Self::Away { why, .. } | Self::Looking { why, .. } => Some(why),
        }
    }

    /// Begin of the outage.
    pub(super) fn since(&self) -> Option<Instant> {
        match self {
            Self::Here => None,
            Self::Away { since, .. } | Self::Looking { since, .. } => Some(*since),
        }
    }

    /// A question has failed. Returns true if that is news.
    pub(super) fn fail(&mut self, why: &str, now: Instant) -> bool {
        match self {
            Self::Here => {
                *self = Self::Away { why: why.to_owned(), since: now, next: now + RETRY };
                true
            }
            Self::Away { .. } | Self::Looking { .. } => false,
        }
    }

    /// Begins a look, if one is due and nobody else looks.
    pub(super) fn begin_look(&mut self, now: Instant) -> bool {
        match self {
            Self::Here | Self::Looking { .. } => false,
            Self::Away { next, .. } if now < *next => false,
            Self::Away { why, since, .. } => {
                *self = Self::Looking { why: std::mem::take(why), since: *since };
                true
            }
        }
    }

    /// The look was answered. Returns true if the server is back by that.
    pub(super) fn found(&mut self) -> bool {
        match self {
            Self::Here | Self::Away { .. } => false,
            Self::Looking { .. } => {
                *self = Self::Here;
                true
            }
        }
    }

    /// The look has failed, too.
    pub(super) fn look_failed(&mut self, why: &str, now: Instant) {
        match self {
            Self::Here | Self::Away { .. } => {}
            Self::Looking { since, .. } => {
                *self = Self::Away { why: why.to_owned(), since: *since, next: now + RETRY };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_from_the_first_error_to_the_look_that_ends_it() {
        let began = Instant::now();
        let mut circuit = Circuit::Here;
        assert!(circuit.is_here() && !circuit.begin_look(began) && !circuit.found());
        assert!(circuit.fail("connection refused", began));
        // Others that were under way fail, too: one line in the log is enough.
        assert!(!circuit.fail("timed out", began + RETRY / 2));
        assert_eq!((circuit.why(), circuit.since()), (Some("connection refused"), Some(began)));
        // An answer that comes late is no look.
        assert!(!circuit.found() && !circuit.is_here());

        assert!(!circuit.begin_look(began + RETRY / 2), "not due yet");
        assert!(circuit.begin_look(began + RETRY));
        assert!(!circuit.begin_look(began + RETRY * 9), "one at a time");
        assert!(!circuit.is_here() && !circuit.fail("timed out", began + RETRY));

        circuit.look_failed("loading", began + RETRY * 2);
        assert_eq!((circuit.why(), circuit.since()), (Some("loading"), Some(began)));
        assert!(!circuit.begin_look(began + RETRY * 2) && circuit.begin_look(began + RETRY * 3));
        assert!(circuit.found() && circuit.is_here());
        assert_eq!((circuit.why(), circuit.since()), (None, None));
    }

    /// Every order of four events from every state: it is `Here` only after a look that began was answered, and a look can always begin
    /// again.
    #[test]
    fn no_order_of_events_loses_the_looks() {
        let start = Instant::now();
        let mut ways = vec![(Circuit::Here, 0_u32)];
        while let Some((circuit, depth)) = ways.pop() {
            let now = start + RETRY * depth;
            let mut later = circuit.clone();
            later.look_failed("x", now);
            assert!(later.is_here() || later.begin_look(now + RETRY), "{circuit:?}");
            if depth == 6 {
                continue;
            }
            for event in 0..4 {
                let mut next = circuit.clone();
                match event {
                    0 => _ = next.fail("x", now),
                    1 => _ = next.begin_look(now),
                    2 => _ = next.found(),
                    _ => next.look_failed("x", now),
                }
                let came_back = next.is_here() && !circuit.is_here();
                assert!(!came_back || (event == 2 && matches!(circuit, Circuit::Looking { .. })), "{circuit:?}");
                ways.push((next, depth + 1));
            }
        }
    }
}
