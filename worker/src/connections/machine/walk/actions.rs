//! Effects of each step of the walk: they call the machine as the hub, parking, giver and taker do.

use super::super::*;
use super::world::{Copy, GIVER, LOOK, Link, Step, TAKER_WAIT, World};

impl World {
    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Request => {
                self.budget.requests -= 1;
                self.has_unread = true;
            }
            Step::ClientLeaves => {
                self.budget.departures -= 1;
                self.client_left = true;
            }
            Step::Reads(worker) => {
                self.has_unread = false;
                self.change(worker, |copy| (copy.has_read, copy.doing) = (true, Doing::Head));
                self.happens(worker, Event::Client(ClientEvent::Readable));
            }
            Step::Answers(worker) => {
                let now = self.now;
                self.change(worker, |copy| {
                    (copy.has_read, copy.served, copy.since, copy.doing) = (false, true, now, Doing::Idle);
                });
                self.writes(worker);
            }
            Step::Pauses(worker) => {
                let served = self.copy(worker).is_some_and(|copy| copy.served);
                self.happens(worker, Event::Protocol(ProtocolEvent::Paused { served }));
            }
            Step::Stuck(worker) => {
                self.budget.halves -= 1;
                self.happens(worker, Event::Protocol(ProtocolEvent::Stuck));
            }
            Step::Ends(worker) => match self.copy(worker).map(|copy| copy.state) {
                Some(State::Closing) => self.happens(worker, Event::Client(ClientEvent::Left)),
                _ => self.happens(worker, Event::Protocol(ProtocolEvent::Ended)),
            },
            Step::Wakes(worker) => {
                let event = if self.has_unread { ClientEvent::Readable } else { ClientEvent::Left };
                self.happens(worker, Event::Client(event));
            }
            Step::Hears(worker) => self.hears(worker),
            Step::Drains(worker) => {
                self.budget.drains -= u8::from(worker != GIVER);
                self.workers[worker].drain = Drain::Draining;
                self.workers[worker].is_stale = true;
                if worker == GIVER {
                    self.end_share();
                }
            }
            Step::Cut => self.cut(),
            Step::Relieves(taker) => self.relieves(taker),
            Step::Shares(taker) => self.shares(taker),
            Step::TakerComes(taker) => self.taker_comes(taker),
            Step::Sends(taker) => self.sends(taker),
            Step::TooLarge => self.happens(GIVER, Event::Giver(GiverEvent::TooLarge)),
            Step::Receives(taker) => self.receives(taker),
            Step::Commits(taker) => self.answers(taker, true),
            Step::Refuses(taker) => {
                self.budget.refusals -= u8::from(self.workers[taker].drain == Drain::No);
                self.answers(taker, false);
            }
            Step::GiverHears(taker) => match self.links[taker].to_giver.take() {
                Some(took) => self.answered(taker, took),
                None => self.withdraws(taker),
            },
            Step::Garbled(taker, is_marked) => self.garbles(taker, is_marked),
            Step::Dies(worker) => self.dies(worker),
            Step::Stops(worker) => {
                self.budget.stops -= 1;
                self.workers[worker].is_stopped = true;
            }
            Step::Continues(worker) => self.workers[worker].is_stopped = false,
            Step::Alarm(worker) => self.fires(worker),
            Step::Time => self.now = (0..3).filter_map(|worker| self.alarm(worker)).min().expect("offered with one"),
        }
        self.alone = self.is_alone().then(|| self.alone.unwrap_or(self.now));
        self.check();
    }

    fn change(&mut self, worker: usize, change: impl FnOnce(&mut Copy)) {
        if let Some(copy) = self.workers[worker].copy.as_mut() {
            change(copy);
        }
    }

    /// The machine's step, and what the next owner does first.
    pub(super) fn happens(&mut self, worker: usize, event: Event) {
        let Some(before) = self.copy(worker) else { return };
        let mut state = before.state.after(self.now, event, self.around(worker));
        let mut copy = before;
        if state == State::Resting {
            // As `Hub::arrived`: a hold that is over is forgotten, but a session's own is kept.
            let idle = Idle { hold: HandoverHold::None, has_read_ahead: copy.has_read, is_session: self.is_session };
            state = State::Resting.after(self.now, Event::Hub(HubEvent::Arrived, idle), self.around(worker));
        }
        let was_served = matches!(before.state, State::Accepted(_) | State::Active(_));
        match state {
            State::Active(_) if !was_served => (copy.served, copy.began) = (false, self.now),
            State::Queued if before.state != State::Queued => (copy.look, copy.has_looked) = (self.now + HOLD, false),
            // As `Hub::park`: others may have begun to take just now.
            State::Parked if before.state != State::Parked => {
                self.workers[worker].is_stale |= self.around(worker).has_takers;
            }
            State::Offered | State::Closing => copy.since = self.now,
            State::Accepted(_) | State::Active(_) | State::Resting | State::Parked | State::Queued => {}
            State::Received | State::HandedOver | State::Closed => {}
        }
        if worker == GIVER && state == State::Queued {
            self.leaves_for_share();
        }
        if worker == GIVER && !matches!(state, State::Queued | State::Offered) {
            self.end_relief();
        }
        copy.state = state;
        // With its keys opened a connection asks for newer ones, and at its end it says so.
        let opens = matches!(state, State::Active(_)) && !was_served;
        if opens || (state == State::Closing && before.state != State::Closing) {
            self.write(&mut copy);
        }
        self.check_step(worker, &before, &copy, event);
        let is_gone = state.owner() == Owner::Nobody;
        self.workers[worker].copy = (!is_gone).then_some(copy);
        self.is_over |= state == State::Closed && !matches!(before.state, State::Received | State::Offered);
    }

    /// As `ParkedConnections::drain` and `run`: the deadline changes, and the connection leaves if others take.
    fn hears(&mut self, worker: usize) {
        let around = self.around(worker);
        let is_graced = around.drain == Drain::Draining && !around.has_takers;
        self.workers[worker].is_stale = false;
        self.workers[worker].grace_from = is_graced.then_some(self.now);
        if self.copy(worker).is_some_and(|copy| copy.state == State::Parked) {
            self.happens(worker, Event::Worker(WorkerEvent::Changed));
        }
    }

    fn cut(&mut self) {
        self.budget.cuts -= 1;
        self.workers[GIVER].drain = Drain::Cut;
        // Its sockets are closed, and nothing is taken back.
        (1..3).for_each(|taker| self.links[taker].is_shut |= self.links[taker].is_open);
        self.is_giving = false;
        self.end_share();
        self.happens(GIVER, Event::Worker(WorkerEvent::Cut));
        // What was offered may be a taker's, if it finds the giver dead.
        self.is_over |= self.owner().is_none() && !(1..3).any(|taker| self.has_it(taker));
    }

    /// As `Hub::relieve`.
    fn relieves(&mut self, taker: usize) {
        self.budget.reliefs -= 1;
        self.links[taker] = Link { is_open: true, ..Link::default() };
        self.aside.reliever = Some(taker);
        self.happens(GIVER, Event::Worker(WorkerEvent::NoRoom));
    }

    /// The giver has nothing left for the taker that was to make room, and closes the socket to it.
    fn end_relief(&mut self) {
        if let Some(taker) = self.aside.reliever.take() {
            self.links[taker].is_shut = true;
        }
    }

    fn taker_comes(&mut self, taker: usize) {
        self.budget.takers -= 1;
        let replaced: Vec<usize> = (1..3).filter(|other| !self.is_aside(*other)).collect();
        replaced.into_iter().for_each(|other| self.links[other].is_full = true);
        self.links[taker] = Link { is_open: true, ..Link::default() };
        self.is_giving = true;
        self.workers[GIVER].is_stale = true;
    }

    fn sends(&mut self, taker: usize) {
        if !self.workers[taker].lives {
            return self.withdraws(taker);
        }
        self.happens(GIVER, Event::Giver(GiverEvent::Sent));
        let epoch = self.copy(GIVER).map_or(0, |copy| copy.epoch);
        let link = &mut self.links[taker];
        (link.to_taker, link.offers, link.epoch) = (true, true, epoch);
    }

    fn receives(&mut self, taker: usize) {
        self.links[taker].to_taker = false;
        let Some(sent) = self.workers[GIVER].copy else {
            // The giver has died, or was cut; what it sent is as it was then.
            return self.received(taker, false);
        };
        self.received(taker, sent.has_read);
    }

    fn received(&mut self, taker: usize, has_read: bool) {
        let doing = if has_read { Doing::Head } else { Doing::Idle };
        let received = Copy::new(State::Received, self.now, doing, has_read);
        self.workers[taker].copy = Some(Copy { epoch: self.links[taker].epoch, ..received });
    }

    /// The taker commits, or says that it has no room.
    fn answers(&mut self, taker: usize, takes: bool) {
        let (link, giver_lives) = (self.links[taker], self.workers[GIVER].lives);
        let fails = link.is_shut || !giver_lives;
        let is_orphan = !giver_lives && !link.is_withdrawn;
        let event = match (takes, fails) {
            (false, _) => TakerEvent::NoRoom,
            (true, false) => TakerEvent::Committed,
            (true, true) => TakerEvent::GiverLost { is_orphan },
        };
        if !fails {
            self.links[taker].to_giver = Some(takes);
        }
        self.happens(taker, Event::Taker(event));
        // Without room an orphan has nobody; after a cut neither has what was refused.
        let is_lost = self.owner().is_none() && !(1..3).any(|other| self.has_it(other));
        self.is_over |= fails && is_lost;
    }

    /// As `Giver::answered`.
    fn answered(&mut self, taker: usize, took: bool) {
        self.links[taker].offers = false;
        self.links[taker].is_full |= !took;
        let event = if took { GiverEvent::Taken } else { GiverEvent::Refused };
        self.happens(GIVER, Event::Giver(event));
        self.without_taker();
    }

    /// As `Giver::withdraw`.
    fn withdraws(&mut self, taker: usize) {
        let link = &mut self.links[taker];
        (link.is_shut, link.is_withdrawn) = (true, true);
        let offered = std::mem::take(&mut link.offers);
        self.end_share_with(taker);
        let link = &mut self.links[taker];
        match (link.to_giver.take(), offered) {
            (Some(took), _) => self.answered(taker, took),
            (None, true) => {
                self.happens(GIVER, Event::Giver(GiverEvent::TakerLost { in_doubt: false }));
                self.without_taker();
            }
            (None, false) => self.without_taker(),
        }
    }

    /// A giver that has given up queues nothing, nor does one that was to make room and has no taker for it any more.
    pub(super) fn without_taker(&mut self) {
        let is_queued = self.copy(GIVER).is_some_and(|copy| copy.state == State::Queued);
        let is_open = match self.aside.reliever {
            Some(taker) => self.is_of_use(taker),
            None => self.is_giving,
        };
        if is_queued && !is_open {
            self.end_relief();
            self.happens(GIVER, Event::Giver(GiverEvent::NoTaker));
        }
    }

    fn dies(&mut self, worker: usize) {
        self.budget.deaths -= 1;
        let owned = self.owner() == Some(worker);
        self.workers[worker].lives = false;
        if worker == GIVER {
            self.is_giving = false;
            self.aside.sharing = None;
            // What is on its way, or in a taker's hands, is the taker's: unless it was taken back.
            self.is_over |= !(1..3).any(|taker| self.has_it(taker)) && self.owner().is_none();
        } else {
            self.links[worker].to_taker = false;
            self.is_over |= owned || (!self.workers[GIVER].lives && self.owner().is_none());
        }
        self.workers[worker].copy = self.workers[worker].copy.filter(|_| worker == GIVER);
        self.is_over |= self.owner().is_none() && !(1..3).any(|taker| self.has_it(taker));
    }

    fn fires(&mut self, worker: usize) {
        let copy = self.copy(worker);
        let has_waited = worker == GIVER && self.alone.is_some_and(|since| since + TAKER_WAIT <= self.now);
        if has_waited {
            // As `Giver::give_up`.
            self.is_giving = false;
            self.alone = None;
            self.workers[GIVER].is_stale = true;
            return self.without_taker();
        }
        if worker == GIVER && self.aside.sharing.is_some_and(|sharing| sharing.until <= self.now) {
            return self.end_share();
        }
        let Some(copy) = copy else { return };
        match copy.state {
            State::Active(_) if self.is_session => self.happens(worker, Event::Deadline { has_bytes: self.has_unread }),
            State::Accepted(_) | State::Active(_) => self.happens(worker, Event::Protocol(ProtocolEvent::Idle)),
            State::Parked | State::Closing => self.happens(worker, Event::Deadline { has_bytes: self.has_unread }),
            State::Queued => {
                let has_bytes = self.has_unread || copy.has_read;
                let look = self.now + LOOK;
                self.happens(worker, Event::Giver(GiverEvent::Waited { has_bytes }));
                self.change(worker, |copy| (copy.look, copy.has_looked) = (look, true));
            }
            State::Offered => {
                let taker = (1..3).find(|taker| self.links[*taker].offers).expect("it was offered to one");
                self.budget.silences -= u8::from(self.runs(taker));
                self.withdraws(taker);
            }
            State::Resting | State::Received | State::HandedOver | State::Closed => {}
        }
    }
}
