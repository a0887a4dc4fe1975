//! The only loop: wait, event, handle, perform.
//!
//! The driver owns the machine and its five helpers, and is the only one that knows them all:
//!
//! | part | owns |
//! |---|---|
//! | [`Store`] | the state that a successor needs, written ahead |
//! | [`Workers`] | processes, their gates, and what becomes of connections |
//! | [`Generations`] | what each generation runs, the configuration, the sockets |
//! | [`Certificates`] | certificates and keys of TLS, whichever generation serves |
//! | [`Reporter`] | operations, log, events, the service manager |
//!
//! Each turn takes one event: the machine decides, the state is saved, the actions are performed.

mod boot;
mod certificate_reader;
mod certificates;
mod hooks;
mod looks;
mod migrate;
mod perform;
mod queues;
mod reexec;
mod reload;
mod resume;
mod samples;
mod signals;
mod starts;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;

use gin_shared::channel::FromMaster;
use gin_shared::exit;
use gin_shared::status::Status;
use tokio::sync::mpsc;

use crate::adopt::Succession;
use crate::certificates::Certificates;
use crate::cli::Cli;
use crate::config::Config;
use crate::failed_start::FailedStart;
use crate::generations::Generations;
use crate::inbox::{Handle, Message};
use crate::instance_files::InstanceFiles;
use crate::machine::Machine;
use crate::machine::action::{Action, Report};
use crate::machine::event::{Event, WorkerEvent};
use crate::moment::Moment;
use crate::os::listener::{Listener, ListenerSpec};
use crate::os::shared_memory::Memories;
use crate::os::signal::Signals;
use crate::os::state_file::StateFile;
use crate::os::{fault, orphan, time};
use crate::reporter::{self, Boot, Reporter};
use crate::state::Paths;
use crate::store::{self, Store};
use crate::view::View;
use crate::workers::Workers;
use looks::Looks;
use reexec::Successor;
use watch::Watches;

/// The parts that a start has gathered.
#[derive(Debug)]
pub struct Parts {
    /// The command line, to read the configuration anew.
    pub cli: Cli,
    /// The configuration of the start.
    pub config: Config,
    /// The sockets that clients connect to, as they were opened at the start.
    pub listeners: Vec<Rc<Listener>>,
    /// The listeners that a service manager passed, if the configuration names none.
    pub passed: Option<Vec<ListenerSpec>>,
    /// The places of the instance's files.
    pub paths: Paths,
    /// The files themselves.
    pub files: InstanceFiles,
    /// The file that the state is written to.
    pub state_file: StateFile,
    /// The memories that workers share.
    pub memories: Memories,
    /// The moment when the master was started.
    pub started: Moment,
    /// The names of the descriptors that the service manager keeps for us.
    pub stored: BTreeSet<String>,
    /// The start before this one, if it failed.
    pub failed: Option<FailedStart>,
    /// Called once, when the first generation serves.
    pub on_boot: fn(&Status, Boot),
}

/// An end of the loop before its time.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The state that the previous master left cannot be taken up now. Nothing was changed; the next try may succeed.
    #[error("what the supervisor before this one has left cannot be taken up now: {0}")]
    NotResumed(io::Error),
    /// The kernel no longer gives events.
    #[error(transparent)]
    Events(#[from] io::Error),
}

/// The ends at which the loop hears of what happens.
#[derive(Debug)]
struct Incoming {
    signals: Signals,
    inbox: mpsc::Receiver<Message>,
}

/// The loop and its parts.
#[derive(Debug)]
pub struct Driver {
    machine: Machine,
    store: Store,
    workers: Workers,
    generations: Generations,
    certificates: Certificates,
    reporter: Reporter,
    incoming: Incoming,
    handle: Handle,
    /// Events that wait for their turn.
    pending: VecDeque<Event>,
    looks: Looks,
    /// The program that is to take over in place.
    successor: Successor,
    watches: Watches,
}

impl Driver {
    /// A driver that has not started anything.
    ///
    /// # Errors
    /// The errors of `signalfd(2)`.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let (handle, inbox) = Handle::new();
        let Parts { cli, config, listeners, passed, paths, files, state_file, memories, started, .. } = parts;
        let Parts { stored, failed, on_boot, .. } = parts;
        let runtime = paths.runtime.clone();
        Ok(Self {
            machine: Machine::new(config.live.max_draining),
            reporter: Reporter::new(&handle, stored, failed, on_boot, started, paths.clone()),
            store: Store::new(state_file, files, paths, started),
            workers: Workers::new(memories, runtime.clone(), handle.inbox.clone()),
            generations: Generations::new(cli, config, listeners, passed, runtime),
            certificates: Certificates::default(),
            incoming: Incoming { signals: Signals::new()?, inbox },
            handle,
            pending: VecDeque::new(),
            looks: Looks::default(),
            successor: Successor::default(),
            watches: Watches::default(),
        })
    }

    /// The handle by which others reach the loop.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the machine says that nothing is left; gives the exit code.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub async fn run(&mut self, succession: Option<Succession>) -> Result<u8, DriverError> {
        match succession {
            Some(succession) => self.resume(succession).map_err(DriverError::NotResumed)?,
            None => self.boot(),
        }
        loop {
            while let Some(event) = self.pending.pop_front() {
                if let Some(code) = self.turn(event) {
                    self.until_migrated().await;
                    orphan::kill_all();
                    self.note_end(code);
                    self.reporter.end_traces().await;
                    return Ok(code);
                }
            }
            if self.successor.is_due() {
                self.try_reexec().await;
                continue;
            }
            self.reporter.service_manager.ping(time::now());
            self.follow_file();
            self.follow_program();
            self.follow_certificates();
            if let Some(read) = self.workers.read_for(time::now(), self.machine.deadline()) {
                self.pending.push_back(Event::Time(read));
                continue;
            }
            if let Some(event) = self.next().await? {
                self.pending.push_back(event);
            }
        }
    }

    /// Takes one event: the machine decides, the state is saved, the actions are performed. Gives the exit code, once
    /// there is one.
    fn turn(&mut self, event: Event) -> Option<u8> {
        let now = time::now();
        let event = self.admit(now, event)?;
        let telling = store::is_telling(&event);
        let actions = self.machine.handle(now, event);
        self.quote_withdrawn(&actions);
        let _ = fault::at("loop.handled");
        if telling || actions.iter().any(Action::is_saved_ahead) {
            self.save();
        }
        let ordered = actions.iter().any(Action::is_order_to_end);
        let code = self.perform(now, actions);
        if ordered {
            // A successor is not to tell these workers twice.
            self.save();
        }
        let _ = fault::at("loop.performed");
        // The configuration that has become current may have changed it.
        self.machine.set_max_draining(self.generations.live().max_draining);
        self.tell_peers();
        self.reporter.service_manager.update(now, &self.machine);
        code
    }

    /// Tells workers how many there are, if that has changed.
    fn tell_peers(&self) {
        self.workers.tell_peers(&self.machine, self.generations.live().balance);
    }

    /// Keeps the last lines of a worker that a candidate was withdrawn for, so that they are saved with the history.
    fn quote_withdrawn(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Report(Report::Withdrawn { generation, worker: Some(worker), .. }) = action {
                self.machine.history.quote(*generation, self.workers.last_words(*worker));
            }
        }
    }

    /// Everything that is, to be told or written down.
    fn view(&self) -> View<'_> {
        let Self { machine, workers, generations, certificates, .. } = self;
        View { machine, workers, generations, certificates }
    }

    /// Saves the state, and has the service manager keep the descriptors that belong to it.
    fn save(&mut self) {
        let _ = fault::at("keep.before");
        let Self { machine, workers, generations, certificates, store, reporter, .. } = self;
        let view = View { machine, workers, generations, certificates };
        store.save(view, &reporter.operations);
        if reporter.service_manager.is_there() {
            reporter.service_manager.store(&store.descriptors(view));
        }
        let _ = fault::at("keep.after");
    }
}

// What reaches the loop.
impl Driver {
    /// Waits for the next thing that happens; gives it, if the machine is to know of it.
    async fn next(&mut self) -> io::Result<Option<Event>> {
        let (weighing, first_try) = (self.next_weighing(), self.first_try());
        let retry = self.workers.retry_at(time::now());
        self.set_alarm();
        // A deadline that is due waits for what has not been read yet, however long this process was stopped.
        let deadline = self.machine.deadline().filter(|_| !self.workers.is_reading());
        tokio::select! {
            biased;
            received = self.incoming.signals.next() => Ok(self.handle_signal(received?)),
            message = self.incoming.inbox.recv() => Ok(message.and_then(|message| self.handle_message(message))),
            () = self.workers.has_read() => Ok(None),
            () = sleep_until(deadline) => Ok(None),
            () = sleep_until(first_try) => Ok(Some(boot::first_generation())),
            () = sleep_until(self.reporter.service_manager.next_ping()) => Ok(None),
            () = sleep_until(retry) => {
                self.workers.retry(&self.machine);
                Ok(None)
            }
            () = sleep_until(self.reporter.next_look()) => {
                self.look_at_queues();
                Ok(None)
            }
            () = self.watches.alarm.rings() => {
                self.look_after_certificates();
                Ok(None)
            }
            () = sleep_until(weighing) => {
                self.weigh();
                Ok(None)
            }
            () = sleep_until(self.looks.balance) => {
                self.balance();
                Ok(None)
            }
        }
    }

    fn handle_message(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Event(event) => return Some(event),
            Message::Reload(request) => return self.reload(request),
            Message::Migrate(request) => self.migrate(&request),
            Message::FileChanged => return self.handle_file_changed(),
            Message::ProgramChanged(path) => return self.handle_program_changed(&path),
            Message::ReexecChecked(result) => return Some(self.handle_reexec_checked(result)),
            Message::Paused => self.successor.set_due(),
            Message::LogLevel(level, answer) => {
                crate::telemetry::set_level(&level);
                let _ = answer.send(self.workers.send_about_logs(&FromMaster::Log { level }));
            }
            // The caller may have left meanwhile.
            Message::Private(generation, slot, answer) => drop(answer.send(self.workers.private(generation, slot))),
            Message::Status(answer) => {
                self.look_at_queues();
                let _ = answer.send(self.reporter.status(time::now(), self.view()));
            }
            Message::CertificatesChanged => self.read_certificates(),
            Message::Certificates(read) => self.handle_certificates(read),
            // The caller may have left meanwhile.
            Message::ListCertificates(answer) => drop(answer.send(self.certificates.told(&self.workers.refused()))),
            Message::Samples(answer) => drop(answer.send(self.samples())),
            // Behind everything that its task has read: the round is over when all copies are dropped.
            Message::Read(round) => drop(round),
            Message::Looked(waiting) => self.handle_looked(waiting),
            Message::History(answer) => drop(answer.send(reporter::history(&self.machine))),
        }
        None
    }

    /// Handles the part of an event that the machine does not know of. `None`: the configuration forbids the event.
    fn admit(&mut self, now: Moment, event: Event) -> Option<Event> {
        if self.cancel_migration(now, &event) {
            return None;
        }
        self.end_migration(&event);
        if let Event::Restart { .. } | Event::Rollback { .. } = &event {
            self.store.renew_files(self.generations.config());
        }
        if let Event::Restart { operation, asked_by, .. } | Event::Rollback { operation, asked_by, .. } = &event
            && !self.generations.allow_restart(&self.machine)
        {
            let text = "features.hot_restart = false: a restart is refused".to_owned();
            tracing::warn!("{asked_by}: {text}");
            operation.iter().for_each(|id| self.reporter.operations.end(now, *id, exit::REFUSED, text.clone()));
            return None;
        }
        if let Event::Prepared { generation, .. } = &event {
            self.workers.handle_hook_ended(*generation);
        }
        if let Event::Worker { worker, what } = &event {
            if matches!(what, WorkerEvent::WarmedUp(_) | WorkerEvent::Probed(_) | WorkerEvent::Checked(_)) {
                self.workers.handle_gate_ended(*worker);
            }
            if matches!(what, WorkerEvent::Exited { .. }) {
                // The worker may have shut listeners down for all.
                self.generations.reopen_listeners();
                if let Some(fates) = self.workers.handle_exited(*worker, &self.machine) {
                    self.reporter.report_connections(*worker, fates);
                }
            }
        }
        Some(event)
    }
}

async fn sleep_until(deadline: Option<Moment>) {
    match deadline {
        // tokio's clock and ours are the same one, but it rounds up to whole milliseconds.
        Some(at) => tokio::time::sleep(at.since(time::now())).await,
        None => std::future::pending().await,
    }
}
