//! The state of a receiver, and the next try. It does no I/O and reads no clock.
//!
//! | state | means |
//! |---|---|
//! | `Well` | The receiver takes spans, or was not asked yet. |
//! | `Waiting` | The receiver is away. A batch is kept, and is sent again at a time. |
//! | `Ending` | A flush has begun: all that waits is sent. |
//! | `LastTry` | A flush has begun, and the receiver was away: one more try. |
//! | `Closed` | Nothing is sent any more. |
//!
//! | answer | leads to |
//! |---|---|
//! | `Taken`: HTTP 2xx; gRPC 0 | The batch is sent, but for the spans that were rejected. |
//! | `Away`: HTTP 429, 502, 503, 504; gRPC 1, 4, 10, 11, 14, 15, and 8 with `RetryInfo`; no whole answer in time | The batch is kept. |
//! | `Refused`: any other answer | The batch is dropped. |
//!
//! `Away` leads from `Well` to `Waiting`, from `Ending` to `LastTry`, and from `LastTry` to `Closed`. If the receiver names a time that
//! is still to come, it leads from `Ending` to `Closed`.

use std::time::Duration;

use tokio::time::Instant;

/// First pause before another try.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// Growth of the pause at each try.
const PAUSE_GROWTH: f64 = 1.5;

/// Longest pause that the exporter chooses.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Part of a pause by which it is shorter or longer at random, for receivers have many clients.
const SPREAD: f64 = 0.2;

/// Bounds of a pause that the receiver chooses.
const ASKED_MIN: Duration = Duration::from_millis(100);
const ASKED_MAX: Duration = Duration::from_secs(60);

/// Answer to an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The spans were taken, but for some that the receiver has rejected, with a message.
    Taken { rejected: u64, message: String },
    /// The receiver may take them later: not before this time has passed, where it says so.
    Away { why: String, after: Option<Duration> },
    /// The receiver never takes them.
    Refused { why: String },
}

impl Answer {
    /// No answer.
    pub(crate) fn away(why: impl Into<String>) -> Self {
        Self::Away { why: why.into(), after: None }
    }
}

/// State of a receiver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum State {
    Well,
    Waiting { until: Instant, pause: Duration },
    Ending,
    LastTry,
    Closed,
}

/// Change that an answer has made, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Same,
    /// The receiver has gone away.
    Away,
    /// The receiver is back.
    Back,
    /// The spans that wait are lost.
    GivenUp,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Machine(State);

impl Machine {
    pub(crate) fn new() -> Self {
        Self(State::Well)
    }

    pub(crate) fn state(&self) -> State {
        self.0
    }

    /// Handles an answer. `random` is between 0 and 1.
    pub(crate) fn answered(&mut self, answer: &Answer, now: Instant, random: f64) -> Change {
        // A time that has come already is none: the receiver only says that another try may have success.
        let named = |after: Option<Duration>| after.filter(|after| !after.is_zero());
        let wait = |pause: Duration, after: Option<Duration>| {
            let asked = named(after).map(|after| after.clamp(ASKED_MIN, ASKED_MAX));
            let own = pause.mul_f64(1.0 + SPREAD * (2.0 * random - 1.0));
            State::Waiting { until: now + asked.unwrap_or(own), pause }
        };
        let (state, change) = match (self.0, answer) {
            (State::Well, Answer::Taken { .. } | Answer::Refused { .. }) => (State::Well, Change::Same),
            (State::Well, Answer::Away { after, .. }) => (wait(PAUSE_FIRST, *after), Change::Away),
            (State::Waiting { .. }, Answer::Taken { .. } | Answer::Refused { .. }) => (State::Well, Change::Back),
            (State::Waiting { pause, .. }, Answer::Away { after, .. }) => {
                (wait(pause.mul_f64(PAUSE_GROWTH).min(PAUSE_MAX), *after), Change::Same)
            }
            (State::Ending, Answer::Taken { .. } | Answer::Refused { .. }) => (State::Ending, Change::Same),
            // A receiver that names a time is not asked before it.
            (State::Ending, Answer::Away { after, .. }) if named(*after).is_some() => (State::Closed, Change::GivenUp),
            (State::Ending, Answer::Away { .. }) => (State::LastTry, Change::Away),
            (State::LastTry, Answer::Taken { .. } | Answer::Refused { .. }) => (State::Ending, Change::Back),
            (State::LastTry, Answer::Away { .. }) => (State::Closed, Change::GivenUp),
            (State::Closed, Answer::Taken { .. } | Answer::Refused { .. } | Answer::Away { .. }) => {
                (State::Closed, Change::Same)
            }
        };
        self.0 = state;
        change
    }

    /// Handles the begin of a flush. True if the try that is next, or under way, has become the last one.
    pub(crate) fn flush(&mut self) -> bool {
        let (state, is_last) = match self.0 {
            State::Well | State::Ending => (State::Ending, false),
            State::Waiting { .. } => (State::LastTry, true),
            State::LastTry => (State::LastTry, false),
            State::Closed => (State::Closed, false),
        };
        self.0 = state;
        is_last
    }

    /// Handles the end of all spans after a flush.
    pub(crate) fn end(&mut self) {
        self.0 = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken() -> Answer {
        Answer::Taken { rejected: 0, message: String::new() }
    }

    fn refused() -> Answer {
        Answer::Refused { why: "400".to_owned() }
    }

    fn away(after: Option<f64>) -> Answer {
        Answer::Away { why: "503".to_owned(), after: after.map(Duration::from_secs_f64) }
    }

    fn pauses(machine: &mut Machine, now: Instant, answers: &[Answer], random: f64) -> Vec<f64> {
        let seconds = |answer: &Answer| {
            machine.answered(answer, now, random);
            match machine.state() {
                State::Waiting { until, .. } => (until - now).as_secs_f64(),
                other => panic!("{other:?}"),
            }
        };
        answers.iter().map(seconds).collect()
    }

    #[test]
    fn each_row_of_the_table() {
        let now = Instant::now();
        let until = now + Duration::from_secs(9);
        let waiting = State::Waiting { until, pause: PAUSE_MAX };
        let again = State::Waiting { until: now + PAUSE_MAX, pause: PAUSE_MAX };
        let first = State::Waiting { until: now + PAUSE_FIRST, pause: PAUSE_FIRST };
        let asked = State::Waiting { until: now + Duration::from_secs(7), pause: PAUSE_FIRST };
        let cases = [
            (State::Well, taken(), State::Well, Change::Same),
            (State::Well, refused(), State::Well, Change::Same),
            (State::Well, away(None), first, Change::Away),
            (State::Well, away(Some(7.0)), asked, Change::Away),
            (waiting, taken(), State::Well, Change::Back),
            (waiting, refused(), State::Well, Change::Back),
            (waiting, away(None), again, Change::Same),
            (State::Ending, taken(), State::Ending, Change::Same),
            (State::Ending, refused(), State::Ending, Change::Same),
            (State::Ending, away(None), State::LastTry, Change::Away),
            (State::Ending, away(Some(7.0)), State::Closed, Change::GivenUp),
            (State::Ending, away(Some(0.0)), State::LastTry, Change::Away),
            (State::LastTry, taken(), State::Ending, Change::Back),
            (State::LastTry, refused(), State::Ending, Change::Back),
            (State::LastTry, away(None), State::Closed, Change::GivenUp),
            (State::LastTry, away(Some(7.0)), State::Closed, Change::GivenUp),
            (State::Closed, taken(), State::Closed, Change::Same),
            (State::Closed, refused(), State::Closed, Change::Same),
            (State::Closed, away(None), State::Closed, Change::Same),
        ];
        for (before, answer, after, change) in cases {
            let mut machine = Machine(before);
            assert_eq!(machine.answered(&answer, now, 0.5), change, "{before:?} {answer:?}");
            assert_eq!(machine.state(), after, "{before:?} {answer:?}");
        }
        let flushes = [
            (State::Well, State::Ending, false),
            (waiting, State::LastTry, true),
            (State::Ending, State::Ending, false),
            (State::LastTry, State::LastTry, false),
            (State::Closed, State::Closed, false),
        ];
        for (before, after, is_last) in flushes {
            let mut machine = Machine(before);
            assert_eq!((machine.flush(), machine.state()), (is_last, after), "{before:?}");
        }
    }

    #[test]
    fn pauses_grow_up_to_half_a_minute() {
        let now = Instant::now();
        let answers = vec![away(None); 12];
        let pauses = pauses(&mut Machine::new(), now, &answers, 0.5);
        assert_eq!(pauses[..4], [1.0, 1.5, 2.25, 3.375]);
        assert_eq!(pauses[9..], [30.0; 3]);
    }

    #[test]
    fn pauses_differ_by_a_fifth() {
        let now = Instant::now();
        assert_eq!(pauses(&mut Machine::new(), now, &[away(None)], 0.0), [0.8]);
        assert_eq!(pauses(&mut Machine::new(), now, &[away(None)], 1.0), [1.2]);
    }

    #[test]
    fn a_receiver_may_name_the_pause() {
        let now = Instant::now();
        let answers = [away(Some(7.0)), away(Some(3600.0)), away(Some(0.001)), away(Some(0.0)), away(None)];
        let pauses = pauses(&mut Machine::new(), now, &answers, 0.5);
        assert_eq!(pauses, [7.0, 60.0, 0.1, 3.375, 5.0625]);
    }

    proptest! {
        #[test]
        fn a_flush_ends_after_one_more_failure(aways in 0..20_usize, random in 0.0..1.0_f64) {
            let mut machine = Machine::new();
            for _ in 0..aways {
                machine.answered(&away(None), Instant::now(), random);
            }
            machine.flush();
            machine.answered(&away(None), Instant::now(), random);
            machine.answered(&away(None), Instant::now(), random);
            prop_assert_eq!(machine.state(), State::Closed);
        }
    }
}
