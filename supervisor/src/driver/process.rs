//! A worker as the driver has it: its process, its sockets, and the task that turns what they say into events.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use gin_shared::channel::{DrainReason, FromMaster, FromWorker};
use gin_shared::generation::WorkerId;
use gin_shared::notify::Notice;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::Message;
use super::command::Claims;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::Exit;
use crate::os::channel::{Channel, ChannelListener};
use crate::os::notify::NotifySocket;
use crate::os::orphan;
use crate::os::pidfd::Child;
use crate::os::private::PrivateListener;
use crate::os::spawn::Link;
use crate::os::words::LastWords;

/// A worker that has a process.
#[derive(Debug)]
pub struct Process {
    /// Who it is.
    pub id: WorkerId,
    /// What it last said by STATUS=.
    pub said: RefCell<Option<String>>,
    /// What it wrote.
    pub words: Option<LastWords>,
    child: Child,
    notify: NotifySocket,
    channel: Option<(ChannelListener, Channel)>,
    private: Option<PrivateListener>,
    greeted: Cell<bool>,
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
    ) -> Self {
        let Own { channel, private } = own;
        let (said, greeted) = (RefCell::new(None), Cell::new(false));
        Self { id, said, words, child, notify, channel, private, greeted, stop_signal }
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid().as_raw()
    }

    /// The listening socket of its channel, to be passed on.
    #[must_use]
    pub fn channel_fd(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(|(listener, _)| listener.fd.as_fd())
    }

    /// Its own listener, to be passed on.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateListener> {
        self.private.as_ref()
    }

    /// SIGABRT, for it hangs.
    pub fn abort(&self) {
        self.signal(Signal::SIGABRT);
    }

    /// One that is stopped takes it, too.
    fn signal(&self, signal: Signal) {
        self.signalled(self.child.signal(signal));
        self.signalled(self.child.signal(Signal::SIGCONT));
    }

    /// Lets it accept; one without a channel does already.
    pub fn go(&self) {
        self.send(&FromMaster::Go);
    }

    /// Asks it to finish: over the channel, which can say why, or by signal where nobody has answered there yet.
    pub fn drain(&self, reason: DrainReason) {
        let sent = self.send(&FromMaster::Drain { reason });
        if !sent || !self.greeted.get() {
            self.signal(self.stop_signal);
        }
    }

    /// Ends it and its group.
    pub fn kill(&self) {
        self.signalled(self.child.kill_group());
    }

    fn signalled(&self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::error!(worker = %self.id, pid = self.pid(), "cannot signal the worker: {error}");
        }
    }

    fn send(&self, message: &FromMaster) -> bool {
        let Some((_, channel)) = &self.channel else { return false };
        match channel.send(message) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(worker = %self.id, pid = self.pid(), "the channel does not take {message:?}: {error}");
                false
            }
        }
    }

    /// Tells what happens to it, until it has exited. Its exit is told last, when all it said before has been read.
    pub async fn watch(self: Rc<Self>, link: Link, inbox: mpsc::Sender<Message>, claims: Claims) {
        let (mut link, mut channel) = (Some(link), self.channel.is_some());
        loop {
            let events = tokio::select! {
                biased;
                outcome = outcome(link.as_ref()) => {
                    link = None;
                    vec![executed(outcome)]
                }
                notices = self.notify.receive() => self.notices(&notices.unwrap_or_default()),
                message = receive(self.channel.as_ref(), &self.greeted), if channel => match message {
                    Some(event) => event.into_iter().collect(),
                    None => { channel = false; Vec::new() }
                },
                _ = self.child.exited() => break,
            };
            self.tell(&inbox, events).await;
        }
        let last = self.last_events(link.as_ref());
        self.tell(&inbox, last).await;
        let exit = self.end(&claims);
        let event = WorkerEvent::Exited { exit, jitter: jitter() };
        self.tell(&inbox, vec![event]).await;
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
        while let Ok(Some(notices)) = self.notify.drain() {
            events.extend(self.notices(&notices));
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
        self.kill();
        orphan::kill_of(self.id, |pid| claims.borrow().contains(&pid));
        let exit = self.child.reap();
        claims.borrow_mut().remove(&self.child.pid());
        // Orphans that died meanwhile were hidden behind it.
        orphan::reap(|pid| claims.borrow().contains(&pid));
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
async fn receive(channel: Option<&(ChannelListener, Channel)>, greeted: &Cell<bool>) -> Option<Option<WorkerEvent>> {
    let (_, channel) = channel?;
    match channel.receive().await {
        Ok(Some(FromWorker::Serving)) => Some(Some(WorkerEvent::Accepting)),
        Ok(Some(FromWorker::Hello { .. })) => {
            greeted.set(true);
            Some(None)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!("a worker's channel is closed: {error}");
            None
        }
    }
}

/// 0 to 1000, from what the kernel gives everyone: enough to spread restarts.
fn jitter() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    u16::try_from(RandomState::new().hash_one(()) % 1001).unwrap_or_default()
}
