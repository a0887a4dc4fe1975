//! A worker that has a process, as the master knows it: its sockets, what it last said, and the orders that it was sent.

mod handover;
mod material;
pub mod welcome;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use gin_shared::channel::{self, Fates, FromMaster};
use gin_shared::generation::WorkerId;
use gin_shared::process::ProcessId;
use nix::sys::signal::Signal;

use crate::descriptor_name;
use crate::inbox::reading::Reader;
use crate::os::channel::{Channel, ChannelListener};
use crate::os::child::Child;
use crate::os::notify::NotifySocket;
use crate::os::private::PrivateListener;
use crate::os::words::LastWords;
use crate::state::WorkerRecord;
use handover::{Drain, Room};
use material::Tls;
use welcome::Offer;

/// Pause before a kill that failed is tried again, and the number of tries.
const RETRY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 60;

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
    tls: Tls,
}

/// The sockets between a worker and the master.
#[derive(Debug)]
pub struct Sockets {
    /// The socket at which the worker speaks `sd_notify(3)`.
    pub notify: NotifySocket,
    /// Carries orders to workers built on gin-worker. There from the start, or from the worker's announcement on.
    pub channel: OnceCell<(ChannelListener, Channel)>,
    /// The listener that only the master and its operators ask.
    pub private: OnceCell<PrivateListener>,
    /// The sockets that the worker is given when it announces itself; gone once it was told to accept or to end.
    pub offer: RefCell<Option<Offer>>,
}

impl Sockets {
    /// The sockets of a worker at its start, and what it is offered besides.
    #[must_use]
    pub fn new(
        notify: NotifySocket,
        channel: Option<(ChannelListener, Channel)>,
        private: Option<PrivateListener>,
        offer: Option<Offer>,
    ) -> Self {
        Self { notify, channel: cell(channel), private: cell(private), offer: RefCell::new(offer) }
    }
}

fn cell<T>(value: Option<T>) -> OnceCell<T> {
    value.map_or_else(OnceCell::new, OnceCell::from)
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
        let (reader, room, tls) = (Reader::default(), Room::default(), Tls::default());
        Self { id, identity, child, sockets, output, said, version, reader, stop_signal, drain, room, tls }
    }

    /// Restores what a master before this one knew of the worker.
    #[must_use]
    pub fn restore(self, record: &WorkerRecord) -> Self {
        self.drain.sent.set(record.drain_sent);
        self.version.set(record.channel_version);
        self.said.borrow_mut().clone_from(&record.said);
        self.drain.fates.set(record.connections);
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
            channel: self.has_channel(),
            channel_version: self.version.get(),
            private: self.private().is_some(),
            drain_sent: self.drain.sent.get(),
            said: self.said.borrow().clone(),
            words: self.output.as_ref().and_then(LastWords::place),
            connections: self.fates(),
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

    /// True if it has a channel.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.sockets.channel.get().is_some()
    }

    /// The listening socket of its channel, to be passed on.
    #[must_use]
    pub fn channel_fd(&self) -> Option<BorrowedFd<'_>> {
        self.sockets.channel.get().and_then(|(listener, _)| listener.fd.as_ref()).map(AsFd::as_fd)
    }

    /// Its private listener.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateListener> {
        self.sockets.private.get()
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
}

// Orders.
impl Process {
    /// Sends SIGABRT, because the worker hangs.
    pub fn abort(&self) {
        if !self.drain.sent.replace(true) {
            self.withdraw_offer();
            self.signal(Signal::SIGABRT);
        }
    }

    /// Lets it accept; a worker without a channel does already.
    pub fn go(&self) {
        self.withdraw_offer();
        self.send(&FromMaster::Go, &[]);
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
        let Some((_, channel)) = self.sockets.channel.get() else { return Err(io::ErrorKind::NotConnected.into()) };
        channel.send(message, fds).inspect_err(|error| {
            // It has ended, or is about to, which is told when it is known.
            if error.kind() == io::ErrorKind::BrokenPipe {
                tracing::debug!(worker = %self.id, pid = self.pid(), "{message:?} came too late for the worker");
            } else {
                tracing::warn!(worker = %self.id, pid = self.pid(), "cannot send {message:?} to the worker: {error}");
            }
        })
    }
}
