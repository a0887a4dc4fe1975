//! The time for which a worker that gives or takes connections is left alone.
//!
//! | it | is left alone |
//! |---|---|
//! | takes | for [`PAUSE`] |
//! | gives | until it says how many others have taken, for [`RESULT`] at most |
//! | could give none | for twice the pause before, from [`PAUSE`] to [`LONGEST`]; its connections may be of a kind that stays. A load that differs much from what it was then ends that, and so does another number of workers |

use std::time::Duration;

use super::{PAUSE, is_apart};
use crate::moment::Moment;

/// Longest wait for the result of an order. A worker gives for 2 s, and waits for answers to what it has offered.
const RESULT: Duration = Duration::from_secs(3);
/// Longest pause after an order that moved nothing.
const LONGEST: Duration = Duration::from_secs(60);

/// A worker's part in sharing, as its orders and reports tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pause {
    busy_until: Option<Moment>,
    /// Number of its connections when it could give none, and the pause after that.
    fruitless: Option<(u32, Duration)>,
}

impl Pause {
    /// The end of the time for which it is left alone.
    #[must_use]
    pub fn busy_until(&self) -> Option<Moment> {
        self.busy_until
    }

    /// Notes that it was told to take.
    pub fn takes(&mut self, now: Moment) {
        self.busy_until = Some(now + PAUSE);
    }

    /// Notes that it was told to give.
    pub fn gives(&mut self, now: Moment) {
        self.busy_until = Some(now + RESULT);
    }

    /// Notes the number of its connections.
    pub fn has(&mut self, connections: u32) {
        if self.fruitless.is_some_and(|(then, _)| is_apart(then, connections)) {
            *self = Self::default();
        }
    }

    /// Notes that other workers serve than before: they may take what those did not.
    pub fn has_others(&mut self) {
        if self.fruitless.is_some() {
            *self = Self::default();
        }
    }

    /// Notes how many of its connections others have taken. It has so many left.
    pub fn has_given(&mut self, now: Moment, given: u32, connections: u32) {
        if given > 0 {
            *self = Self::default();
            return;
        }
        let last = self.fruitless.map_or(PAUSE, |(_, pause)| pause);
        let pause = LONGEST.min(last * 2);
        *self = Self { busy_until: Some(now + pause), fruitless: Some((connections, pause)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000_000);

    #[test]
    fn a_worker_that_can_give_nothing_is_asked_ever_more_rarely() {
        let mut left_alone = Pause::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            left_alone.gives(NOW);
            assert_eq!(left_alone.busy_until(), Some(NOW + RESULT));
            left_alone.has_given(NOW, 0, 300);
            pauses.push(left_alone.busy_until().unwrap().since(NOW).as_millis());
            // Its load is told now and then, and is the same.
            left_alone.has(305);
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        left_alone.has(400);
        assert_eq!(left_alone, Pause::default());
    }

    #[test]
    fn a_worker_that_could_give_none_is_asked_again_when_others_serve() {
        let mut left_alone = Pause::default();
        left_alone.has_given(NOW, 0, 300);
        left_alone.has_others();
        assert_eq!(left_alone, Pause::default());
        left_alone.takes(NOW);
        left_alone.has_others();
        assert_eq!(left_alone.busy_until(), Some(NOW + PAUSE), "it takes still");
    }

    #[test]
    fn a_worker_that_has_given_may_be_asked_again_at_once() {
        let mut left_alone = Pause::default();
        left_alone.has_given(NOW, 0, 300);
        left_alone.gives(NOW);
        left_alone.has_given(NOW, 1, 299);
        assert_eq!(left_alone, Pause::default());
        left_alone.takes(NOW);
        assert_eq!(left_alone.busy_until(), Some(NOW + PAUSE));
    }
}
