//! The serving giver in the walk: the master has it give one connection, which leaves at once if it is parked, and as it pauses if not.
//!
//! While it waits for that pause (`Giving`), anything may happen: a drain, a cut, the death of either side, a silence. Once the connection is
//! queued, the taker is as one that makes room.

use std::time::{Duration, Instant};

use super::super::*;
use super::world::{Budget, CALM, GIVER, Link, Step, World};
use super::{walks, walks_keyed};

/// Longest time in which the connection leaves as it pauses.
const GIVING: Duration = Duration::from_secs(2);

/// A share that is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sharing {
    pub(super) taker: usize,
    pub(super) until: Instant,
}

impl World {
    /// True if this worker can be told to give the connection to this taker. Sessions stay: their handlers hear of drains alone.
    pub(super) fn may_share(&self, worker: usize, taker: usize) -> bool {
        let is_even = self.sharing.is_none() && self.reliever.is_none();
        let serves = worker == GIVER && self.workers[GIVER].drain == Drain::No && !self.is_session;
        let is_here = self
            .copy(worker)
            .is_some_and(|copy| matches!(copy.state, State::Accepted(_) | State::Active(_) | State::Parked));
        serves && is_even && is_here && self.workers[taker].lives && !self.links[taker].is_open
    }

    /// True if this taker is none of those that a drain has.
    pub(super) fn is_aside(&self, taker: usize) -> bool {
        self.reliever == Some(taker) || self.sharing.is_some_and(|sharing| sharing.taker == taker)
    }

    /// As `Hub::share`.
    pub(super) fn shares(&mut self, taker: usize) {
        self.budget.shares -= 1;
        self.links[taker] = Link { is_open: true, ..Link::default() };
        if self.copy(GIVER).is_some_and(|copy| copy.state == State::Parked) {
            self.reliever = Some(taker);
            self.happens(GIVER, Event::Worker(WorkerEvent::Uneven));
        } else {
            self.sharing = Some(Sharing { taker, until: self.now + GIVING });
        }
    }

    /// The connection is queued: no other one leaves.
    pub(super) fn leaves_for_share(&mut self) {
        if let Some(sharing) = self.sharing.take() {
            self.reliever = Some(sharing.taker);
        }
    }

    /// As the end of `give_share`: the connection is not to leave any more.
    pub(super) fn end_share(&mut self) {
        if let Some(sharing) = self.sharing.take() {
            self.links[sharing.taker].is_shut = true;
        }
    }

    /// The giver hears that this taker is gone.
    pub(super) fn end_share_with(&mut self, taker: usize) {
        self.sharing = self.sharing.filter(|sharing| sharing.taker != taker);
    }
}

#[test]
fn every_order_of_a_share_keeps_the_invariants() {
    let one = Budget { requests: 1, shares: 1, ..CALM };
    walks("share", false, one, 1322);
    walks("share, refusal and departure", false, Budget { refusals: 1, departures: 1, ..one }, 3901);
    walks("share, death", false, Budget { deaths: 1, ..one }, 5946);
    walks("share, silence and death", false, Budget { requests: 0, silences: 1, deaths: 1, ..one }, 1707);
    walks("share, then a drain", false, Budget { takers: 1, refusals: 1, deaths: 1, ..one }, 83_096);
    walks("share, cut", false, Budget { cuts: 1, ..one }, 1990);
    walks("two shares", false, Budget { shares: 2, refusals: 1, ..one }, 3037);
    walks("share and relief", false, Budget { reliefs: 1, refusals: 1, ..one }, 4127);
}

#[test]
fn no_two_workers_could_write_under_one_key_whatever_becomes_of_a_share() {
    let one = Budget { requests: 1, shares: 1, ..CALM };
    walks_keyed("share, death", false, Budget { deaths: 1, ..one }, 9961);
    walks_keyed("share, half a record", false, Budget { halves: 1, ..one }, 3383);
    walks_keyed("share, garbled", false, Budget { garbles: 1, deaths: 1, ..one }, 14_445);
    walks_keyed("share, stop", false, Budget { requests: 0, stops: 1, ..one }, 1783);
}

#[test]
fn a_connection_in_use_leaves_as_it_pauses_and_a_drain_ends_the_wait_for_that() {
    let mut world = World::new(false, Budget { requests: 2, shares: 1, ..CALM });
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
