//! A worker that has a process, as the master knows it: its sockets, what it last said, and the orders that it was sent.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use gin_shared::channel::{self, DrainReason, Fates, FromMaster};
use gin_shared::descriptors::is_temporary;
use gin_shared::generation::WorkerId;
use gin_shared::process::ProcessId;
use nix::sys::signal::Signal;

use crate::descriptor_name;
use crate::inbox::reading::Reader;
use crate::moment::Moment;
use crate::os::channel::{Channel, ChannelListener, between_workers};
use crate::os::child::Child;
use crate::os::notify::NotifySocket;
use crate::os::private::PrivateListener;
use crate::os::time;
use crate::os::words::LastWords;
use crate::state::WorkerRecord;

/// Pause before a kill that failed is tried again, and the number of tries.
const RETRY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 60;
/// Shortest time between two answers to a worker without room: each is work for other workers, too.
const RELIEF_PAUSE: Duration = Duration::from_millis(50);

/// A worker that has a process.
#[derive(Debug)]
pub struct Process {
    /// The worker.
    pub id: WorkerId,
    /// Its process, as a successor will know it.
    pub identity: ProcessId,
    /// The process itself.
    pub child: Child,
    /// The sockets between it and the master.
    pub sockets: Sockets,
    /// Its output, if stderr is a file.
    pub output: Option<LastWords>,
    /// Its last STATUS=.
    pub said: RefCell<Option<String>>,
    /// The version that it speaks on its channel, once it has said so.
    pub version: Cell<Option<u32>>,
    /// The place at which the task that watches it is asked to read.
    pub reader: Reader,
    stop_signal: Signal,
    drain: Drain,
    room: Room,
}

/// The sockets between a worker and the master.
#[derive(Debug)]
pub struct Sockets {
    /// The socket at which the worker speaks `sd_notify(3)`.
    pub notify: NotifySocket,
    /// Carries orders to workers built on gin-worker.
    pub channel: Option<(ChannelListener, Channel)>,
    /// The listener that only the master and its operators ask.
    pub private: Option<PrivateListener>,
}

/// The drain of a worker, as far as it has come.
#[derive(Debug, Default)]
struct Drain {
    /// True if the worker was told to finish.
    sent: Cell<bool>,
    /// The workers that its connections go to; unknown if an earlier master told it to finish.
    takers: RefCell<Option<Vec<WorkerId>>>,
    /// The workers that it has tried, and that did not take its connections.
    tried: RefCell<Vec<WorkerId>>,
    /// True if the sockets to its takers could not be made or sent for now.
    is_short: Cell<bool>,
    /// The course of its connections since then.
    fates: Cell<Option<Fates>>,
}

/// Room of a worker for connections, as it says. A successor of this master is told anew.
#[derive(Debug, Default)]
struct Room {
    /// True if there is none.
    is_full: Cell<bool>,
    /// The moment when it was last told of workers with room.
    relieved: Cell<Option<Moment>>,
}

impl Process {
    /// A worker with a new process.
    #[must_use]
    pub fn new(
        id: WorkerId,
        identity: ProcessId,
        child: Child,
        sockets: Sockets,
        output: Option<LastWords>,
        stop_signal: Signal,
    ) -> Self {
        let (said, version, drain) = (RefCell::default(), Cell::default(), Drain::default());
        let (reader, room) = (Reader::default(), Room::default());
        Self { id, identity, child, sockets, output, said, version, reader, stop_signal, drain, room }
    }

    /// Restores what a master before this one knew of the worker.
    #[must_use]
    pub fn restore(self, record: &WorkerRecord) -> Self {
        self.drain.sent.set(record.drain_sent);
        self.version.set(record.channel_version);
        self.said.borrow_mut().clone_from(&record.said);
        self
    }
}

// Getters.
impl Process {
    /// The worker as the state file describes it.
    #[must_use]
    pub fn record(&self, drain_timeout: Duration) -> WorkerRecord {
        WorkerRecord {
            id: self.id,
            process: self.identity,
            stop_signal: self.stop_signal as i32,
            drain_timeout_ms: u64::try_from(drain_timeout.as_millis()).unwrap_or(u64::MAX),
            channel: self.sockets.channel.is_some(),
            channel_version: self.version.get(),
            private: self.sockets.private.is_some(),
            drain_sent: self.drain.sent.get(),
            said: self.said.borrow().clone(),
            words: self.output.as_ref().and_then(LastWords::place),
        }
    }

    /// The descriptors that a successor needs, by name.
    #[must_use]
    pub fn descriptors(&self) -> [(String, BorrowedFd<'_>); 2] {
        [
            (descriptor_name::pidfd(self.id), self.child.fd()),
            (descriptor_name::notify(self.id), self.sockets.notify.fd()),
        ]
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// The listening socket of its channel, to be passed on.
    #[must_use]
    pub fn channel_fd(&self) -> Option<BorrowedFd<'_>> {
        self.sockets.channel.as_ref().and_then(|(listener, _)| listener.fd.as_ref()).map(AsFd::as_fd)
    }

    /// Its private listener.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateListener> {
        self.sockets.private.as_ref()
    }

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

    /// The course of its connections since it drains.
    #[must_use]
    pub fn fates(&self) -> Option<Fates> {
        self.drain.fates.get()
    }

    /// Its last lines of output, or else its last STATUS=.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        let written = self.output.as_ref().map(|output| output.quote(crate::telemetry::is_ours)).unwrap_or_default();
        let said = self.said.borrow().clone();
        if written.is_empty() { said.into_iter().collect() } else { written }
    }

    /// True if it has received all that it was sent. What was sent with descriptors keeps them open until then.
    fn reads(&self) -> bool {
        self.sockets.channel.as_ref().is_some_and(|(_, channel)| channel.is_read().unwrap_or(false))
    }

    /// True if it knows how to hand connections over, and to take them.
    fn hands_over(&self) -> bool {
        self.version.get().is_some_and(|version| version >= channel::HANDOVER)
    }
}

// Orders.
impl Process {
    /// Sends SIGABRT, because the worker hangs.
    pub fn abort(&self) {
        if !self.drain.sent.replace(true) {
            self.signal(Signal::SIGABRT);
        }
    }

    /// Lets it accept; a worker without a channel does already.
    pub fn go(&self) {
        self.send(&FromMaster::Go, &[]);
    }

    /// Tells it to finish: over the channel, which can say why, or by signal if nobody has answered there yet.
    ///
    /// It is told once, because to many servers a second signal means that they are to hurry. Its connections go to
    /// `takers`, if they can.
    pub fn drain(&self, reason: DrainReason, takers: &[Rc<Self>]) {
        if self.drain.sent.replace(true) {
            return;
        }
        let sent = self.send_drain(reason, takers);
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
            self.redirect(takers);
        }
    }

    /// Gives a draining worker other takers.
    pub fn redirect(&self, takers: &[Rc<Self>]) {
        if !takers.is_empty() {
            self.send_drain(DrainReason::Upgrade, takers);
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

    fn send_drain(&self, reason: DrainReason, takers: &[Rc<Self>]) -> bool {
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
        let drain = FromMaster::Drain { reason };
        let sent = {
            let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
            self.try_send(&drain, &fds)
        };
        let is_sent = match sent {
            // Too many descriptors are on their way: it hears of its takers later.
            Err(error) if !sockets.is_empty() && is_temporary(&error) => {
                (sockets, is_short) = (Vec::new(), true);
                self.send(&drain, &[])
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

    /// Kills the process and its group; tries again for a while, if that fails.
    pub fn kill(this: &Rc<Self>) {
        if this.check(this.child.kill_group()) {
            return;
        }
        let own = Rc::clone(this);
        crate::task::spawn(async move {
            for _ in 0..RETRIES {
                tokio::time::sleep(RETRY).await;
                if own.check(own.child.kill_group()) {
                    return;
                }
            }
        });
    }

    /// Sends it a message about its log; gives whether it understands that.
    pub fn send_about_log(&self, message: &FromMaster) -> bool {
        self.version.get().is_some_and(|version| version >= channel::LOGS) && self.send(message, &[])
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

    /// Notes whether it has room for connections.
    pub fn set_full(&self, is_full: bool) {
        self.room.is_full.set(is_full);
    }

    /// Notes what has become of its connections.
    pub fn set_fates(&self, fates: Fates) {
        self.drain.fates.set(Some(fates));
    }

    /// Sends a signal. SIGCONT follows, so that a stopped process takes it, too.
    fn signal(&self, signal: Signal) {
        self.check(self.child.signal(signal));
        self.check(self.child.signal(Signal::SIGCONT));
    }

    /// Logs a signal that failed; gives whether it was sent.
    pub(super) fn check(&self, result: io::Result<()>) -> bool {
        if let Err(error) = &result {
            tracing::error!(worker = %self.id, pid = self.pid(), "cannot signal the worker: {error}");
        }
        result.is_ok()
    }

    fn send(&self, message: &FromMaster, fds: &[BorrowedFd<'_>]) -> bool {
        self.try_send(message, fds).is_ok()
    }

    fn try_send(&self, message: &FromMaster, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some((_, channel)) = &self.sockets.channel else { return Err(io::ErrorKind::NotConnected.into()) };
        channel.send(message, fds).inspect_err(|error| {
            tracing::warn!(worker = %self.id, pid = self.pid(), "cannot send {message:?} to the worker: {error}");
        })
    }
}
