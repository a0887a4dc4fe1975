//! A worker as the driver has it: its process, its sockets, and the task that turns what they say into events.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use gin_shared::channel::{self, DrainReason, Fates, FromMaster, FromWorker};
use gin_shared::generation::WorkerId;
use gin_shared::notify::Notice;
use gin_shared::state::ProcessId;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::command::Claims;
use crate::descriptor_name;
use crate::exit_status::Exit;
use crate::inbox::Message;
use crate::machine::event::{Event, WorkerEvent};
use crate::os::channel::{Channel, ChannelListener, between_workers};
use crate::os::notify::NotifySocket;
use crate::os::pidfd::Child;
use crate::os::private::PrivateListener;
use crate::os::spawn::Link;
use crate::os::words::LastWords;
use crate::os::{fault, orphan};
use crate::state::LeftWorker;

/// A kill that failed is tried again after this, so many times.
const RETRY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 60;

/// Bursts of messages read of one that has died: those that it wrote before that are the first.
const LAST_BURSTS: usize = 16;

/// A worker that has a process.
#[derive(Debug)]
pub struct Process {
    /// Who it is.
    pub id: WorkerId,
    /// What it last said by STATUS=.
    pub said: RefCell<Option<String>>,
    /// What it wrote.
    pub words: Option<LastWords>,
    /// Its process, as a successor will know it.
    pub identity: ProcessId,
    child: Child,
    notify: NotifySocket,
    channel: Option<(ChannelListener, Channel)>,
    private: Option<PrivateListener>,
    /// The version that it speaks on its channel.
    greeted: Cell<Option<u32>>,
    /// What has become of its connections since it drains.
    fates: Cell<Option<Fates>>,
    /// Who has its connections since it drains; unknown of one that an earlier master told to.
    takers: RefCell<Option<Vec<WorkerId>>>,
    /// Whether it was told to end.
    told: Cell<bool>,
    stop_signal: Signal,
}

/// What a worker of ours has beside its listeners.
#[derive(Debug)]
pub struct Own {
    /// For orders.
    pub channel: Option<(ChannelListener, Channel)>,
    /// For probes.
    pub private: Option<PrivateListener>,
}

impl Process {
    /// Puts together what `spawn` made.
    #[must_use]
    pub fn new(
        id: WorkerId,
        child: Child,
        notify: NotifySocket,
        own: Own,
        stop_signal: Signal,
        words: Option<LastWords>,
        identity: ProcessId,
    ) -> Self {
        let Own { channel, private } = own;
        let (said, greeted, told) = (RefCell::new(None), Cell::new(None), Cell::new(false));
        let (fates, takers) = (Cell::new(None), RefCell::new(None));
        Self { id, said, words, identity, child, notify, channel, private, greeted, fates, takers, told, stop_signal }
    }

    /// Takes up what a master before this one knew of it.
    #[must_use]
    pub fn resume(self, left: &LeftWorker) -> Self {
        self.told.set(left.told);
        self.greeted.set(left.channel_version);
        *self.said.borrow_mut() = left.said.clone();
        self
    }

    /// What a successor has to know of it.
    #[must_use]
    pub fn left(&self, drain_timeout: Duration) -> LeftWorker {
        LeftWorker {
            id: self.id,
            process: self.identity,
            stop_signal: self.stop_signal as i32,
            drain_timeout_ms: u64::try_from(drain_timeout.as_millis()).unwrap_or(u64::MAX),
            channel: self.channel.is_some(),
            channel_version: self.greeted.get(),
            private: self.private.is_some(),
            told: self.told.get(),
            said: self.said.borrow().clone(),
            words: self.words.as_ref().and_then(LastWords::place),
        }
    }

    /// What a successor needs of it, by name.
    #[must_use]
    pub fn descriptors(&self) -> [(String, BorrowedFd<'_>); 2] {
        [(descriptor_name::pidfd(self.id), self.child.fd()), (descriptor_name::notify(self.id), self.notify.fd())]
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// The listening socket of its channel, to be passed on.
    #[must_use]
    pub fn channel_fd(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().and_then(|(listener, _)| listener.fd.as_ref()).map(AsFd::as_fd)
    }

    /// Its own listener, to be passed on.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateListener> {
        self.private.as_ref()
    }

    /// SIGABRT, for it hangs.
    pub fn abort(&self) {
        if self.told.replace(true) {
            return;
        }
        self.signal(Signal::SIGABRT);
    }

    /// One that is stopped takes it, too.
    fn signal(&self, signal: Signal) {
        self.signalled(self.child.signal(signal));
        self.signalled(self.child.signal(Signal::SIGCONT));
    }

    /// Lets it accept; one without a channel does already.
    pub fn go(&self) {
        self.send(&FromMaster::Go, &[]);
    }

    /// Asks it to finish: over the channel, which can say why, or by signal where nobody has answered there yet.
    ///
    /// Once: to many a server a second signal means that it is to hurry. Its connections go to `takers`, where they can.
    pub fn drain(&self, reason: DrainReason, takers: &[Rc<Self>]) {
        if self.told.replace(true) {
            return;
        }
        let sent = self.order_drain(reason, takers);
        if sent && self.greeted.get().is_some() {
            // One that is stopped hears it, too.
            self.signalled(self.child.signal(Signal::SIGCONT));
        } else {
            self.signal(self.stop_signal);
        }
    }

    /// Whether it drains, and nobody has its connections any more, as `takes` says of a worker.
    pub fn lacks_takers(&self, takes: impl Fn(&WorkerId) -> bool) -> bool {
        let takers = self.takers.borrow();
        self.told.get() && self.hands_over() && !takers.as_ref().is_some_and(|takers| takers.iter().any(takes))
    }

    /// Whether it can be given connections: it speaks of that, and was not told to end.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.hands_over() && !self.told.get()
    }

    /// It drains, and its connections go to `takers` from now on.
    pub fn redirect(&self, takers: &[Rc<Self>]) {
        if !takers.is_empty() {
            self.order_drain(DrainReason::Upgrade, takers);
        }
    }

    fn order_drain(&self, reason: DrainReason, takers: &[Rc<Self>]) -> bool {
        let sockets: Vec<(WorkerId, OwnedFd)> = if self.hands_over() {
            takers.iter().filter_map(|taker| Some((taker.id, taker.take()?))).collect()
        } else {
            Vec::new()
        };
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        let sent = self.send(&FromMaster::Drain { reason }, &fds);
        let takers = if sent { sockets.iter().map(|(id, _)| *id).collect() } else { Vec::new() };
        *self.takers.borrow_mut() = Some(takers);
        sent
    }

    /// Ends it and its group; again and again, if that cannot be done now.
    pub fn kill(this: &Rc<Self>) {
        if this.signalled(this.child.kill_group()) {
            return;
        }
        let own = Rc::clone(this);
        super::task::spawn(async move {
            for _ in 0..RETRIES {
                tokio::time::sleep(RETRY).await;
                if own.signalled(own.child.kill_group()) {
                    return;
                }
            }
        });
    }

    fn signalled(&self, result: io::Result<()>) -> bool {
        if let Err(error) = &result {
            tracing::error!(worker = %self.id, pid = self.pid(), "cannot signal the worker: {error}");
        }
        result.is_ok()
    }

    /// Tells it something about its log; gives whether it understands that.
    pub fn hear(&self, message: &FromMaster) -> bool {
        self.greeted.get().is_some_and(|version| version >= channel::LOGS) && self.send(message, &[])
    }

    /// Whether it knows how to hand connections over, and to take them.
    fn hands_over(&self) -> bool {
        self.greeted.get().is_some_and(|version| version >= channel::HANDOVER)
    }

    /// Has it take connections; gives the other end of the socket that they come over.
    fn take(&self) -> Option<OwnedFd> {
        if !self.takes() {
            return None;
        }
        match between_workers() {
            Ok((ours, theirs)) => self.send(&FromMaster::Take, &[theirs.as_fd()]).then_some(ours),
            Err(error) => {
                tracing::warn!(worker = %self.id, pid = self.pid(), "no connections can be handed to the worker: {error}");
                None
            }
        }
    }

    /// What has become of its connections since it drains.
    #[must_use]
    pub fn fates(&self) -> Option<Fates> {
        self.fates.get()
    }

    fn send(&self, message: &FromMaster, fds: &[BorrowedFd<'_>]) -> bool {
        let Some((_, channel)) = &self.channel else { return false };
        match channel.send(message, fds) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(worker = %self.id, pid = self.pid(), "the channel does not take {message:?}: {error}");
                false
            }
        }
    }

    /// Tells what happens to it, until it has exited. Its exit is told last, when all it said before has been read.
    pub async fn watch(self: Rc<Self>, mut link: Option<Link>, inbox: mpsc::Sender<Message>, claims: Claims) {
        let mut channel = self.channel.is_some();
        loop {
            let events = tokio::select! {
                biased;
                outcome = outcome(link.as_ref()) => {
                    link = None;
                    vec![executed(outcome)]
                }
                // What it said before is read then, too; others may go on writing without end.
                _ = self.child.exited() => break,
                message = self.message(), if channel => match message {
                    Some(message) => self.heard(&message).into_iter().collect(),
                    None => { channel = false; Vec::new() }
                },
                notices = self.notify.receive(|pid| self.is_of(pid)) => self.notices(&notices.unwrap_or_default()),
            };
            let _ = fault::at("watch.heard");
            self.tell(&inbox, events).await;
            // However fast somebody writes, others get their turn.
            tokio::task::yield_now().await;
        }
        let last = self.last_events(link.as_ref());
        self.tell(&inbox, last).await;
        let exit = self.end(&claims);
        let event = WorkerEvent::Exited { exit, jitter: jitter() };
        self.tell(&inbox, vec![event]).await;
    }

    /// The next message on its channel; `None` if there will be no more.
    async fn message(&self) -> Option<FromWorker> {
        let (_, channel) = self.channel.as_ref()?;
        channel.receive().await.unwrap_or_else(|error| {
            tracing::warn!("a worker's channel is closed: {error}");
            None
        })
    }

    fn heard(&self, message: &FromWorker) -> Option<WorkerEvent> {
        match message {
            FromWorker::Serving => Some(WorkerEvent::Accepting),
            FromWorker::Hello { version } => {
                self.greeted.set(Some(*version));
                None
            }
            FromWorker::Drained(fates) => {
                self.fates.set(Some(*fates));
                None
            }
        }
    }

    /// Whether a process is the worker's: itself, of its session, or a descendant.
    fn is_of(&self, pid: i32) -> bool {
        pid == self.pid() || orphan::descends(pid, self.pid())
    }

    async fn tell(&self, inbox: &mpsc::Sender<Message>, events: Vec<WorkerEvent>) {
        for what in events {
            // Closed only when the driver has left.
            let _ = inbox.send(Message::Event(Event::Worker { worker: self.id, what })).await;
        }
    }

    /// What it said before it died and nobody has read yet.
    fn last_events(&self, link: Option<&Link>) -> Vec<WorkerEvent> {
        let mut events: Vec<WorkerEvent> =
            link.and_then(|link| link.read().ok()).map(|o| executed(Ok(o))).into_iter().collect();
        // Somebody else may write there without end.
        for _ in 0..LAST_BURSTS {
            let Ok(Some(notices)) = self.notify.drain(&|pid| self.is_of(pid)) else { break };
            events.extend(self.notices(&notices));
        }
        for _ in 0..LAST_BURSTS {
            let Some(Ok(Some(message))) = self.channel.as_ref().map(|(_, channel)| channel.try_receive()) else {
                break;
            };
            events.extend(self.heard(&message));
        }
        events
    }

    fn notices(&self, notices: &[Notice]) -> Vec<WorkerEvent> {
        let mut events = Vec::new();
        for notice in notices {
            match notice {
                Notice::Ready => events.push(WorkerEvent::Ready),
                Notice::ExtendTimeout(by) => events.push(WorkerEvent::Extend(*by)),
                Notice::Status(text) => *self.said.borrow_mut() = Some(text.clone()),
                Notice::MainPid(pid) => {
                    tracing::debug!(worker = %self.id, pid = self.pid(), "MAINPID={pid} ignored: a worker is the process that was started");
                }
                Notice::Watchdog => events.push(WorkerEvent::Alive),
                Notice::WatchdogTrigger => events.push(WorkerEvent::Hangs),
                Notice::Reloading | Notice::Stopping | Notice::Errno(_) | Notice::Barrier => {}
            }
        }
        events.dedup();
        events
    }

    /// Ends what it leaves behind, while its PID and group are still its own; then lets them go.
    fn end(&self, claims: &Claims) -> Exit {
        self.signalled(self.child.kill_group());
        if self.child.is_adopted() {
            // Its orphans fell to somebody else.
            orphan::kill_strays(self.notify.path());
            return Exit::Unknown;
        }
        orphan::kill_of(self.id, |pid| claims.borrow().contains_key(&pid));
        let exit = self.child.reap();
        claims.borrow_mut().remove(&self.child.pid());
        // Orphans that died meanwhile were hidden behind it.
        orphan::reap(|pid| claims.borrow().contains_key(&pid));
        exit
    }
}

async fn outcome(link: Option<&Link>) -> io::Result<Option<String>> {
    match link {
        Some(link) => link.outcome().await,
        None => std::future::pending().await,
    }
}

fn executed(outcome: io::Result<Option<String>>) -> WorkerEvent {
    match outcome {
        Ok(None) => WorkerEvent::Executed,
        Ok(Some(error)) => WorkerEvent::ExecFailed { error },
        Err(error) => WorkerEvent::ExecFailed { error: error.to_string() },
    }
}

/// `Some(None)`: a message without consequence; `None`: the channel is closed.
/// 0 to 1000, from what the kernel gives everyone: enough to spread restarts.
fn jitter() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    u16::try_from(RandomState::new().hash_one(()) % 1001).unwrap_or_default()
}
