//! Takes connections over from a worker that drains. See [`gin_shared::handover`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use gin_shared::fault;
use gin_shared::handover::{Carried, FromGiver, FromTaker, Malformed, PACKET_MAX, Protocol, VERSION, decode, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connections::connection::Resting;
use crate::connections::handover::giver::Link;
use crate::connections::io::Held;
use crate::connections::protocol::http1::Shared;
use crate::connections::transport::RawStream;
use crate::graceful::Phase;

/// A process that is being ended closes its sockets a little before its pidfd says that it has ended. In seconds.
const DEATH: i64 = 1;
/// Such errors are told once each.
pub(crate) const RESETS: u32 = 8;

/// Takes what comes, until the giver has no more.
pub(crate) async fn take(socket: OwnedFd, shared: Arc<Shared>) {
    let outcome = match Link::new(socket) {
        Ok(link) => Taking { link, shared, giver: None, taken: 0 }.run().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(0) => {}
        Ok(taken) => tracing::info!(taken, "connections taken over"),
        Err(error) => tracing::warn!("connections cannot be taken over: {error}"),
    }
}

struct Taking {
    link: Link,
    shared: Arc<Shared>,
    giver: Option<Other>,
    taken: usize,
}

/// The giver, as a taker knows it.
struct Other {
    pidfd: OwnedFd,
    /// Readable if it has taken back what had no answer: before it died, maybe. One of an earlier version sends none.
    withdrawn: Option<OwnedFd>,
}

/// What came in one packet.
struct Batch {
    number: u64,
    connections: Vec<(Carried, RawStream, Bytes, Bytes)>,
}

impl Taking {
    async fn run(mut self) -> io::Result<usize> {
        self.link.send_all(&encode(&FromTaker::Hello { version: VERSION }, b"")).await?;
        let mut buffer = vec![0; PACKET_MAX];
        let mut resets = 0;
        loop {
            let (length, fds) = match self.link.receive(&mut buffer).await {
                Ok((0, _)) => return Ok(self.taken),
                Ok(received) => received,
                // It died with words of ours unread, which Linux tells before what it had sent itself: that comes next, then the end.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && resets < RESETS => {
                    resets += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let understood = decode::<FromGiver>(&buffer[..length]).and_then(|(message, tail)| match message {
                FromGiver::Hello { .. } => {
                    let mut fds = fds.into_iter();
                    self.giver = fds.next().map(|pidfd| Other { pidfd, withdrawn: fds.next() });
                    Ok(None)
                }
                FromGiver::Give { batch, connections } => unpack(batch, connections, fds, tail).map(Some),
            });
            match understood {
                Ok(None) => {}
                Ok(Some(batch)) => {
                    if !self.accept(batch).await? {
                        return Ok(self.taken);
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    /// Takes as many as there is room for. `false`: the giver wants them back.
    async fn accept(&mut self, batch: Batch) -> io::Result<bool> {
        let _ = fault::at("take.received");
        let all_held = self.hold(batch.connections.len());
        let took = FromTaker::Took { batch: batch.number, count: all_held.len() };
        if let Err(error) = self.link.send_all(&encode(&took, b"")).await {
            // It has shut the socket down, and has them back; or it is dead without that, and nobody else has them.
            if !self.nobody_else_has_them().await {
                tracing::debug!("connections are left to the worker that was to hand them over: {error}");
                return Ok(false);
            }
        }
        // From here on they are ours alone.
        let _ = fault::at("take.taken");
        self.taken += all_held.len();
        self.shared.life.count_taken_over(all_held.len());
        for (held, (carried, bare, ahead, session)) in all_held.into_iter().zip(batch.connections) {
            self.shared.rest(Resting::taken(carried, bare, held, ahead, session));
        }
        let _ = fault::at("take.served");
        Ok(true)
    }

    /// Room, for as many as there is. One that is to end itself has none, unless it hands on what it has.
    fn hold(&self, wanted: usize) -> Vec<Held> {
        let phase = self.shared.life.phase();
        if phase >= Phase::Cut || (phase >= Phase::Draining && !self.shared.is_giving()) {
            return Vec::new();
        }
        let hold = || {
            let slot = Arc::clone(&self.shared.slots).try_acquire_owned().ok()?;
            Some(Held { open: self.shared.life.take_over()?, slot: Some(slot) })
        };
        std::iter::repeat_with(hold).take(wanted).map_while(|held| held).collect()
    }

    async fn nobody_else_has_them(&mut self) -> bool {
        let Some(giver) = self.giver.take() else { return false };
        let asked = tokio::task::spawn_blocking(move || {
            let within = |fd: &OwnedFd, tv_sec| {
                let patience = Timespec { tv_sec, tv_nsec: 0 };
                poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&patience)) == Ok(1)
            };
            let is_dead = within(&giver.pidfd, DEATH);
            let is_withdrawn = giver.withdrawn.as_ref().is_some_and(|withdrawn| within(withdrawn, 0));
            (giver, is_dead && !is_withdrawn)
        });
        let Ok((giver, nobody)) = asked.await else { return false };
        self.giver = Some(giver);
        nobody
    }
}

/// Of more connections than descriptors, as many as came: there may be no room for more open files.
fn unpack(number: u64, all: Vec<Carried>, fds: Vec<OwnedFd>, mut tail: &[u8]) -> Result<Batch, Malformed> {
    if fds.len() > all.len() {
        return Err(Malformed::Unexpected("more descriptors than connections"));
    }
    let mut connections = Vec::new();
    for (carried, fd) in all.into_iter().zip(fds) {
        let (ahead, rest) = tail.split_at_checked(carried.ahead).ok_or(Malformed::Short)?;
        let session = match &carried.protocol {
            Protocol::Http1 { .. } => 0,
            Protocol::WebSocket { length, .. } => *length,
        };
        let (session, rest) = rest.split_at_checked(session).ok_or(Malformed::Short)?;
        tail = rest;
        let bare = RawStream::adopt(fd).map_err(|_| Malformed::Unexpected("a descriptor that is no connection"))?;
        connections.push((carried, bare, Bytes::copy_from_slice(ahead), Bytes::copy_from_slice(session)));
    }
    Ok(Batch { number, connections })
}
