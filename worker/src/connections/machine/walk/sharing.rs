//! The serving giver in the walk: the master has it give one connection, which leaves at once if it is parked, and as it pauses if not.
//!
//! While it waits for that pause (`Giving`), anything may happen: a drain, a cut, the death of either side, a silence. Once the connection is
//! queued, the taker is as one that makes room.

use std::time::{Duration, Instant};

use super::super::*;
use super::walk;
use super::world::{Budget, CALM, GIVER, Link, Step, World};

/// Longest time in which the connection leaves as it pauses.
const GIVING: Duration = Duration::from_secs(2);

/// A share that is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sharing {
    pub(super) taker: usize,
    pub(super) until: Instant,
}

/// Takers that the giver has though it does not drain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Aside {
    /// Times when the giver has more than its share, and the master sends it a taker.
    pub(super) shares: u8,
    /// The share that is to be given: the connection, if it pauses in time.
    pub(super) sharing: Option<Sharing>,
    /// The taker to which the connection goes to make room or for a share, and no other one, while it is queued or offered.
    pub(super) reliever: Option<usize>,
}

impl World {
    /// True if this worker can be told to give the connection to this taker. Sessions stay: their handlers hear of drains alone.
    pub(super) fn may_share(&self, worker: usize, taker: usize) -> bool {
        let is_even =
            !self.is_over && self.aside.shares > 0 && self.aside.sharing.is_none() && self.aside.reliever.is_none();
        let serves = worker == GIVER && self.workers[GIVER].drain == Drain::No && !self.is_session;
        let is_here = self
            .copy(worker)
            .is_some_and(|copy| matches!(copy.state, State::Accepted(_) | State::Active(_) | State::Parked));
        serves && is_even && is_here && self.workers[taker].lives && !self.links[taker].is_open
    }

    /// True if this taker is none of those that a drain has.
    pub(super) fn is_aside(&self, taker: usize) -> bool {
        self.aside.reliever == Some(taker) || self.aside.sharing.is_some_and(|sharing| sharing.taker == taker)
    }

    /// As `Hub::share`.
    pub(super) fn shares(&mut self, taker: usize) {
        self.aside.shares -= 1;
        self.links[taker] = Link { is_open: true, ..Link::default() };
        if self.copy(GIVER).is_some_and(|copy| copy.state == State::Parked) {
            self.aside.reliever = Some(taker);
            self.happens(GIVER, Event::Worker(WorkerEvent::Uneven));
        } else {
            self.aside.sharing = Some(Sharing { taker, until: self.now + GIVING });
        }
    }

    /// The connection is queued: no other one leaves.
    pub(super) fn leaves_for_share(&mut self) {
        if let Some(sharing) = self.aside.sharing.take() {
            self.aside.reliever = Some(sharing.taker);
        }
    }

    /// As the end of `give_share`: the connection is not to leave any more.
    pub(super) fn end_share(&mut self) {
        if let Some(sharing) = self.aside.sharing.take() {
            self.links[sharing.taker].is_shut = true;
        }
    }

    /// The giver hears that this taker is gone.
    pub(super) fn end_share_with(&mut self, taker: usize) {
        self.aside.sharing = self.aside.sharing.filter(|sharing| sharing.taker != taker);
    }
}

/// Walks with so many shares, and holds the number of states against the one that is known.
fn shares(name: &str, start: World, shares: u8, known: usize) {
    let states = walk(World { aside: Aside { shares, ..Aside::default() }, ..start });
    println!("share, {name}: {states} states");
    assert!(states >= known, "share, {name}: {states} states, and there were {known}");
}

#[test]
fn every_order_of_a_share_keeps_the_invariants() {
    let one = Budget { requests: 1, ..CALM };
    let walks = |name, budget, known| shares(name, World::new(false, budget), 1, known);
    walks("calm", one, 1322);
    walks("refusal and departure", Budget { refusals: 1, departures: 1, ..one }, 3901);
    walks("death", Budget { deaths: 1, ..one }, 5946);
    walks("silence and death", Budget { requests: 0, silences: 1, deaths: 1, ..one }, 1707);
    walks("then a drain", Budget { takers: 1, refusals: 1, deaths: 1, ..one }, 83_096);
    walks("cut", Budget { cuts: 1, ..one }, 1990);
    walks("relief", Budget { reliefs: 1, refusals: 1, ..one }, 4127);
    shares("twice", World::new(false, Budget { refusals: 1, ..one }), 2, 3037);
}

#[test]
fn no_two_workers_could_write_under_one_key_whatever_becomes_of_a_share() {
    let one = Budget { requests: 1, ..CALM };
    let walks = |name, budget, known| shares(name, World::keyed(false, budget), 1, known);
    walks("keyed, death", Budget { deaths: 1, ..one }, 9961);
    walks("keyed, half a record", Budget { halves: 1, ..one }, 3383);
    walks("keyed, garbled", Budget { garbles: 1, deaths: 1, ..one }, 14_445);
    walks("keyed, stop", Budget { requests: 0, stops: 1, ..one }, 1783);
}

#[test]
fn a_connection_in_use_leaves_as_it_pauses_and_a_drain_ends_the_wait_for_that() {
    let mut world = World::new(false, Budget { requests: 2, ..CALM });
    world.aside.shares = 1;
    for step in [Step::Request, Step::Reads(GIVER), Step::Shares(1)] {
        world.take(&step);
    }
    let mut drained = world.clone();
    for step in [Step::Answers(GIVER), Step::Pauses(GIVER), Step::Sends(1), Step::Receives(1), Step::Commits(1)] {
        world.take(&step);
    }
    for step in [Step::GiverHears(1), Step::Request, Step::Wakes(1)] {
        world.take(&step);
    }
    assert_eq!((world.owner(), world.workers[GIVER].drain), (Some(1), Drain::No));
    world.settles();
    for step in [Step::Drains(GIVER), Step::Answers(GIVER)] {
        drained.take(&step);
    }
    assert!(!drained.steps().contains(&Step::Pauses(GIVER)), "nobody takes");
    drained.settles();
}
