//! The only loop: wait, event, handle, perform.

mod command;
pub mod frozen;
mod gates;
mod keep;
mod listeners;
mod perform;
mod prepare;
mod probe;
mod process;
mod program;
mod reexec;
mod reload;
mod report;
mod resume;
mod service_manager;
mod status;
mod task;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use gin_shared::channel::FromMaster;
use gin_shared::config::watch::Watch;
use gin_shared::control::OperationId;
use gin_shared::status::Status;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::adopt::Succession;
use crate::cli::Cli;
use crate::config::Config;
use crate::foundation::Foundation;
use crate::inbox::{Handle, Message, ReloadRequest};
use crate::machine::Machine;
use crate::machine::action::Action;
use crate::machine::event::{Event, Queue, ScaleTo, Speed};
use crate::moment::Moment;
use crate::os::identity::user_name;
use crate::os::listener::{Listener, ListenerSpec};
use crate::os::shared_memory::SharedMemory;
use crate::os::signal::{Received, Signals};
use crate::os::state_file::StateFile;
use crate::os::{fault, orphan, time};
use crate::state::Paths;
pub use frozen::check_worker;
use perform::Performer;
pub use service_manager::forget as forget_stored;
pub use task::until_panic;

/// Workers are weighed so often, if there is a limit.
const WEIGHING: Duration = Duration::from_secs(2);

/// What the driver is given.
#[derive(Debug)]
pub struct Parts {
    /// The command line, to read the configuration anew.
    pub cli: Cli,
    /// As it was at the start.
    pub config: Config,
    /// The sockets that clients connect to, as they were at the start.
    pub listeners: Vec<Rc<Listener>>,
    /// What a service manager passed while the configuration says nothing of listeners.
    pub passed: Option<Vec<ListenerSpec>>,
    /// Where its files are.
    pub paths: Paths,
    /// The files themselves.
    pub foundation: Foundation,
    /// Where the state is written.
    pub state_file: StateFile,
    /// What workers share.
    pub memory: SharedMemory,
    /// When the master was started.
    pub started: Moment,
    /// The names of the descriptors that the service manager keeps for us.
    pub stored: BTreeSet<String>,
    /// Called once, when the first generation serves.
    pub on_boot: fn(&Status, Boot),
}

/// How it came to serve.
#[derive(Debug, Clone, Copy)]
pub enum Boot {
    /// By a first generation of its own.
    Served {
        /// How long that took, in milliseconds.
        took_ms: f64,
    },
    /// By workers of a master that died.
    Adopted {
        /// How many.
        workers: usize,
        /// That master's PID.
        from: i32,
    },
}

/// Why the loop has ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Gone {
    /// Nothing was changed; another try may do.
    #[error("what the supervisor before this one has left cannot be taken up now: {0}")]
    NotResumed(io::Error),
    /// No event is to be had.
    #[error(transparent)]
    Events(#[from] io::Error),
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
    /// When the workers are weighed next, if they are.
    weighed_next: Option<Moment>,
    /// Whether another program is to take over when the inbox is empty.
    pausing: bool,
    /// Whether it could be watched, if the configuration file is to be.
    watch: Option<Option<Watch>>,
}

impl Driver {
    /// One that has not started anything.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let (handle, inbox) = Handle::new();
        let machine = Machine::new(parts.config.live.max_draining);
        let performer = Performer::new(parts, handle.clone());
        let (signals, pending) = (Signals::new()?, VecDeque::new());
        Ok(Self {
            machine,
            signals,
            inbox,
            handle,
            performer,
            pending,
            weighed_next: None,
            pausing: false,
            watch: None,
        })
    }

    /// How to reach it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the machine says that nothing is left; gives the exit code.
    ///
    /// # Errors
    /// If what a master before this one left cannot be taken up now, or the kernel no longer gives events.
    pub async fn run(&mut self, succession: Option<Succession>) -> Result<u8, Gone> {
        match succession {
            Some(succession) => self.resume(succession).map_err(Gone::NotResumed)?,
            None => self.boot(),
        }
        loop {
            while let Some(event) = self.pending.pop_front() {
                let now = time::now();
                let Some(event) = self.performer.admit(now, &self.machine, event) else { continue };
                let telling = keep::is_telling(&event);
                let actions = self.machine.handle(now, event);
                let _ = fault::at("loop.handled");
                if telling || actions.iter().any(|action| !matches!(action, Action::Report(_))) {
                    self.performer.keep(&self.machine);
                }
                let ordered = actions.iter().any(Action::is_order_to_end);
                let code = self.performer.perform(now, &self.machine, actions, &mut self.pending);
                if ordered {
                    // They were told: not to be told twice.
                    self.performer.keep(&self.machine);
                }
                let _ = fault::at("loop.performed");
                // What became current may have brought another.
                self.machine.set_max_draining(self.performer.live().max_draining);
                self.performer.service_manager.update(now, &self.machine);
                if let Some(code) = code {
                    orphan::kill_all();
                    return Ok(code);
                }
            }
            if self.pausing {
                self.try_reexec().await;
                continue;
            }
            self.performer.service_manager.ping(time::now());
            self.follow_file();
            if let Some(event) = self.next().await? {
                self.pending.push_back(event);
            }
        }
    }

    /// Has the first generation started.
    fn boot(&mut self) {
        let boot = Event::Restart { operation: None, asked_by: "start".to_owned(), queue: Queue::Wait };
        self.pending.push_back(boot);
    }

    /// The next thing that happens, if the machine is to know of it.
    async fn next(&mut self) -> io::Result<Option<Event>> {
        let weighing = self.weighing();
        tokio::select! {
            biased;
            received = self.signals.next() => Ok(self.signal(received?)),
            message = self.inbox.recv() => Ok(message.and_then(|message| self.message(message))),
            () = sleep_until(self.machine.deadline()) => Ok(Some(Event::Time)),
            () = sleep_until(self.performer.service_manager.next_ping()) => Ok(None),
            () = sleep_until(weighing) => {
                self.weigh();
                Ok(None)
            }
        }
    }

    /// When the workers are to be weighed: never, without a limit.
    fn weighing(&mut self) -> Option<Moment> {
        if self.performer.memory_limit(&self.machine).is_none() {
            self.weighed_next = None;
        } else if self.weighed_next.is_none() {
            self.weighed_next = Some(time::now() + WEIGHING);
        }
        self.weighed_next
    }

    fn weigh(&mut self) {
        self.weighed_next = None;
        if let Some(limit) = self.performer.memory_limit(&self.machine) {
            self.pending.extend(self.performer.weigh(&self.machine, limit));
        }
    }

    fn message(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Event(event) => return Some(event),
            Message::Reload(request) => return self.reload(request),
            Message::FileChanged => return self.file_changed(),
            Message::Private(generation, slot, answer) => drop(answer.send(self.performer.private(generation, slot))),
            Message::LogLevel(level, answer) => {
                crate::telemetry::set_level(&level);
                let _ = answer.send(self.performer.tell_all(&FromMaster::Log { level }));
            }
            Message::Paused => self.pausing = true,
            Message::ReexecChecked(result) => return Some(self.reexec_checked(result)),
            // Who asked may have left meanwhile.
            Message::Status(reply) => drop(reply.send(self.performer.status(time::now(), &self.machine))),
            Message::History(reply) => drop(reply.send(status::history(&self.machine))),
        }
        None
    }

    fn signal(&mut self, received: Received) -> Option<Event> {
        let asked_by = asked_by(received);
        let master = self.performer.live();
        let no_one: Option<OperationId> = None;
        match received.signal {
            Signal::SIGCHLD => {
                self.performer.reap_orphans();
                None
            }
            signal if signal == master.restart_signal => {
                Some(Event::Restart { operation: no_one, asked_by, queue: Queue::Wait })
            }
            signal if master.shutdown_signals.contains(&signal) => {
                tracing::info!("{asked_by}: stop");
                Some(Event::Stop { operation: no_one, speed: Speed::Graceful })
            }
            Signal::SIGHUP => self.reload(ReloadRequest { operation: no_one, asked_by, queue: Queue::Wait }),
            Signal::SIGTTIN => Some(Event::Scale { operation: no_one, to: ScaleTo::More }),
            Signal::SIGTTOU => Some(Event::Scale { operation: no_one, to: ScaleTo::Fewer }),
            Signal::SIGUSR1 => {
                let told = self.performer.tell_all(&FromMaster::Reopen);
                tracing::info!(
                    "{asked_by}: {told} workers were told to open their log files anew; the supervisor's log goes to stderr"
                );
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

async fn sleep_until(deadline: Option<Moment>) {
    match deadline {
        // tokio's clock and ours are the same one, but it rounds up to whole milliseconds.
        Some(at) => tokio::time::sleep(at.since(time::now())).await,
        None => std::future::pending().await,
    }
}
