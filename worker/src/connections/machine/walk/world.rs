//! The world of the walk: a client, three workers, the packets between them, and time.

use std::time::{Duration, Instant};

use super::super::*;
use super::sharing::Aside;

const PARK_AFTER: Duration = Duration::from_millis(100);
/// The giver's looks at its queue, its wait for a replacement, its patience with a taker, in a drain and for room; the closer's.
pub(super) const LOOK: Duration = Duration::from_millis(50);
pub(super) const TAKER_WAIT: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_secs(5);
const RELIEF: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(1);
/// The longest time of which anything depends.
pub(super) const LONG: Duration = Duration::from_secs(61);
pub(super) const GIVER: usize = 0;

pub(super) fn timeouts() -> Timeouts {
    Timeouts { park_after: PARK_AFTER, ..Timeouts::default() }
}

/// No trouble at all, and no taker.
pub(super) const CALM: Budget = Budget {
    requests: 0,
    departures: 0,
    takers: 0,
    refusals: 0,
    silences: 0,
    drains: 0,
    deaths: 0,
    cuts: 0,
    reliefs: 0,
    garbles: 0,
    stops: 0,
    halves: 0,
};

/// Number of each kind of trouble that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) requests: u8,
    /// Ends of the client.
    pub(super) departures: u8,
    /// Takers that the master still sends to the giver.
    pub(super) takers: u8,
    /// Offers for which a taker has no room.
    pub(super) refusals: u8,
    /// Answers of takers that the giver does not wait for.
    pub(super) silences: u8,
    /// Takers that drain themselves.
    pub(super) drains: u8,
    pub(super) deaths: u8,
    pub(super) cuts: u8,
    /// Times when the giver has no room, and the master sends it a taker though it does not drain.
    pub(super) reliefs: u8,
    /// Times when the giver cannot read, or understand, what a taker has said, or cannot mark that it takes back its offers.
    pub(super) garbles: u8,
    /// Times when a worker is stopped (SIGSTOP).
    pub(super) stops: u8,
    /// Times when a connection that is to leave cannot be taken apart: half a record has come.
    pub(super) halves: u8,
}

/// A worker's copy of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) state: State,
    /// The moment since which it is idle, offered or closing.
    pub(super) since: Instant,
    /// The moment at which a protocol got it.
    pub(super) began: Instant,
    /// Bytes of a request were read, and not answered.
    pub(super) has_read: bool,
    /// A request was answered since a protocol has it.
    pub(super) served: bool,
    pub(super) doing: Doing,
    /// The moment of the giver's next look, and whether there was one.
    pub(super) look: Instant,
    pub(super) has_looked: bool,
    /// Number of writes under the connection's keys of which this copy knows.
    pub(super) epoch: u32,
}

impl Copy {
    pub(super) fn new(state: State, now: Instant, doing: Doing, has_read: bool) -> Self {
        Self { state, since: now, began: now, has_read, served: false, doing, look: now, has_looked: false, epoch: 0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) lives: bool,
    /// It does nothing until it is continued.
    pub(super) is_stopped: bool,
    pub(super) drain: Drain,
    /// The surroundings have changed, and parking has not heard of it.
    pub(super) is_stale: bool,
    pub(super) grace_from: Option<Instant>,
    pub(super) copy: Option<Copy>,
}

/// The socket pair between the giver and one taker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) is_open: bool,
    /// The taker has said that it has no room, or others take in its place.
    pub(super) is_full: bool,
    /// The giver hears of it no more; later sends fail.
    pub(super) is_shut: bool,
    pub(super) is_withdrawn: bool,
    pub(super) to_taker: bool,
    /// An answer is on its way: whether the taker has it.
    pub(super) to_giver: Option<bool>,
    /// The connection is offered over this link.
    pub(super) offers: bool,
    /// The number of writes of which the offered copy knows.
    pub(super) epoch: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The client sends a request.
    Request,
    ClientLeaves,
    /// A protocol reads, answers, pauses, or sees the client's end.
    Reads(usize),
    Answers(usize),
    Pauses(usize),
    /// A pause at which the connection cannot be taken apart.
    Stuck(usize),
    Ends(usize),
    /// Parking sees bytes, or the client's end.
    Wakes(usize),
    /// Parking hears that the surroundings have changed.
    Hears(usize),
    Drains(usize),
    Cut,
    /// The giver has no room, and gives the connection to this taker.
    Relieves(usize),
    /// The giver is to give one connection to this taker, and serves on.
    Shares(usize),
    /// The master sends a taker to the giver.
    TakerComes(usize),
    Sends(usize),
    TooLarge,
    Receives(usize),
    Commits(usize),
    Refuses(usize),
    /// The giver hears an answer, or the end of a taker.
    GiverHears(usize),
    /// The giver takes back what this taker was offered, and does not know what it has said; with a mark, or without.
    Garbled(usize, bool),
    Dies(usize),
    Stops(usize),
    Continues(usize),
    /// A deadline of this worker fires.
    Alarm(usize),
    Time,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) is_session: bool,
    pub(super) workers: [Worker; 3],
    pub(super) links: [Link; 3],
    /// The giver's queue is open: it has takers, or waits for one.
    pub(super) is_giving: bool,
    pub(super) alone: Option<Instant>,
    /// Takers that the giver has though it does not drain.
    pub(super) aside: Aside,
    pub(super) has_unread: bool,
    pub(super) client_left: bool,
    /// Number of writes under the connection's keys. `None`: it has no keys.
    pub(super) written: Option<u32>,
    /// The connection was closed by its owner, or lost with it.
    pub(super) is_over: bool,
    pub(super) budget: Budget,
}

impl World {
    pub(super) fn new(is_session: bool, budget: Budget) -> Self {
        let now = Instant::now();
        let drain = Drain::No;
        let worker = Worker { lives: true, is_stopped: false, drain, is_stale: false, grace_from: None, copy: None };
        let state = if is_session { State::Active(HandoverHold::None) } else { State::Accepted(HandoverHold::None) };
        let mut world = Self {
            now,
            is_session,
            workers: [worker.clone(), worker.clone(), worker],
            links: [Link::default(); 3],
            is_giving: false,
            alone: None,
            aside: Aside::default(),
            has_unread: false,
            client_left: false,
            written: None,
            is_over: false,
            budget,
        };
        let doing = if is_session { Doing::Idle } else { Doing::Fresh };
        world.workers[GIVER].copy = Some(Copy::new(state, now, doing, false));
        world
    }

    /// A world whose connection is over TLS.
    pub(super) fn keyed(is_session: bool, budget: Budget) -> Self {
        Self { written: Some(0), ..Self::new(is_session, budget) }
    }

    pub(super) fn around(&self, worker: usize) -> Surroundings {
        let has_takers = worker == GIVER && self.is_giving;
        let shares = worker == GIVER && self.aside.sharing.is_some();
        Surroundings { drain: self.workers[worker].drain, has_takers, shares }
    }

    pub(super) fn copy(&self, worker: usize) -> Option<Copy> {
        self.workers[worker].copy.filter(|_| self.workers[worker].lives)
    }

    pub(super) fn is_of_use(&self, taker: usize) -> bool {
        let link = self.links[taker];
        link.is_open && !link.is_full && !link.is_shut
    }

    /// True if a queued connection can be sent to this taker.
    pub(super) fn can_be_sent(&self, taker: usize) -> bool {
        self.is_of_use(taker) && self.aside.reliever.is_none_or(|reliever| reliever == taker)
    }

    /// True if the giver's queue in a drain is open, and nobody takes what is in it.
    pub(super) fn is_alone(&self) -> bool {
        self.is_giving && !(1..3).any(|taker| self.is_of_use(taker) && !self.is_aside(taker))
    }

    /// The giver's patience with a taker that owes an answer.
    fn stall(&self) -> Duration {
        if self.aside.reliever.is_some() { RELIEF } else { STALL }
    }

    /// The next deadline of a worker that runs.
    pub(super) fn alarm(&self, worker: usize) -> Option<Instant> {
        if self.workers[worker].is_stopped {
            return None;
        }
        let timeouts = timeouts();
        let own = self.copy(worker).and_then(|copy| match copy.state {
            State::Accepted(_) | State::Active(_) if copy.has_read => None,
            // Its handler speaks of the end when nobody takes it.
            State::Active(_) if self.is_session => {
                let is_left = self.workers[worker].drain == Drain::Draining && !self.around(worker).has_takers;
                is_left.then(|| copy.since.max(copy.began) + timeouts.idle_grace)
            }
            State::Accepted(_) | State::Active(_) => Some(copy.since.max(copy.began) + PARK_AFTER),
            State::Parked => Some(parked_until(copy.doing, copy.since, &timeouts, self.workers[worker].grace_from)),
            State::Queued => Some(copy.look),
            State::Offered => Some(copy.since + self.stall()),
            State::Closing => Some(copy.since + LINGER),
            State::Resting | State::Received | State::HandedOver | State::Closed => None,
        });
        let is_giver = worker == GIVER && self.workers[GIVER].lives;
        let wait = self.alone.filter(|_| is_giver).map(|since| since + TAKER_WAIT);
        let share = self.aside.sharing.filter(|_| is_giver).map(|sharing| sharing.until);
        [own, wait, share].into_iter().flatten().min()
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        // Copies that are still on their way are all that is left.
        let b = if self.is_over { CALM } else { self.budget };
        let mut add = |is_possible: bool, step: Step| steps.extend(is_possible.then_some(step));
        let is_closing = self.is_over || (0..3).any(|w| self.copy(w).is_some_and(|c| c.state == State::Closing));
        add(b.requests > 0 && !self.has_unread && !self.client_left && !is_closing, Step::Request);
        add(b.departures > 0 && !self.is_over, Step::ClientLeaves);
        let alarms: Vec<Instant> = (0..3).filter_map(|worker| self.alarm(worker)).collect();
        for worker in 0..3 {
            let live = &self.workers[worker];
            if !live.lives {
                continue;
            }
            add(b.deaths > 0, Step::Dies(worker));
            add(b.stops > 0 && !live.is_stopped, Step::Stops(worker));
            if live.is_stopped {
                add(true, Step::Continues(worker));
                continue;
            }
            let may_drain = worker == GIVER || b.drains > 0;
            add(live.drain == Drain::No && may_drain, Step::Drains(worker));
            add(self.alarm(worker).is_some_and(|at| at <= self.now) && self.may_fire(worker), Step::Alarm(worker));
            add(live.is_stale, Step::Hears(worker));
            let Some(copy) = live.copy else { continue };
            (1..3).for_each(|taker| add(self.may_share(worker, taker), Step::Shares(taker)));
            match copy.state {
                State::Accepted(hold) | State::Active(hold) => {
                    add(self.has_unread && !copy.has_read, Step::Reads(worker));
                    add(copy.has_read, Step::Answers(worker));
                    let may_leave = self.around(worker).others_take() && hold.is_over(copy.served, self.now);
                    add(may_leave, Step::Pauses(worker));
                    add(may_leave && b.halves > 0, Step::Stuck(worker));
                    add(self.client_left && !self.has_unread && !copy.has_read, Step::Ends(worker));
                }
                State::Parked => {
                    add(self.has_unread || self.client_left, Step::Wakes(worker));
                    let may_relieve = b.reliefs > 0 && worker == GIVER && live.drain == Drain::No;
                    let fits = |taker: usize| may_relieve && self.workers[taker].lives && !self.links[taker].is_open;
                    (1..3).for_each(|taker| add(fits(taker), Step::Relieves(taker)));
                }
                State::Queued => {
                    add(copy.has_read, Step::TooLarge);
                    (1..3).for_each(|taker| add(self.can_be_sent(taker), Step::Sends(taker)));
                }
                State::Received => {
                    add(live.drain == Drain::No, Step::Commits(worker));
                    add(live.drain != Drain::No || b.refusals > 0, Step::Refuses(worker));
                }
                State::Closing => add(self.client_left, Step::Ends(worker)),
                State::Resting | State::Offered | State::HandedOver | State::Closed => {}
            }
        }
        for taker in 1..3 {
            let (link, lives) = (self.links[taker], self.workers[taker].lives);
            add(link.to_taker && self.runs(taker), Step::Receives(taker));
            if self.runs(GIVER) {
                let may_garble = b.garbles > 0 && link.offers && !link.is_shut;
                add(may_garble, Step::Garbled(taker, true));
                add(may_garble && self.is_keyed(), Step::Garbled(taker, false));
                let is_cut = self.workers[GIVER].drain == Drain::Cut;
                add(b.takers > 0 && !link.is_open && lives && !is_cut, Step::TakerComes(taker));
                let ended = !lives && !link.is_shut;
                add(link.is_open && !link.is_shut && (link.to_giver.is_some() || ended), Step::GiverHears(taker));
            }
        }
        add(b.cuts > 0 && self.workers[GIVER].drain == Drain::Draining && self.runs(GIVER), Step::Cut);
        // Timers are prompt, and reading is faster than any of them.
        let is_overdue = alarms.iter().any(|at| *at <= self.now);
        add(!is_overdue && !alarms.is_empty() && !self.is_busy(), Step::Time);
        steps
    }

    /// True if this worker is neither dead nor stopped.
    pub(super) fn runs(&self, worker: usize) -> bool {
        self.workers[worker].lives && !self.workers[worker].is_stopped
    }

    /// True if somebody has something to do that takes no time.
    fn is_busy(&self) -> bool {
        let hears = (0..3).any(|worker| self.runs(worker) && self.workers[worker].is_stale);
        hears
            || (0..3).filter(|worker| self.runs(*worker)).filter_map(|worker| self.copy(worker)).any(|copy| match copy
                .state
            {
                State::Accepted(_) | State::Active(_) => self.has_unread || copy.has_read || self.client_left,
                State::Parked => self.has_unread || self.client_left,
                State::Received => true,
                State::Closing => self.client_left,
                // A giver may have no room on its socket for a while, not for good.
                State::Queued => copy.has_looked && (1..3).any(|taker| self.can_be_sent(taker)),
                State::Resting | State::Offered | State::HandedOver | State::Closed => false,
            })
    }

    /// An answer that is late is a silence, which the budget limits.
    pub(super) fn may_fire(&self, worker: usize) -> bool {
        let stalls =
            self.copy(worker).is_some_and(|copy| copy.state == State::Offered && self.now >= copy.since + self.stall());
        let answers = (1..3).any(|taker| self.links[taker].offers && self.runs(taker));
        !stalls || !answers || self.budget.silences > 0
    }
}
