//! Connections of a worker that others take, or that it takes: the orders for that, and what came of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use gin_shared::channel::{self, DrainReason, Fates, FromMaster};
use gin_shared::descriptors::is_temporary;
use gin_shared::generation::WorkerId;
use gin_shared::trace_context::TraceContext;
use nix::sys::signal::Signal;

use super::Process;
use crate::balance::{Load, Pause};
use crate::moment::Moment;
use crate::os::channel::between_workers;
use crate::os::time;

/// Shortest time between two answers to a worker without room: each is work for other workers, too.
const RELIEF_PAUSE: Duration = Duration::from_millis(50);

/// The drain of a worker, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// True if the worker was told to finish.
    pub(super) sent: Cell<bool>,
    /// The workers that its connections go to; unknown if an earlier master told it to finish.
    takers: RefCell<Option<Vec<WorkerId>>>,
    /// The workers that it has tried, and that did not take its connections.
    tried: RefCell<Vec<WorkerId>>,
    /// True if the sockets to its takers could not be made or sent for now.
    is_short: Cell<bool>,
    /// The course of its connections since then.
    pub(super) fates: Cell<Option<Fates>>,
}

/// Room of a worker for connections, as it says. A successor of this master is told anew.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// True if there is none.
    is_full: Cell<bool>,
    /// The moment when it was last told of workers with room.
    relieved: Cell<Option<Moment>>,
    /// Number of its connections, as it has told last.
    load: Cell<Option<u32>>,
    /// The time for which its load is left alone, because it gives or takes.
    pause: Cell<Pause>,
    /// Number of workers that serve, as it was told last.
    peers: Cell<Option<u32>>,
}

// Getters.
impl Process {
    /// True if it drains and none of its takers satisfies `takes` any more.
    pub fn lacks_takers(&self, takes: impl Fn(&WorkerId) -> bool) -> bool {
        let takers = self.drain.takers.borrow();
        self.drain.sent.get() && self.hands_over() && !takers.as_ref().is_some_and(|takers| takers.iter().any(takes))
    }

    /// True if it drains, and has tried this worker, which did not take its connections.
    #[must_use]
    pub fn has_tried(&self, taker: WorkerId) -> bool {
        self.drain.tried.borrow().contains(&taker)
    }

    /// True if it drains without takers because no socket to them could be made or sent: that is to be tried again.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.drain.is_short.get()
    }

    /// True if it can be given connections: it speaks of that, and was not told to finish.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.hands_over() && !self.drain.sent.get()
    }

    /// True if it has said that it has no room for connections.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room.is_full.get()
    }

    /// Its load; `None` if it has told none, or was told to finish.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        let connections = self.room.load.get().filter(|_| self.takes())?;
        Some(Load {
            worker: self.id,
            connections,
            has_room: !self.is_full(),
            busy_until: self.room.pause.get().busy_until(),
        })
    }

    /// True if it has received all that it was sent. What was sent with descriptors keeps them open until then.
    pub(super) fn reads(&self) -> bool {
        self.sockets.channel.get().is_some_and(|(_, channel)| channel.is_read().unwrap_or(false))
    }

    /// True if it knows how to share its load.
    fn shares(&self) -> bool {
        self.version.get().is_some_and(|version| version >= channel::SHARES)
    }

    /// True if it knows how to hand connections over, and to take them.
    fn hands_over(&self) -> bool {
        self.version.get().is_some_and(|version| version >= channel::HANDOVER)
    }
}

// Orders.
impl Process {
    /// Tells it to finish: over the channel, which can say why, or by signal if nobody has answered there yet.
    ///
    /// It is told once, because to many servers a second signal means that they are to hurry. Its connections go to
    /// `takers`, if they can. `at_terminal`: a person waits for its end. `trace`: the span that its drain belongs to.
    pub fn drain(&self, reason: DrainReason, at_terminal: bool, trace: Option<TraceContext>, takers: &[Rc<Self>]) {
        if self.drain.sent.replace(true) {
            return;
        }
        self.withdraw_offer();
        let traceparent = trace.map(|trace| String::from_utf8_lossy(&trace.text()).into_owned());
        let sent = self.send_drain(&FromMaster::Drain { reason, at_terminal, traceparent }, takers);
        if sent && self.version.get().is_some() {
            // A stopped process hears it, too.
            self.check(self.child.signal(Signal::SIGCONT));
        } else {
            self.signal(self.stop_signal);
        }
    }

    /// Notes that it finishes though nobody here has told it to. Its connections go to `takers`, if they can.
    pub fn leave(&self, takers: &[Rc<Self>]) {
        if !self.drain.sent.replace(true) {
            self.withdraw_offer();
            self.redirect(takers);
        }
    }

    /// Gives a draining worker other takers.
    pub fn redirect(&self, takers: &[Rc<Self>]) {
        if !takers.is_empty() {
            let message = FromMaster::Drain { reason: DrainReason::Upgrade, at_terminal: false, traceparent: None };
            self.send_drain(&message, takers);
        }
    }

    /// Tells it that it has no room and these may have some: it gives them idle connections. Without any of them it is told that nobody
    /// has room. A worker that does not read its orders is told nothing more, and others give it nothing: descriptors would gather in its
    /// queue, and at the other ends of these sockets.
    pub fn relieve(&self, others: &[Rc<Self>]) {
        let now = time::now();
        let is_early = self.room.relieved.get().is_some_and(|last| now.since(last) < RELIEF_PAUSE);
        // A worker that was told to finish needs no room.
        if is_early
            || self.drain.sent.get()
            || !self.reads()
            || self.version.get().is_none_or(|version| version < channel::ROOM)
        {
            return;
        }
        self.room.relieved.set(Some(now));
        let readers = others.iter().filter(|other| other.reads());
        let sockets: Vec<OwnedFd> = readers.filter_map(|other| other.take().ok().flatten()).collect();
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        tracing::debug!(worker = %self.id, pid = self.pid(), others = fds.len(), "the worker has no room for connections");
        self.send(&FromMaster::Relieve, &fds);
    }

    /// Has it give so many connections to these workers in equal parts, while it serves on. Neither it nor they are asked again for a
    /// while: see [`Pause`]. As for a relief, a worker that does not read its orders neither gives nor takes.
    pub fn share(&self, count: u32, takers: &[Rc<Self>]) {
        if self.drain.sent.get() || !self.shares() || !self.reads() {
            return;
        }
        let (now, wanted) = (time::now(), takers.len());
        let take = |taker: &Rc<Self>| {
            let socket = taker.reads().then(|| taker.take().ok().flatten())??;
            taker.change_pause(|pause| pause.takes(now));
            Some(socket)
        };
        let sockets: Vec<OwnedFd> = takers.iter().filter_map(take).collect();
        let count = part(count, sockets.len(), wanted);
        if count == 0 {
            return;
        }
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        tracing::debug!(worker = %self.id, pid = self.pid(), count, others = fds.len(), "the worker shares its connections");
        self.change_pause(|pause| pause.gives(now));
        self.send(&FromMaster::Share { count }, &fds);
    }

    /// Tells it how many workers serve, if it has not heard that yet. One that does not read is told another time.
    pub fn tell_peers(&self, workers: u32) {
        if self.room.peers.get() == Some(workers) || self.drain.sent.get() || !self.shares() || !self.reads() {
            return;
        }
        if self.send(&FromMaster::Peers { workers }, &[]) {
            let before = self.room.peers.replace(Some(workers));
            // Alone it tells nothing: what it has told before counts no more, and it begins anew afterwards.
            if workers <= 1 || before.is_some_and(|before| before <= 1) {
                self.room.load.set(None);
            }
            self.change_pause(Pause::has_others);
        }
    }

    fn send_drain(&self, drain: &FromMaster, takers: &[Rc<Self>]) -> bool {
        let (mut sockets, mut is_short): (Vec<(WorkerId, OwnedFd)>, bool) = (Vec::new(), false);
        for taker in takers.iter().filter(|_| self.hands_over()) {
            match taker.take() {
                Ok(socket) => sockets.extend(socket.map(|socket| (taker.id, socket))),
                Err(error) => {
                    is_short = true;
                    // It does not read its channel: others come first.
                    self.set_aside((error.kind() == io::ErrorKind::WouldBlock).then_some(taker.id));
                }
            }
        }
        is_short &= sockets.is_empty();
        let sent = {
            let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
            self.try_send(drain, &fds)
        };
        let is_sent = match sent {
            // Too many descriptors are on their way: it hears of its takers later.
            Err(error) if !sockets.is_empty() && is_temporary(&error) => {
                (sockets, is_short) = (Vec::new(), true);
                self.send(drain, &[])
            }
            sent => sent.is_ok(),
        };
        if self.drain.is_short.replace(is_short) && !sockets.is_empty() {
            tracing::info!(worker = %self.id, pid = self.pid(), "the worker's connections can be handed over now");
        }
        let takers = if is_sent { sockets.iter().map(|(id, _)| *id).collect() } else { Vec::new() };
        *self.drain.takers.borrow_mut() = Some(takers);
        is_sent
    }

    /// Tells it to take connections; gives the other end of the socket that they come over, if it takes any.
    ///
    /// # Errors
    /// The errors of `socketpair(2)`, which are told here, and those of a send that may succeed later.
    fn take(&self) -> io::Result<Option<OwnedFd>> {
        if !self.takes() {
            return Ok(None);
        }
        let (ours, theirs) = between_workers().inspect_err(|error| {
            tracing::warn!(worker = %self.id, pid = self.pid(), "no connections can be handed to the worker: {error}");
        })?;
        match self.try_send(&FromMaster::Take, &[theirs.as_fd()]) {
            Ok(()) => Ok(Some(ours)),
            Err(error) if is_temporary(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Notes that none of the workers that were to take its connections does. From now on it lacks takers.
    pub fn set_takers_aside(&self) {
        let named = self.drain.takers.borrow_mut().replace(Vec::new());
        self.set_aside(named.into_iter().flatten());
    }

    fn set_aside(&self, takers: impl IntoIterator<Item = WorkerId>) {
        let mut tried = self.drain.tried.borrow_mut();
        tried.extend(takers);
        tried.sort_unstable();
        tried.dedup();
    }

    /// Notes the number of its connections, and how many others have taken, if that is the end of a share.
    pub fn set_load(&self, connections: u32, given: Option<u32>) {
        self.room.load.set(Some(connections));
        self.change_pause(|pause| match given {
            Some(given) => pause.has_given(time::now(), given, connections),
            None => pause.has(connections),
        });
    }

    fn change_pause(&self, change: impl FnOnce(&mut Pause)) {
        let mut pause = self.room.pause.get();
        change(&mut pause);
        self.room.pause.set(pause);
    }

    /// Notes whether it has room for connections.
    pub fn set_full(&self, is_full: bool) {
        self.room.is_full.set(is_full);
    }
}

/// The part of `count` that falls to so many of all takers.
fn part(count: u32, some: usize, all: usize) -> u32 {
    let part = count as usize * some / all.max(1);
    u32::try_from(part).unwrap_or(count)
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn takers_that_are_left_get_no_more_than_their_own_part() {
        assert_eq!([3, 2, 0].map(|some| part(255, some, 3)), [255, 170, 0]);
        assert_eq!(part(7, 0, 0), 0);
    }
}
