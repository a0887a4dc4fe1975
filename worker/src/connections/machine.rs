//! The life of one connection, without I/O or clock: a state, an event, and the state that follows.
//!
//! | state | means | owner | left by |
//! |---|---|---|---|
//! | Accepted | new, or nothing has come yet; its first bytes are awaited | protocol | its first bytes, a pause, its deadline |
//! | Active | a protocol serves it, or the handler to which it was upgraded | protocol | a pause, its end, its deadline |
//! | Resting | its protocol has given it back; the hub decides at once | hub | `Arrived` |
//! | Parked | idle: a descriptor in one epoll, and some counters | parking | bytes, the client's end, its deadline, takers that come, a worker without room |
//! | Queued | waits for a taker with room that knows its kind | giver | sent, served after all, or no taker is left |
//! | Offered | sent to a taker, without an answer; nobody touches it | giver | the commit, a refusal, the loss of the taker, doubt |
//! | Received | offered to this worker; nobody touches it | taker | the commit, or the loss of the giver |
//! | Handed over | another worker has it; the copy here is dropped | nobody | |
//! | Closing | our side is closed; the client's end is awaited for 1 s | closer | the client's end, its deadline |
//! | Closed | the socket is closed | nobody | |
//!
//! ```text
//! Accepted -> Active -> Resting -> Parked -> Closing -> Closed        without takers
//!                       Resting -> Queued -> Offered -> Handed over   with takers
//! Received -> Resting                        taken over from another worker
//! Parked -> Active, Queued -> Active         bytes came, and no taker had room
//! Parked -> Resting                          takers came
//! Parked -> Queued                           this worker has no room, or more than its share, and others take
//! Offered -> Queued, Queued -> Resting       this taker does not take it; none is left
//! Offered -> Closed                          this taker may have it, and its keys must not be used twice
//! ```
//!
//! These invariants hold after each event (`walk` tries all orders, with the death of either side in between):
//!
//! 1. A connection has exactly one owner; between the taker's commit and the giver's hearing of it, the taker.
//! 2. Bytes that came are answered, unless a cut, doubt or the owner's death comes first. No other connection is closed with bytes in it.
//! 3. Something is always awaited: a deadline, bytes, or an answer.
//! 4. Nothing is lost when a taker dies before its commit. When the giver dies after it, the taker keeps the connection.
//! 5. A hold ends: by an answered request, or after [`HOLD`].
//! 6. Never two processes that could write under one key: not at once, and not one after the other from an old copy. In doubt the
//!    connection is closed.
//!
//! The hub, parking, giver, taker and the protocols perform it: they say what happened to a connection in which state, and give
//! the connection to the owner of the next one. Not here: how long a client may take for a request or an answer, which only
//! its protocol knows (`activity`).

// Each case is named: a new one must be looked at wherever it is handled.
#![warn(clippy::wildcard_enum_match_arm)]

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use std::time::Instant;

use gin_shared::handover::Doing;

use crate::config::Timeouts;

mod event;
mod hold;

pub(crate) use event::{ClientEvent, Event, GiverEvent, HubEvent, Idle, ProtocolEvent, TakerEvent, WorkerEvent};
pub(crate) use hold::{HOLD, HandoverHold};

/// State of a connection in one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Accepted(HandoverHold),
    Active(HandoverHold),
    Resting,
    Parked,
    Queued,
    Offered,
    Received,
    HandedOver,
    Closing,
    Closed,
}

/// The part of a worker that has a connection in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A protocol, or the handler of an upgraded connection.
    Protocol(HandoverHold),
    Hub,
    Parking,
    Giver,
    Taker,
    Closer,
    /// Another worker, or nobody at all: what is left here is dropped.
    Nobody,
}

/// The worker around a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Surroundings {
    pub(crate) drain: Drain,
    /// True if other workers take all connections that pause. A worker without room that serves on gives some away, and no others:
    /// for it this is false.
    pub(crate) has_takers: bool,
    /// True if this worker serves on, and other workers take connections that pause until they have their share.
    pub(crate) shares: bool,
}

/// Progress of a worker's drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Drain {
    No,
    Draining,
    Cut,
}

impl Surroundings {
    /// A worker that does not drain.
    pub(crate) const SERVING: Self = Self { drain: Drain::No, has_takers: false, shares: false };

    /// True if a connection that pauses leaves for another worker.
    fn others_take(self) -> bool {
        match self.drain {
            Drain::No => self.shares,
            Drain::Draining | Drain::Cut => self.has_takers,
        }
    }
}

impl State {
    /// The owner of a connection in this state.
    pub(crate) fn owner(self) -> Owner {
        match self {
            Self::Accepted(hold) | Self::Active(hold) => Owner::Protocol(hold),
            Self::Resting => Owner::Hub,
            Self::Parked => Owner::Parking,
            Self::Queued | Self::Offered => Owner::Giver,
            Self::Received => Owner::Taker,
            Self::Closing => Owner::Closer,
            Self::HandedOver | Self::Closed => Owner::Nobody,
        }
    }

    /// The state that follows. An event that a state does not know leaves it as it is.
    pub(crate) fn after(self, now: Instant, event: Event, around: Surroundings) -> Self {
        match self {
            Self::Accepted(hold) | Self::Active(hold) => self.served(now, hold, event, around),
            Self::Resting => Self::rested(event, around),
            Self::Parked => Self::parked(event, around),
            Self::Queued => Self::queued(now, event),
            Self::Offered => Self::offered(event),
            Self::Received => Self::received(event),
            Self::Closing => Self::closing(event),
            Self::HandedOver | Self::Closed => self,
        }
    }

    /// A protocol has the connection: what the client does is its business.
    fn served(self, now: Instant, hold: HandoverHold, event: Event, around: Surroundings) -> Self {
        match event {
            Event::Client(ClientEvent::Readable) => Self::Active(hold),
            Event::Protocol(ProtocolEvent::Paused { served }) => {
                let leaves = around.others_take() && hold.is_over(served, now);
                if leaves { Self::Resting } else { self }
            }
            // It is tried again when more has come, or has gone out.
            Event::Protocol(ProtocolEvent::Stuck) => Self::Active(HandoverHold::Since(now)),
            Event::Protocol(ProtocolEvent::Idle) => Self::Resting,
            Event::Protocol(ProtocolEvent::Ended) | Event::Worker(WorkerEvent::Cut) => Self::Closed,
            Event::Deadline { has_bytes: true } => self,
            Event::Deadline { has_bytes: false } => Self::Closing,
            // The protocol reads the end, and hears of a drain at its next pause. Room is made by idle connections alone.
            Event::Client(ClientEvent::Left) => self,
            Event::Worker(WorkerEvent::Changed | WorkerEvent::NoRoom | WorkerEvent::Uneven) => self,
            // It is neither at the hub nor between two workers.
            Event::Hub(..) | Event::Giver(_) | Event::Taker(_) => self,
        }
    }

    /// The hub decides, at once.
    fn rested(event: Event, around: Surroundings) -> Self {
        match event {
            Event::Worker(WorkerEvent::Cut) => Self::Closed,
            Event::Hub(..) if around.drain == Drain::Cut => Self::Closed,
            Event::Hub(HubEvent::Arrived, idle) if idle.hold == HandoverHold::None && around.others_take() => {
                Self::Queued
            }
            Event::Hub(HubEvent::Arrived | HubEvent::QueueClosed, idle) => {
                // Only a descriptor can be parked.
                let is_bare = !idle.has_read_ahead && !idle.is_session;
                if is_bare { Self::Parked } else { Self::Active(idle.hold) }
            }
            Event::Hub(HubEvent::CannotPark, idle) => Self::Active(idle.hold),
            // Nobody watches it in this moment.
            Event::Client(_) | Event::Deadline { .. } => Self::Resting,
            Event::Worker(WorkerEvent::Changed | WorkerEvent::NoRoom | WorkerEvent::Uneven) => Self::Resting,
            Event::Protocol(_) | Event::Giver(_) | Event::Taker(_) => Self::Resting,
        }
    }

    fn parked(event: Event, around: Surroundings) -> Self {
        match event {
            Event::Client(ClientEvent::Readable | ClientEvent::Left) => Self::Active(HandoverHold::None),
            Event::Deadline { has_bytes: true } => Self::Active(HandoverHold::None),
            Event::Deadline { has_bytes: false } => Self::Closing,
            Event::Worker(WorkerEvent::Cut) => Self::Closed,
            Event::Worker(WorkerEvent::Changed) => {
                let leaves = around.drain != Drain::No && around.has_takers;
                if leaves { Self::Resting } else { Self::Parked }
            }
            // A worker that drains needs no room, and gives away everything.
            Event::Worker(WorkerEvent::NoRoom | WorkerEvent::Uneven) => {
                if around.drain == Drain::No {
                    Self::Queued
                } else {
                    Self::Parked
                }
            }
            Event::Protocol(_) | Event::Hub(..) | Event::Giver(_) | Event::Taker(_) => Self::Parked,
        }
    }

    fn queued(now: Instant, event: Event) -> Self {
        match event {
            Event::Giver(GiverEvent::Sent) => Self::Offered,
            Event::Giver(GiverEvent::TooLarge | GiverEvent::Waited { has_bytes: true }) => {
                Self::Active(HandoverHold::Since(now))
            }
            // Nobody can take it, however long it waits.
            Event::Giver(GiverEvent::Unfit) => Self::Active(HandoverHold::Always),
            Event::Giver(GiverEvent::Waited { has_bytes: false }) => Self::Queued,
            Event::Giver(GiverEvent::NoTaker) => Self::Resting,
            Event::Worker(WorkerEvent::Cut) => Self::Closed,
            // Answers are about what was sent. The giver hears of the worker's takers itself, and looks at the client now and then.
            Event::Giver(GiverEvent::Taken | GiverEvent::Refused | GiverEvent::TakerLost { .. }) => Self::Queued,
            Event::Client(_) | Event::Deadline { .. } => Self::Queued,
            Event::Worker(WorkerEvent::Changed | WorkerEvent::NoRoom | WorkerEvent::Uneven) => Self::Queued,
            Event::Protocol(_) | Event::Hub(..) | Event::Taker(_) => Self::Queued,
        }
    }

    fn offered(event: Event) -> Self {
        match event {
            Event::Giver(GiverEvent::Taken) => Self::HandedOver,
            Event::Giver(GiverEvent::Refused | GiverEvent::TakerLost { in_doubt: false }) => Self::Queued,
            // The taker may write under its keys. A copy that writes under them, too, would give them away.
            Event::Giver(GiverEvent::TakerLost { in_doubt: true }) => Self::Closed,
            Event::Worker(WorkerEvent::Cut) => Self::Closed,
            // It may be the taker's already: only an answer, or the end of the socket to the taker, says more.
            Event::Giver(GiverEvent::Sent | GiverEvent::TooLarge | GiverEvent::Unfit) => Self::Offered,
            Event::Giver(GiverEvent::Waited { .. } | GiverEvent::NoTaker) => Self::Offered,
            Event::Client(_) | Event::Deadline { .. } => Self::Offered,
            Event::Worker(WorkerEvent::Changed | WorkerEvent::NoRoom | WorkerEvent::Uneven) => Self::Offered,
            Event::Protocol(_) | Event::Hub(..) | Event::Taker(_) => Self::Offered,
        }
    }

    fn received(event: Event) -> Self {
        match event {
            Event::Taker(TakerEvent::Committed | TakerEvent::GiverLost { is_orphan: true }) => Self::Resting,
            Event::Taker(TakerEvent::NoRoom | TakerEvent::GiverLost { is_orphan: false }) => Self::Closed,
            Event::Worker(WorkerEvent::Cut) => Self::Closed,
            // It is the giver's until the commit.
            Event::Client(_) | Event::Deadline { .. } => Self::Received,
            Event::Worker(WorkerEvent::Changed | WorkerEvent::NoRoom | WorkerEvent::Uneven) => Self::Received,
            Event::Protocol(_) | Event::Hub(..) | Event::Giver(_) => Self::Received,
        }
    }

    fn closing(event: Event) -> Self {
        match event {
            Event::Client(ClientEvent::Left) | Event::Deadline { .. } => Self::Closed,
            Event::Protocol(ProtocolEvent::Ended) | Event::Worker(WorkerEvent::Cut) => Self::Closed,
            // What still comes is read and thrown away: our side is closed.
            Event::Client(ClientEvent::Readable) => Self::Closing,
            Event::Worker(WorkerEvent::Changed | WorkerEvent::NoRoom | WorkerEvent::Uneven) => Self::Closing,
            Event::Protocol(ProtocolEvent::Paused { .. } | ProtocolEvent::Stuck | ProtocolEvent::Idle) => Self::Closing,
            Event::Hub(..) | Event::Giver(_) | Event::Taker(_) => Self::Closing,
        }
    }
}

/// The deadline of a parked connection: `timeouts.read` for the first request, `timeouts.idle` for a further one. In a drain
/// without takers, which began at `grace_from`, it is `timeouts.idle_grace`, if that ends earlier.
pub(crate) fn parked_until(doing: Doing, since: Instant, timeouts: &Timeouts, grace_from: Option<Instant>) -> Instant {
    let patience = match doing {
        Doing::Fresh | Doing::Head => timeouts.read,
        Doing::Idle => timeouts.idle,
    };
    let at = since + patience;
    grace_from.map_or(at, |from| at.min(from.max(since) + timeouts.idle_grace))
}
