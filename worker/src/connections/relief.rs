//! Relief of a worker that has no room for a new connection: whether to ask the master which workers have room, to wait, or to close
//! the longest idle connections here.
//!
//! | state | means | a new connection without room |
//! |---|---|---|
//! | Quiet | nobody was asked yet | asks |
//! | Asked | the master was asked | waits; [`ANSWER`] after the question idle ones are closed, and the worker is Alone |
//! | Giving | connections are on their way to other workers | waits; [`ANSWER`] after the question idle ones are closed |
//! | Relieved | other workers have taken some | asks, but not before [`PAUSE`] is over |
//! | Alone | nobody has room, or there is nobody to ask | closes idle ones; after [`ALONE`] asks |

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::graceful::Life;

/// Wait for the master's answer and the takers': a new client is to be served within a second.
const ANSWER: Duration = Duration::from_millis(500);
/// Shortest time between two questions.
const PAUSE: Duration = Duration::from_millis(100);
/// Time after which a worker that nobody could help asks again.
const ALONE: Duration = Duration::from_secs(1);

/// The other workers, which only the master knows.
pub(crate) trait Neighbours: fmt::Debug + Send + Sync + 'static {
    /// Asks which workers have room. False if nobody can be asked.
    fn ask(&self) -> bool;
    /// Says that this worker has room again.
    fn has_room_again(&self);
    /// Asks for other workers that take the connections of this one, which drains: those that were named do not.
    fn ask_for_takers(&self);
    /// Says how many connections this worker has, and, at the end of a share, how many others have taken of it.
    fn say_load(&self, connections: u32, given: Option<u32>);
}

/// The next thing to do for a connection that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Ask,
    Wait,
    Close,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Quiet,
    Asked(Instant),
    Giving(Instant),
    Relieved(Instant),
    Alone(Instant),
}

/// The relief of one worker.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    state: Mutex<State>,
    neighbours: OnceLock<Arc<dyn Neighbours>>,
    /// True while a task waits until there is room again.
    is_watched: AtomicBool,
}

impl State {
    fn next(self, now: Instant) -> (Self, Step) {
        let elapsed = |since| now.saturating_duration_since(since);
        match self {
            Self::Asked(since) | Self::Giving(since) if elapsed(since) < ANSWER => (self, Step::Wait),
            Self::Asked(_) => (Self::Alone(now), Step::Close),
            Self::Giving(_) => (self, Step::Close),
            Self::Relieved(since) if elapsed(since) < PAUSE => (self, Step::Wait),
            Self::Alone(since) if elapsed(since) < ALONE => (self, Step::Close),
            Self::Quiet | Self::Relieved(_) | Self::Alone(_) => (Self::Asked(now), Step::Ask),
        }
    }
}

impl Relief {
    /// Sets the way to the other workers. A worker without a master has none.
    pub(crate) fn set_neighbours(&self, neighbours: Arc<dyn Neighbours>) {
        let _ = self.neighbours.set(neighbours);
    }

    /// Decides what to do for a connection that finds no room.
    pub(crate) fn next(&self, now: Instant) -> Step {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, step) = state.next(now);
        *state = next;
        step
    }

    /// Notes that connections are on their way to other workers.
    pub(crate) fn gives(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The new client has waited since the question.
        let since = if let State::Asked(since) = *state { since } else { now };
        *state = State::Giving(since);
    }

    /// Notes that other workers have taken some, or none.
    pub(crate) fn ends(&self, is_relieved: bool, now: Instant) {
        self.set(if is_relieved { State::Relieved(now) } else { State::Alone(now) });
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Asks for workers with room. False if nobody can be asked. Whoever is asked hears when fewer connections than `roomy_below` are
    /// open here.
    pub(crate) fn ask(self: &Arc<Self>, life: &Life, roomy_below: usize) -> bool {
        let Some(neighbours) = self.neighbours.get().filter(|neighbours| neighbours.ask()) else { return false };
        if !self.is_watched.swap(true, Ordering::AcqRel) {
            let (own, life, neighbours) = (Arc::clone(self), life.clone(), Arc::clone(neighbours));
            tokio::spawn(async move {
                life.fewer_than(roomy_below).await;
                own.is_watched.store(false, Ordering::Release);
                neighbours.has_room_again();
            });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_asks_then_waits_then_helps_itself_for_a_while() {
        let (relief, now) = (Relief::default(), Instant::now());
        assert_eq!(relief.next(now), Step::Ask);
        assert_eq!(relief.next(now), Step::Wait, "it is asked once");
        assert_eq!(relief.next(now + ANSWER), Step::Close, "nobody answers");
        assert_eq!(relief.next(now + ANSWER + ALONE / 2), Step::Close);
        assert_eq!(relief.next(now + ANSWER + ALONE), Step::Ask);
    }

    #[test]
    fn a_worker_that_was_helped_asks_again_and_one_that_was_not_closes() {
        let (relief, now) = (Relief::default(), Instant::now());
        assert_eq!(relief.next(now), Step::Ask);
        relief.gives(now + ANSWER / 2);
        assert_eq!((relief.next(now + ANSWER / 2), relief.next(now + ANSWER)), (Step::Wait, Step::Close));
        relief.ends(true, now);
        assert_eq!((relief.next(now), relief.next(now + PAUSE)), (Step::Wait, Step::Ask));
        relief.ends(false, now);
        assert_eq!((relief.next(now), relief.next(now + ALONE)), (Step::Close, Step::Ask));
    }

    #[derive(Debug, Default)]
    struct Master(Mutex<Vec<&'static str>>);

    impl Neighbours for Master {
        fn ask(&self) -> bool {
            self.0.lock().unwrap().push("full");
            true
        }

        fn has_room_again(&self) {
            self.0.lock().unwrap().push("room");
        }

        fn ask_for_takers(&self) {}

        fn say_load(&self, _: u32, _: Option<u32>) {}
    }

    #[tokio::test]
    async fn a_worker_that_was_full_says_once_that_it_has_room_again() {
        let (relief, master, life) = (Arc::new(Relief::default()), Arc::new(Master::default()), Life::default());
        assert!(!relief.ask(&life, 1), "there is nobody to ask");
        relief.set_neighbours(Arc::clone(&master) as Arc<dyn Neighbours>);
        let connection = life.open();
        assert!(relief.ask(&life, 1) && relief.ask(&life, 1));
        drop(connection);
        while relief.is_watched.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        assert_eq!(*master.0.lock().unwrap(), ["full", "full", "room"]);
    }
}
