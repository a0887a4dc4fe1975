//! Actions become system calls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::{Rc, Weak};

use gin_shared::control::OperationId;
use gin_shared::exit;
use gin_shared::generation::{Generation, WorkerId};
use gin_shared::inherit;
use tokio::task::AbortHandle;

use super::command::{Claims, Command};
use super::frozen::{Frozen, Program};
use super::probe::probe;
use super::process::{Own, Process};
use super::service_manager::ServiceManager;
use super::{Handle, Message, Parts};
use crate::config::tree::Problem;
use crate::config::{Config, Fixed, Live};
use crate::machine::Machine;
use crate::machine::action::{Action, Answer};
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::Failure;
use crate::machine::fleet::Fleet;
use crate::machine::moment::Moment;
use crate::os::channel::ChannelListener;
use crate::os::listener::{Existing, Listener, Listening, gather};
use crate::os::notify::NotifySocket;
use crate::os::pidfd::Child;
use crate::os::private::PrivateListener;
use crate::os::words::LastWords;
use crate::os::{orphan, spawn};

/// What a generation was made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The operation.
    pub(super) operation: Option<u64>,
    /// What served then.
    pub(super) previous: Option<Generation>,
}

/// How much longer than its usual time a command may take if its worker asks for more.
const LONGEST: u32 = 10;

/// Something that is asked about a worker; dropped, it ends.
#[derive(Debug)]
enum Gate {
    Command(Rc<Child>),
    Probe(AbortHandle),
}

impl Drop for Gate {
    fn drop(&mut self) {
        match self {
            Self::Command(child) => {
                let _ = child.kill_group();
            }
            Self::Probe(task) => task.abort(),
        }
    }
}

/// What the machine's wishes are carried out with.
#[derive(Debug)]
pub struct Performer {
    pub(super) parts: Parts,
    pub(super) handle: Handle,
    pub(super) frozen: HashMap<Generation, Frozen>,
    pub(super) processes: HashMap<WorkerId, Rc<Process>>,
    /// The last words of a worker that was told to end or is gone, until its generation is.
    pub(super) words: HashMap<WorkerId, Vec<String>>,
    pub(super) started: Moment,
    pub(super) booted: bool,
    pub(super) service_manager: ServiceManager,
    pub(super) claims: Claims,
    /// The sockets that any generation has; they close with the last one that does.
    sockets: Vec<Weak<Listener>>,
    /// What a worker has to pass just now; it ends with the worker's wish to serve.
    gates: HashMap<WorkerId, Gate>,
    /// What the configuration said last of what counts from a new start alone.
    pub(super) fixed_seen: Fixed,
    /// What a generation was made for.
    pub(super) asked: HashMap<Generation, Asked>,
    /// The configurations of generations that do not serve yet.
    configs: HashMap<Generation, Config>,
    /// Commands that a generation waits for before it is started.
    preparing: HashMap<Generation, Rc<Child>>,
}

impl Performer {
    /// With nothing running.
    #[must_use]
    pub fn new(parts: Parts, handle: Handle) -> Self {
        Self {
            fixed_seen: parts.config.fixed.clone(),
            parts,
            handle,
            frozen: HashMap::new(),
            processes: HashMap::new(),
            words: HashMap::new(),
            started: crate::os::time::now(),
            booted: false,
            service_manager: ServiceManager::from_env(),
            claims: Rc::new(RefCell::new(HashSet::new())),
            sockets: Vec::new(),
            gates: HashMap::new(),
            asked: HashMap::new(),
            configs: HashMap::new(),
            preparing: HashMap::new(),
        }
    }

    /// What a reload changes in place.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.parts.config.live
    }

    /// Whether the current generation's workers are to be weighed, and how much they may hold.
    #[must_use]
    pub fn memory_limit(&self, machine: &Machine) -> Option<u64> {
        let frozen = machine.current().and_then(|run| self.frozen.get(&run.id))?;
        frozen.config.limits.memory_restart
    }

    /// Weighs the current generation's workers.
    pub fn weigh(&self, machine: &Machine, limit: u64) -> Vec<Event> {
        let Some(current) = machine.current() else { return Vec::new() };
        let sessions = crate::os::memory::by_session();
        let serving = current.workers().filter(|worker| worker.is_serving());
        let heavy = serving.filter_map(|worker| {
            let bytes = *sessions.get(&worker.pid?)?;
            (bytes > limit).then_some(Event::Worker { worker: worker.id, what: WorkerEvent::Overweight(bytes) })
        });
        heavy.collect()
    }

    /// Reaps dead children that are no workers.
    pub fn reap_orphans(&self) {
        orphan::reap(|pid| self.claims.borrow().contains(&pid));
    }

    /// Lets an event through to the machine, unless the configuration forbids it.
    pub fn admit(&mut self, now: Moment, machine: &Machine, event: Event) -> Option<Event> {
        let serving = machine.current().and_then(|run| self.frozen.get(&run.id));
        if let Event::Prepared { generation, .. } = &event {
            self.preparing.remove(generation);
        }
        if let Event::Worker { worker, what } = &event
            && matches!(what, WorkerEvent::WarmedUp(_) | WorkerEvent::Probed(_) | WorkerEvent::Checked(_))
        {
            self.gates.remove(worker);
        }
        match &event {
            Event::Restart { operation, asked_by, .. }
                if serving.is_some_and(|frozen| !frozen.config.hot_restart)
                // Unless the file has been changed to allow it.
                && !self.load().is_ok_and(|config| config.worker.hot_restart) =>
            {
                let text = "features.hot_restart = false: a restart is refused".to_owned();
                tracing::warn!("{asked_by}: {text}");
                operation.iter().for_each(|id| self.handle.operations.end(now, *id, exit::REFUSED, text.clone()));
                None
            }
            Event::Worker { worker, what: WorkerEvent::Exited { .. } } => {
                self.gates.remove(worker);
                if let Some(process) = self.processes.remove(worker) {
                    // Only the last one of a slot is ever quoted.
                    self.words.retain(|id, _| (id.generation, id.slot) != (worker.generation, worker.slot));
                    self.words.insert(*worker, quote(&process));
                }
                Some(event)
            }
            Event::Restart { .. }
            | Event::Cancel { .. }
            | Event::Scale { .. }
            | Event::Stop { .. }
            | Event::Prepared { .. }
            | Event::Worker { .. }
            | Event::Time => Some(event),
        }
    }

    /// Carries `actions` out; what follows from them goes into `events`. Gives the exit code, once there is one.
    pub fn perform(
        &mut self,
        now: Moment,
        machine: &Machine,
        actions: Vec<Action>,
        events: &mut VecDeque<Event>,
    ) -> Option<u8> {
        let mut code = None;
        for action in actions {
            match action {
                Action::Prepare(generation) => self.prepare(generation, machine, events),
                Action::Spawn(worker) => {
                    let mut tell = |what| events.push_back(Event::Worker { worker, what });
                    match self.spawn(worker) {
                        Err(error) => tell(WorkerEvent::SpawnFailed { error: error.to_string() }),
                        Ok((pid, sent)) => {
                            tell(WorkerEvent::Spawned { pid });
                            if let Err(error) = sent {
                                let error = format!("the exec helper cannot be given its orders: {error}");
                                tell(WorkerEvent::ExecFailed { error });
                            }
                        }
                    }
                }
                Action::Check(worker) => {
                    self.command(worker, |commands| commands.check.as_ref(), WorkerEvent::Checked, events);
                }
                Action::WarmUp(worker) => {
                    self.command(worker, |commands| commands.warm_up.as_ref(), WorkerEvent::WarmedUp, events);
                }
                Action::Probe(worker) => self.probe(worker, events),
                Action::Abort(worker) => self.with(worker, Process::abort),
                Action::Go(worker) => self.with(worker, Process::go),
                Action::Drain(worker, reason) => {
                    self.gates.remove(&worker);
                    // What it says of its drain is not what was wrong with it.
                    if let Some(process) = self.processes.get(&worker) {
                        self.words.insert(worker, quote(process));
                    }
                    self.with(worker, |process| process.drain(reason));
                }
                Action::Kill(worker) => {
                    self.gates.remove(&worker);
                    self.with(worker, Process::kill);
                }
                Action::Forget(generation) => {
                    self.frozen.remove(&generation);
                    self.configs.remove(&generation);
                    self.asked.remove(&generation);
                    if let Some(command) = self.preparing.remove(&generation) {
                        let _ = command.kill_group();
                    }
                    self.words.retain(|worker, _| worker.generation != generation);
                    self.handle.operations.drained(|later| machine.leaving.iter().any(|run| run.id < later));
                }
                Action::Answer(operation, answer) => self.answer(now, machine, operation, &answer),
                Action::Report(report) => self.report(now, machine, report),
                Action::Exit(with) => code = Some(with),
            }
        }
        code
    }

    fn with(&self, worker: WorkerId, tell: impl FnOnce(&Process)) {
        if let Some(process) = self.processes.get(&worker) {
            tell(process);
        }
    }

    /// Freezes a generation; then the operator's command may still object.
    fn prepare(&mut self, generation: Generation, machine: &Machine, events: &mut VecDeque<Event>) {
        let boot = matches!(machine.fleet, Fleet::Booting(_));
        let plan = self.freeze(generation, boot);
        let started = match (&plan, boot) {
            (Ok(_), false) => self.start_hook(generation, machine),
            (Ok(_) | Err(_), _) => Ok(None),
        };
        match started {
            Ok(None) => events.push_back(Event::Prepared { generation, plan }),
            Ok(Some((command, timeout))) => {
                self.preparing.insert(generation, command.child());
                let now = crate::os::time::now();
                self.service_manager.extend(now, now + timeout);
                let (inbox, operations) = (self.handle.inbox.clone(), self.handle.operations.clone());
                let began = crate::os::time::now();
                tokio::task::spawn_local(async move {
                    let result = command.end(timeout).await;
                    let took = crate::os::time::now().since(began);
                    super::report::hook_ended(&operations, generation, "before_restart", &result, took);
                    let plan =
                        result.map_err(|said| Failure::Prepare(format!("hooks.before_restart: {said}"))).and(plan);
                    let _ = inbox.send(Message::Event(Event::Prepared { generation, plan })).await;
                });
            }
            Err(error) => {
                let plan = Err(Failure::Prepare(format!("hooks.before_restart: {error}")));
                events.push_back(Event::Prepared { generation, plan });
            }
        }
    }

    fn start_hook(
        &self,
        generation: Generation,
        machine: &Machine,
    ) -> io::Result<Option<(Command, std::time::Duration)>> {
        let Some(frozen) = self.frozen.get(&generation) else { return Ok(None) };
        let Some(program) = &frozen.commands.before_restart else { return Ok(None) };
        let asked_by = machine.candidate().map(|c| c.request.asked_by.clone()).unwrap_or_default();
        let previous = machine.current().map(|run| run.id);
        let more = super::report::hook_variables(previous, asked_by, "starting", None);
        let spec = frozen.command_spec(program, more);
        Ok(Some((Command::start(&spec, program, &self.claims)?, frozen.config.hooks.timeout)))
    }

    fn freeze(&mut self, generation: Generation, boot: bool) -> Result<crate::machine::plan::Plan, Failure> {
        let config = if boot {
            self.parts.config.clone()
        } else {
            self.load().map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Failure::Config(lines.join("\n"))
            })?
        };
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let listeners = self.gather(&config).map_err(Failure::Prepare)?;
        let frozen = Frozen::freeze(generation, &config, listeners, &self.parts.runtime).map_err(Failure::Prepare)?;
        let plan = frozen.plan();
        self.frozen.insert(generation, frozen);
        self.configs.insert(generation, config);
        Ok(plan)
    }

    /// The configuration as it is now.
    pub(super) fn load(&self) -> Result<Config, Vec<Problem>> {
        let mut config = Config::load(&self.parts.cli)?;
        if let (Some(passed), false) = (&self.parts.passed, config.listeners_asked_for) {
            let nonblocking = config.listeners.first().map(|spec| spec.nonblocking);
            config.listeners.clone_from(passed);
            config.listeners.iter_mut().for_each(|spec| spec.nonblocking = nonblocking.unwrap_or(spec.nonblocking));
        }
        Ok(config)
    }

    /// The sockets of a configuration: those that there are, and new ones for what is new.
    fn gather(&mut self, config: &Config) -> Result<Vec<Listening>, String> {
        let booted = std::mem::take(&mut self.parts.listeners);
        self.sockets.extend(booted.iter().map(Rc::downgrade));
        self.sockets.retain(|socket| socket.strong_count() > 0);
        let all: Vec<&Listening> = self.frozen.values().flat_map(|frozen| &frozen.listeners).collect();
        let names = |socket: &Rc<Listener>| {
            let with = all.iter().filter(|listening| Rc::ptr_eq(&listening.socket, socket));
            with.map(|listening| listening.spec.name.clone()).collect()
        };
        let upgraded = self.sockets.iter().filter_map(Weak::upgrade);
        let existing: Vec<Existing> = upgraded.map(|socket| Existing { names: names(&socket), socket }).collect();
        let listeners = gather(&config.listeners, &existing).map_err(|error| error.to_string())?;
        for listening in &listeners {
            if !existing.iter().any(|there| Rc::ptr_eq(&there.socket, &listening.socket)) {
                self.sockets.push(Rc::downgrade(&listening.socket));
                tracing::info!(name = listening.spec.name, "listening on {}", listening.socket.address);
            }
        }
        Ok(listeners)
    }

    /// What counts in place counts from now on; what needs a new start is named.
    pub(super) fn apply(&mut self, mut config: Config) {
        let fixed = self.parts.config.fixed.changed(&config.fixed);
        if !fixed.is_empty() {
            tracing::warn!("changed, but counts only from a new start of the supervisor: {}", fixed.join(", "));
        }
        self.fixed_seen = config.fixed.clone();
        config.fixed = self.parts.config.fixed.clone();
        self.parts.config = config;
    }

    /// The generation serves now: its settings count, and its sockets are as it wants them.
    pub(super) fn take_effect(&mut self, generation: Generation) {
        if let Some(config) = self.configs.remove(&generation) {
            self.apply(config);
        }
        let Some(frozen) = self.frozen.get(&generation) else { return };
        for listening in &frozen.listeners {
            if let Err(error) = listening.socket.apply(&listening.spec) {
                tracing::error!(name = listening.spec.name, "listener: mode, owner or backlog: {error}");
            }
        }
    }

    /// Makes a process, and gives it its orders; without them it exits by itself.
    fn spawn(&mut self, id: WorkerId) -> io::Result<(i32, io::Result<()>)> {
        let frozen = self.frozen.get(&id.generation).ok_or_else(|| io::Error::other("its generation is gone"))?;
        let place = |what: &str| self.parts.runtime.join(format!("{id}.{what}"));
        let notify = NotifySocket::bind(&place("notify"), frozen.owner)?;
        let channel = match frozen.config.channel {
            true => {
                let listener = ChannelListener::bind(&place("channel"), frozen.owner)?;
                let channel = listener.connect()?;
                Some((listener, channel))
            }
            false => None,
        };
        let own = |on: bool| on.then(|| PrivateListener::bind(&place("private"), frozen.owner, frozen.config.channel));
        let private = own(frozen.config.private_listener).transpose()?;
        let spec = frozen.spec(id, notify.path());
        let words = LastWords::begin();

        let helper = spawn::start()?;
        let pid = helper.child.pid();
        self.claims.borrow_mut().insert(pid);
        let stop_signal = frozen.config.stop_signal;
        let own = Own { channel, private };
        let process = Rc::new(Process::new(id, helper.child, notify, own, stop_signal, words));
        self.processes.insert(id, Rc::clone(&process));
        let mut fds: Vec<BorrowedFd<'_>> = vec![frozen.program.executable.as_fd()];
        fds.extend(frozen.listeners.iter().map(|listening| listening.socket.as_fd()));
        fds.extend(process.private().map(AsFd::as_fd));
        fds.extend(process.channel_fd());
        // Recorded: now it may become the worker.
        let sent = helper.link.send(&spec, &fds);
        tokio::task::spawn_local(process.watch(helper.link, self.handle.inbox.clone(), Rc::clone(&self.claims)));
        Ok((pid.as_raw(), sent))
    }

    /// Runs a command of the operator's for a worker.
    fn command(
        &mut self,
        id: WorkerId,
        choose: impl Fn(&super::frozen::Commands) -> Option<&Program>,
        tell: fn(Result<(), String>) -> WorkerEvent,
        events: &mut VecDeque<Event>,
    ) {
        match self.start_command(id, choose) {
            Ok((command, timeout)) => {
                let inbox = self.handle.inbox.clone();
                self.gates.insert(id, Gate::Command(command.child()));
                // The machine's own deadline, which the worker may extend, comes first.
                let timeout = timeout.saturating_mul(LONGEST);
                tokio::task::spawn_local(async move {
                    let what = tell(command.end(timeout).await);
                    // Closed only when the driver has left.
                    let _ = inbox.send(Message::Event(Event::Worker { worker: id, what })).await;
                });
            }
            Err(error) => events.push_back(Event::Worker { worker: id, what: tell(Err(error.to_string())) }),
        }
    }

    fn start_command(
        &self,
        id: WorkerId,
        choose: impl Fn(&super::frozen::Commands) -> Option<&Program>,
    ) -> io::Result<(Command, std::time::Duration)> {
        let frozen = self.frozen.get(&id.generation).ok_or_else(|| io::Error::other("its generation is gone"))?;
        let process = self.processes.get(&id).ok_or_else(|| io::Error::other("the worker is gone"))?;
        let program = choose(&frozen.commands).ok_or_else(|| io::Error::other("no command is set"))?;
        let mut more = vec![(inherit::GIN_SLOT, id.slot.to_string()), ("GIN_WORKER_PID", process.pid().to_string())];
        if let Some(private) = process.private() {
            more.push((inherit::GIN_PRIVATE_SOCKET, private.path().display().to_string()));
        }
        let spec = frozen.command_spec(program, more);
        Ok((Command::start(&spec, program, &self.claims)?, frozen.config.ready_timeout))
    }

    /// Probes a worker; the machine sets the end.
    fn probe(&mut self, id: WorkerId, events: &mut VecDeque<Event>) {
        let frozen = self.frozen.get(&id.generation);
        let private = self.processes.get(&id).and_then(|process| process.private());
        let (Some(settings), Some(private)) = (frozen.and_then(|frozen| frozen.config.probe.clone()), private) else {
            let what = WorkerEvent::Probed(Err("there is nothing to ask".to_owned()));
            return events.push_back(Event::Worker { worker: id, what });
        };
        let (inbox, socket) = (self.handle.inbox.clone(), private.path().to_owned());
        let task = tokio::task::spawn_local(async move {
            let what = WorkerEvent::Probed(probe(&socket, &settings).await);
            let _ = inbox.send(Message::Event(Event::Worker { worker: id, what })).await;
        });
        self.gates.insert(id, Gate::Probe(task.abort_handle()));
    }

    fn answer(&self, now: Moment, machine: &Machine, operation: OperationId, answer: &Answer) {
        let (exit, text) = match answer {
            Answer::Restarted { generation, previous } => {
                (exit::DONE, format!("generation {generation} serves; generation {previous} drains"))
            }
            Answer::Scaled(workers) => (exit::DONE, format!("{workers} workers serve")),
            Answer::Incomplete { failure, workers } => (
                exit::FAILED,
                format!("there are to be {workers} workers, but one failed and is tried again: {failure}"),
            ),
            Answer::CancelDone => (exit::DONE, "cancelled".to_owned()),
            Answer::Stopped => (exit::DONE, "stopped".to_owned()),
            Answer::Failed(failure @ Failure::Config(_)) => {
                (exit::USAGE, format!("the configuration cannot be used; nothing changed\n{failure}"))
            }
            Answer::Failed(failure) => {
                let what = match self.handle.operations.failed_generation(operation) {
                    Some(generation) => format!("generation {generation} failed"),
                    None => failure.to_string(),
                };
                (exit::FAILED, format!("{what}; nothing changed{}", still_serves(machine)))
            }
            Answer::Cancelled(because) => {
                (exit::TIMED_OUT, format!("cancelled: {because}; nothing changed{}", still_serves(machine)))
            }
            Answer::Busy(text) => (exit::BUSY, text.clone()),
            Answer::Refused(text) => (exit::REFUSED, text.clone()),
        };
        self.handle.operations.end(now, operation, exit, text);
    }

    /// What a worker wrote before it failed.
    pub(super) fn last_words(&self, worker: WorkerId) -> Vec<String> {
        match (self.words.get(&worker), self.processes.get(&worker)) {
            (Some(words), _) => words.clone(),
            (None, Some(process)) => quote(process),
            (None, None) => Vec::new(),
        }
    }
}

fn quote(process: &Process) -> Vec<String> {
    let written = process.words.as_ref().map(|words| words.quote(crate::telemetry::is_ours)).unwrap_or_default();
    let said = process.said.borrow().clone();
    if written.is_empty() { said.into_iter().collect() } else { written }
}

pub(super) fn still_serves(machine: &Machine) -> String {
    machine.current().map_or_else(String::new, |run| {
        let filling = if run.is_degraded() { ", and fills its slots again" } else { "" };
        format!(": generation {} serves, {}/{}{filling}", run.id, run.serving(), run.plan.workers)
    })
}
