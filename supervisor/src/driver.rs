//! The only loop: wait, event, handle, perform.

mod frozen;
pub mod operations;
mod perform;
mod process;
mod report;
mod status;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use gin_shared::control::{EventLine, OperationId};
use gin_shared::status::{Status, Upgrade};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use crate::cli::Cli;
use crate::config::Config;
use crate::machine::Machine;
use crate::machine::event::{Event, Queue, ScaleTo, Speed};
use crate::machine::moment::Moment;
use crate::os::listener::Listener;
use crate::os::signal::{Received, Signals};
use crate::os::{orphan, time};
use operations::Operations;
use perform::Performer;

/// Commands and news on their way to the loop; more make their senders wait.
const INBOX: usize = 256;
/// Transitions kept for a follower that is slow; then it misses some.
const EVENTS: usize = 256;

/// Callers that follow an operation or the events at once.
const STREAMS: usize = 192;

/// What reaches the loop from elsewhere.
#[derive(Debug)]
pub enum Message {
    /// For the machine.
    Event(Event),
    /// Somebody wants to know.
    Status(oneshot::Sender<Status>),
    /// Somebody wants to know more.
    History(oneshot::Sender<Vec<Upgrade>>),
}

/// How the control API reaches the loop.
#[derive(Debug, Clone)]
pub struct Handle {
    /// The loop's inbox.
    pub inbox: mpsc::Sender<Message>,
    /// What was asked for.
    pub operations: Operations,
    /// What happens.
    pub events: broadcast::Sender<EventLine>,
    /// Places for callers that follow something: fewer than there are connections, so that a command is always heard.
    pub streams: Arc<Semaphore>,
}

/// What the driver is given.
#[derive(Debug)]
pub struct Parts {
    /// The command line, to read the configuration anew.
    pub cli: Cli,
    /// As it was at the start.
    pub config: Config,
    /// The sockets that clients connect to.
    pub listeners: Vec<Listener>,
    /// The runtime directory.
    pub runtime: PathBuf,
    /// Where the PID stands.
    pub pid_file: PathBuf,
    /// Where commands come in.
    pub control: PathBuf,
    /// Called once, when the first generation serves.
    pub on_boot: fn(&Status, took_ms: f64),
}

/// The loop and what it works with.
#[derive(Debug)]
pub struct Driver {
    machine: Machine,
    signals: Signals,
    inbox: mpsc::Receiver<Message>,
    handle: Handle,
    performer: Performer,
    pending: VecDeque<Event>,
}

impl Driver {
    /// One that has not started anything.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let (sender, inbox) = mpsc::channel(INBOX);
        let handle = Handle {
            inbox: sender,
            operations: Operations::default(),
            events: broadcast::Sender::new(EVENTS),
            streams: Arc::new(Semaphore::new(STREAMS)),
        };
        let machine = Machine::new(parts.config.master.max_draining);
        let performer = Performer::new(parts, handle.clone());
        Ok(Self { machine, signals: Signals::new()?, inbox, handle, performer, pending: VecDeque::new() })
    }

    /// How to reach it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the machine says that nothing is left; gives the exit code.
    ///
    /// # Errors
    /// If the kernel no longer gives events.
    pub async fn run(mut self) -> io::Result<u8> {
        let boot = Event::Restart { operation: None, asked_by: "start".to_owned(), queue: Queue::Wait };
        self.pending.push_back(boot);
        loop {
            while let Some(event) = self.pending.pop_front() {
                let now = time::now();
                let Some(event) = self.performer.admit(now, &self.machine, event) else { continue };
                let actions = self.machine.handle(now, event);
                if let Some(code) = self.performer.perform(now, &self.machine, actions, &mut self.pending) {
                    orphan::kill_all();
                    return Ok(code);
                }
            }
            if let Some(event) = self.next().await? {
                self.pending.push_back(event);
            }
        }
    }

    /// The next thing that happens, if the machine is to know of it.
    async fn next(&mut self) -> io::Result<Option<Event>> {
        tokio::select! {
            biased;
            received = self.signals.next() => Ok(self.signal(received?)),
            message = self.inbox.recv() => Ok(message.and_then(|message| self.message(message))),
            () = sleep_until(self.machine.deadline()) => Ok(Some(Event::Time)),
        }
    }

    fn message(&self, message: Message) -> Option<Event> {
        match message {
            Message::Event(event) => return Some(event),
            // Who asked may have left meanwhile.
            Message::Status(reply) => drop(reply.send(self.performer.status(time::now(), &self.machine))),
            Message::History(reply) => drop(reply.send(status::history(&self.machine))),
        }
        None
    }

    fn signal(&self, received: Received) -> Option<Event> {
        let asked_by = asked_by(received);
        let master = self.performer.master();
        let no_one: Option<OperationId> = None;
        match received.signal {
            Signal::SIGCHLD => {
                self.performer.reap_orphans();
                None
            }
            signal if signal == master.restart_signal || signal == Signal::SIGHUP => {
                Some(Event::Restart { operation: no_one, asked_by, queue: Queue::Wait })
            }
            signal if master.shutdown_signals.contains(&signal) => {
                tracing::info!("{asked_by}: stop");
                Some(Event::Stop { operation: no_one, speed: Speed::Graceful })
            }
            Signal::SIGTTIN => Some(Event::Scale { operation: no_one, to: ScaleTo::More }),
            Signal::SIGTTOU => Some(Event::Scale { operation: no_one, to: ScaleTo::Fewer }),
            Signal::SIGUSR1 => {
                tracing::info!("{asked_by}: the log goes to stderr, so there is no file to reopen");
                None
            }
            signal => {
                tracing::info!("{asked_by}: {signal} ignored");
                None
            }
        }
    }
}

fn asked_by(received: Received) -> String {
    let signal = received.signal;
    match received.pid {
        0 => format!("{signal} from the terminal"),
        pid => format!("{signal} from {} (pid {pid})", user_name(received.uid)),
    }
}

/// A user's name, or its number.
#[must_use]
pub fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

async fn sleep_until(deadline: Option<Moment>) {
    match deadline {
        // tokio's clock and ours are the same one, but it rounds up to whole milliseconds.
        Some(at) => tokio::time::sleep(at.since(time::now())).await,
        None => std::future::pending().await,
    }
}
