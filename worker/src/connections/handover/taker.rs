//! The taker: receives connections of a worker that drains, has no room, or has more than its share, and gives them to the hub.
//!
//! A connection is the giver's until the commit is sent; nothing is done with its copy before. If the commit cannot be sent, the
//! giver has the connection back, or is dead and nobody has it: see [`gin_shared::handover`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gin_shared::fault;
use gin_shared::handover::{Carried, FromGiver, FromTaker, Malformed, PACKET_MAX, VERSION, decode, encode};
use gin_shared::inherit::identity;
use gin_shared::process::{Pidfd, is_readable};
use gin_shared::tls::material::wipe;

use crate::connections::context::Dispatch;
use crate::connections::handover::ABILITIES;
use crate::connections::handover::carried::Received;
use crate::connections::handover::link::Link;
use crate::connections::machine::{Event, Owner, State, TakerEvent};
use crate::connections::room::{Place, Room};
use crate::connections::transport::RawStream;
use crate::graceful::Phase;

/// Limit of the wait for the giver's exit: a process that is being ended closes its sockets a little before.
const DEATH: Duration = Duration::from_secs(1);
/// Number of resets that are passed over: each error is reported once.
const RESETS: u32 = 8;

/// Takes what comes, until the giver has no more.
pub(crate) async fn take(socket: OwnedFd, hub: Arc<impl Dispatch>, room: Room) {
    let outcome = match Link::new(socket) {
        Ok(link) => Taking { link, hub, room, giver: None, keeps_room: false, taken: 0 }.run().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Taken { count: 0, .. }) => {}
        Ok(Taken { count, serves_on: true }) => {
            tracing::debug!(taken = count, "connections of a worker that serves on taken over");
        }
        Ok(Taken { count, serves_on: false }) => tracing::info!(taken = count, "connections taken over"),
        Err(error) => {
            let slot = identity().map(|identity| identity.slot.0);
            tracing::warn!(slot, pid = std::process::id(), "connections cannot be taken over: {error}");
        }
    }
}

/// True if the other end is gone. What it sent before can still be received.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Connections that were taken over.
struct Taken {
    count: usize,
    /// True if their worker serves on.
    serves_on: bool,
}

struct Taking<H> {
    link: Link,
    hub: Arc<H>,
    room: Room,
    giver: Option<GiverProcess>,
    /// True if the giver serves on: then some room is kept for new connections.
    keeps_room: bool,
    taken: usize,
}

/// The giver's process, as a taker knows it.
struct GiverProcess {
    pidfd: Pidfd,
    /// Readable if the giver has taken back what had no answer, maybe before it died. A giver of an earlier version sends none.
    withdrawn: Option<OwnedFd>,
}

/// Connections of one packet.
struct Batch {
    number: u64,
    connections: Vec<Received>,
}

impl<H: Dispatch> Taking<H> {
    async fn run(mut self) -> io::Result<Taken> {
        let hello = FromTaker::Hello { version: VERSION, takes: ABILITIES.words() };
        match self.link.send_all(&encode(&hello, b"")).await {
            // A giver that had nothing to give is done and gone. One that died may have left something.
            Err(error) if !is_gone(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut buffer = vec![0; PACKET_MAX];
        let mut resets = 0;
        loop {
            let (length, fds) = match self.link.receive(&mut buffer).await {
                Ok((0, _)) => return Ok(self.taken()),
                Ok(received) => received,
                // The giver died with packets of ours unread. Linux reports that before what it had sent: that comes next, then the end.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && resets < RESETS => {
                    resets += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let understood = decode::<FromGiver>(&buffer[..length]).and_then(|(message, tail)| match message {
                FromGiver::Hello { serves_on, .. } => {
                    self.keeps_room = serves_on;
                    let mut fds = fds.into_iter();
                    self.giver = fds.next().map(|pidfd| GiverProcess { pidfd: pidfd.into(), withdrawn: fds.next() });
                    Ok(None)
                }
                FromGiver::Give { batch, connections } => unpack(batch, connections, fds, tail).map(Some),
            });
            wipe(&mut buffer[..length]);
            match understood {
                Ok(None) => {}
                Ok(Some(batch)) => {
                    if !self.accept(batch).await? {
                        return Ok(self.taken());
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    fn taken(&self) -> Taken {
        Taken { count: self.taken, serves_on: self.keeps_room }
    }

    /// Takes as many as there is room for. Returns false if the giver has them back.
    async fn accept(&mut self, batch: Batch) -> io::Result<bool> {
        let _ = fault::at("take.received");
        let places = self.places(batch.connections.len());
        let took = FromTaker::Took { batch: batch.number, count: places.len() };
        let event = match self.link.send_all(&encode(&took, b"")).await {
            Ok(()) => TakerEvent::Committed,
            Err(error) => {
                let has_keys = batch.connections.iter().any(Received::has_keys);
                let is_orphan = self.nobody_else_has_them(has_keys).await;
                if !is_orphan {
                    tracing::debug!("connections are left to the worker that was to hand them over: {error}");
                }
                TakerEvent::GiverLost { is_orphan }
            }
        };
        let around = self.hub.drain().surroundings();
        let after = |event| State::Received.after(Instant::now(), Event::Taker(event), around);
        let (next, without_room) = (after(event), after(TakerEvent::NoRoom));
        if next.owner() == Owner::Nobody {
            return Ok(false);
        }
        let _ = fault::at("take.taken");
        self.taken += places.len();
        self.hub.drain().life.count_taken_over(places.len());
        let mut places = places.into_iter();
        for received in batch.connections {
            match places.next() {
                Some(place) => self.dispatch(next, received, place),
                // The giver keeps it.
                None => debug_assert_eq!(without_room.owner(), Owner::Nobody),
            }
        }
        let _ = fault::at("take.served");
        Ok(true)
    }

    /// Gives a connection to the hub. One that would be served with less protection than its client expects is closed.
    fn dispatch(&self, next: State, received: Received, mut place: Place) {
        let protection = received.protection();
        let Some(listener) = self.hub.facts(received.listener(), protection) else {
            let listener = received.listener();
            tracing::debug!(
                listener,
                ?protection,
                "connection closed: its listener is gone, and none here protects it as well"
            );
            place.own();
            place.tell_end();
            return;
        };
        self.room.count(&mut place, received.client(&listener));
        Arc::clone(&self.hub).dispatch(next, received.into_idle(place, listener));
    }

    /// Places for as many as there is room for. A worker that is to end itself has none, unless it hands on what it has.
    fn places(&self, wanted: usize) -> Vec<Place> {
        let drain = self.hub.drain();
        let phase = drain.life.phase();
        if phase >= Phase::Cut || (phase >= Phase::Draining && !drain.is_giving()) {
            return Vec::new();
        }
        let spare = self.room.free().saturating_sub(self.room.share());
        let most = if self.keeps_room { wanted.min(spare) } else { wanted };
        std::iter::repeat_with(|| self.room.take_over()).take(most).map_while(|place| place).collect()
    }

    /// True if the giver is dead, and had not taken back what was offered. Connections with keys must not have been used since: if the
    /// giver cannot have told that it took them back, it may have written under their keys.
    async fn nobody_else_has_them(&mut self, has_keys: bool) -> bool {
        let Some(giver) = self.giver.take_if(|giver| !has_keys || giver.withdrawn.is_some()) else { return false };
        let asked = tokio::task::spawn_blocking(move || {
            let is_dead = giver.pidfd.has_ended(DEATH);
            let is_withdrawn = giver.withdrawn.as_ref().is_some_and(|withdrawn| is_readable(withdrawn, Duration::ZERO));
            (giver, is_dead && !is_withdrawn)
        });
        let Ok((giver, nobody)) = asked.await else { return false };
        self.giver = Some(giver);
        nobody
    }
}

/// Unpacks as many connections as descriptors came: there may be no room for more open files.
fn unpack(number: u64, all: Vec<Carried>, fds: Vec<OwnedFd>, mut tail: &[u8]) -> Result<Batch, Malformed> {
    if fds.len() > all.len() {
        return Err(Malformed::Unexpected("more descriptors than connections"));
    }
    let mut connections = Vec::new();
    for (description, fd) in all.into_iter().zip(fds) {
        let raw = RawStream::adopt(fd).map_err(|_| Malformed::Unexpected("a descriptor that is no connection"))?;
        let (received, rest) = Received::unpack(description, raw, tail)?;
        tail = rest;
        connections.push(received);
    }
    Ok(Batch { number, connections })
}
