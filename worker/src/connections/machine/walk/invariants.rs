//! The invariants of the walk, and its end when nobody makes trouble any more.

use super::super::*;
use super::world::{CALM, Copy, Step, World};

impl World {
    /// The worker that has the connection. A taker's commit makes it the owner before the giver hears of it.
    pub(super) fn owner(&self) -> Option<usize> {
        let has = |worker: &usize| {
            self.copy(*worker).is_some_and(|copy| match copy.state.owner() {
                Owner::Protocol(_) | Owner::Hub | Owner::Parking | Owner::Closer => true,
                Owner::Giver => copy.state == State::Queued || !(1..3).any(|taker| self.has_committed(taker)),
                Owner::Taker | Owner::Nobody => false,
            })
        };
        let owners: Vec<usize> = (0..3).filter(has).collect();
        assert!(owners.len() <= 1, "the connection has {} owners: {self:?}", owners.len());
        owners.first().copied()
    }

    /// True if this taker has said that it takes the connection, and the giver has not heard it.
    fn has_committed(&self, taker: usize) -> bool {
        self.links[taker].offers && self.links[taker].to_giver == Some(true)
    }

    /// True if a connection without a giver may yet be this taker's.
    pub(super) fn has_it(&self, taker: usize) -> bool {
        let link = self.links[taker];
        let is_received = self.copy(taker).is_some_and(|copy| copy.state == State::Received);
        self.workers[taker].lives && (link.to_taker || is_received) && !link.is_withdrawn
    }

    pub(super) fn check(&self) {
        let owner = self.owner();
        self.check_keys();
        if self.is_over {
            return;
        }
        let is_on_its_way = (1..3).any(|taker| self.has_it(taker));
        assert!(owner.is_some() || is_on_its_way, "the connection has no owner: {self:?}");
        // Something is always awaited that is no trouble of the world's.
        let is_awaited = self.steps().iter().any(|step| !self.is_trouble(step));
        assert!(is_awaited || self.awaits_bytes(), "nothing is awaited: {self:?}");
        for worker in 0..3 {
            let Some(copy) = self.copy(worker) else { continue };
            assert!(copy.state != State::Resting, "the hub keeps the connection: {self:?}");
            if let Owner::Protocol(HandoverHold::Since(since)) = copy.state.owner() {
                let around = Surroundings { drain: Drain::Draining, has_takers: true, shares: false };
                let paused = |served| Event::Protocol(ProtocolEvent::Paused { served });
                assert_eq!(
                    copy.state.after(since + HOLD, paused(false), around),
                    State::Resting,
                    "a hold does not end"
                );
                assert_eq!(copy.state.after(since, paused(true), around), State::Resting, "a hold does not end");
            }
        }
    }

    /// No connection is closed with bytes that nobody has answered, but by a cut, or in doubt about keys.
    pub(super) fn check_step(&self, worker: usize, before: &Copy, after: &Copy, event: Event) {
        let closes = matches!(after.state, State::Closing | State::Closed) && before.state != State::Closing;
        let is_cut = event == Event::Worker(WorkerEvent::Cut);
        let is_owner = before.state != State::Received;
        let is_in_doubt = event == Event::Giver(GiverEvent::TakerLost { in_doubt: true });
        if closes && is_owner && !is_cut && !is_in_doubt {
            let has_bytes = self.has_unread || before.has_read;
            assert!(!has_bytes, "worker {worker} closes a connection with bytes after {event:?}: {self:?}");
        }
        if after.state == State::Parked {
            assert!(!after.has_read, "bytes that were read are parked: {self:?}");
        }
        if before.state == State::Offered && after.state != State::Offered {
            let is_answer = matches!(
                event,
                Event::Giver(GiverEvent::Taken | GiverEvent::Refused | GiverEvent::TakerLost { .. })
                    | Event::Worker(WorkerEvent::Cut)
            );
            assert!(is_answer, "the giver touches what is offered after {event:?}: {self:?}");
        }
    }

    /// True if only the client can go on: a session has no deadline between two messages.
    fn awaits_bytes(&self) -> bool {
        let is_idle = |copy: Copy| matches!(copy.state, State::Active(_)) && !copy.has_read;
        self.is_session && !self.has_unread && (0..3).filter_map(|worker| self.copy(worker)).any(is_idle)
    }

    fn is_trouble(&self, step: &Step) -> bool {
        match step {
            Step::Request | Step::ClientLeaves | Step::Drains(_) | Step::TakerComes(_) | Step::Dies(_) | Step::Cut => {
                true
            }
            Step::Relieves(_) | Step::Shares(_) | Step::Stuck(_) | Step::Stops(_) | Step::Garbled(..) => true,
            Step::Refuses(taker) => self.workers[*taker].drain == Drain::No,
            Step::TooLarge => true,
            Step::Reads(_) | Step::Answers(_) | Step::Pauses(_) | Step::Ends(_) | Step::Wakes(_) | Step::Hears(_) => {
                false
            }
            Step::Sends(_) | Step::Receives(_) | Step::Commits(_) | Step::GiverHears(_) => false,
            Step::Alarm(_) | Step::Time | Step::Continues(_) => false,
        }
    }

    /// Without any more trouble, the connection comes to an end, and whatever was sent is answered.
    pub(super) fn settles(mut self) {
        self.budget = CALM;
        for _ in 0..500 {
            if self.is_over {
                return;
            }
            let mut steps = self.steps();
            steps.retain(|step| !self.is_trouble(step));
            // Others are faster than time, and nobody looks at the clock before it is time.
            let rank = |step: &Step| (*step == Step::Time, matches!(step, Step::Alarm(_)));
            let Some(step) = steps.into_iter().min_by_key(rank) else {
                assert!(self.awaits_bytes(), "the connection is stuck: {self:?}");
                return;
            };
            self.take(&step);
        }
        panic!("the connection comes to no end: {self:?}");
    }
}
