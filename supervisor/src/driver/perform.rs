//! Actions become system calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use gin_shared::channel::{DrainReason, Fates, FromMaster};
use gin_shared::control::OperationId;
use gin_shared::exit;
use gin_shared::generation::{Generation, Slot, WorkerId};
use gin_shared::state::ProcessId;
use gin_shared::status::Drained;

use super::Parts;
use super::command::{Claim, Claims};
use super::frozen::Frozen;
use super::gates::Gate;
use super::process::{Own, Process};
use super::service_manager::ServiceManager;
use crate::config::{Config, Fixed, Live};
use crate::inbox::Handle;
use crate::machine::Machine;
use crate::machine::action::{Action, Answer, GenerationAction, MasterAction, WorkerAction};
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::Failure;
use crate::moment::Moment;
use crate::os::channel::ChannelListener;
use crate::os::listener::Listener;
use crate::os::notify::NotifySocket;
use crate::os::pidfd::Child;
use crate::os::private::PrivateListener;
use crate::os::runtime::worker_file;
use crate::os::words::LastWords;
use crate::os::{fault, orphan, spawn};

/// What a generation was made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The operation.
    pub(super) operation: Option<u64>,
    /// What served then.
    pub(super) previous: Option<Generation>,
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
    /// What became of the connections of workers that are gone: by generation, until it is gone, and of all.
    pub(super) fates: HashMap<Generation, Fates>,
    pub(super) all_fates: Fates,
    pub(super) drained: Option<Drained>,
    pub(super) started: Moment,
    /// The master's own process.
    pub(super) identity: ProcessId,
    pub(super) booted: bool,
    pub(super) service_manager: ServiceManager,
    pub(super) claims: Claims,
    /// The sockets that any generation has; they close with the last one that does.
    pub(super) sockets: Vec<Weak<Listener>>,
    /// What a worker has to pass just now; it ends with the worker's wish to serve.
    pub(super) gates: HashMap<WorkerId, Gate>,
    /// What the configuration said last of what counts from a new start alone.
    pub(super) fixed_seen: Fixed,
    /// What a generation was made for.
    pub(super) asked: HashMap<Generation, Asked>,
    /// The configurations of generations that do not serve yet.
    pub(super) configs: HashMap<Generation, Config>,
    /// Commands that a generation waits for before it is started.
    pub(super) preparing: HashMap<Generation, Rc<Child>>,
    /// The version of the program that is to become the master.
    pub(super) successor: Option<String>,
    /// Which file was checked.
    pub(super) checked: Option<(u64, u64, i64, i64)>,
}

impl Performer {
    /// With nothing running.
    #[must_use]
    pub fn new(mut parts: Parts, handle: Handle) -> Self {
        let stored = std::mem::take(&mut parts.stored);
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        Self {
            fixed_seen: parts.config.fixed.clone(),
            started: parts.started,
            identity: ProcessId::of(own).unwrap_or(ProcessId { pid: own, started: 0 }),
            parts,
            handle,
            frozen: HashMap::new(),
            processes: HashMap::new(),
            words: HashMap::new(),
            fates: HashMap::new(),
            all_fates: Fates::default(),
            drained: None,
            booted: false,
            service_manager: ServiceManager::from_env(stored),
            claims: Rc::new(RefCell::new(HashMap::new())),
            sockets: Vec::new(),
            gates: HashMap::new(),
            asked: HashMap::new(),
            configs: HashMap::new(),
            preparing: HashMap::new(),
            successor: None,
            checked: None,
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
        orphan::reap(|pid| self.claims.borrow().contains_key(&pid));
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
            Event::Restart { operation, asked_by, .. } | Event::Rollback { operation, asked_by }
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
                self.sockets.iter().filter_map(Weak::upgrade).for_each(|socket| socket.reopen());
                for what in ["notify", "channel", "private"] {
                    // Mostly gone already; one that an older master made may not be known.
                    let _ = std::fs::remove_file(worker_file(&self.parts.paths.runtime, *worker, what));
                }
                if let Some(process) = self.processes.remove(worker) {
                    if let Some(fates) = process.fates() {
                        // What was still open has ended with it.
                        let fates = Fates { open: 0, cut: fates.cut + fates.open, ..fates };
                        let text = format!("the worker's connections: {fates}");
                        tracing::info!(generation = worker.generation.0, slot = worker.slot.0, "{text}");
                        self.event(text, Some(worker.generation), Some(*worker));
                        let sum = self.fates.entry(worker.generation).or_default();
                        *sum = *sum + fates;
                        self.all_fates = self.all_fates + fates;
                    }
                    // Only the last one of a slot is ever quoted.
                    self.words.retain(|id, _| (id.generation, id.slot) != (worker.generation, worker.slot));
                    self.words.insert(*worker, quote(&process));
                    self.redirect(Some(*worker), machine);
                }
                Some(event)
            }
            Event::Restart { .. }
            | Event::Cancel { .. }
            | Event::Scale { .. }
            | Event::Stop { .. }
            | Event::Rollback { .. }
            | Event::Reexec { .. }
            | Event::ReexecChecked(_)
            | Event::ReexecFailed(_)
            | Event::Reexeced
            | Event::Adopted { .. }
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
                Action::Generation(generation, GenerationAction::Prepare { from }) => {
                    self.prepare(generation, from, machine, events)
                }
                Action::Generation(generation, GenerationAction::Keep) => {
                    if let Some(frozen) = self.frozen.get_mut(&generation) {
                        frozen.listeners.close();
                    }
                    self.gone(generation, machine);
                }
                Action::Master(MasterAction::CheckReexec) => self.check_reexec(machine, events),
                Action::Master(MasterAction::Reexec) => self.pause_for_reexec(),
                Action::Worker(worker, WorkerAction::Spawn) => {
                    let mut tell = |what| events.push_back(Event::Worker { worker, what });
                    match self.spawn(worker, machine) {
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
                Action::Worker(worker, WorkerAction::Check) => {
                    self.command(worker, machine, |commands| commands.check.as_ref(), WorkerEvent::Checked, events);
                }
                Action::Worker(worker, WorkerAction::WarmUp) => {
                    self.command(worker, machine, |commands| commands.warm_up.as_ref(), WorkerEvent::WarmedUp, events);
                }
                Action::Worker(worker, WorkerAction::Probe) => self.probe(worker, events),
                Action::Worker(worker, WorkerAction::Abort) => self.with(worker, Process::abort),
                Action::Worker(worker, WorkerAction::Go) => self.with(worker, Process::go),
                Action::Worker(worker, WorkerAction::Drain(reason)) => {
                    self.gates.remove(&worker);
                    // What it says of its drain is not what was wrong with it.
                    if let Some(process) = self.processes.get(&worker) {
                        self.words.insert(worker, quote(process));
                    }
                    let is_upgrade = reason == DrainReason::Upgrade;
                    let takers = if is_upgrade { self.takers(worker, Some(worker), machine) } else { Vec::new() };
                    // First those whose connections it would have been given.
                    self.redirect(Some(worker), machine);
                    self.with(worker, |process| process.drain(reason, &takers));
                }
                Action::Worker(worker, WorkerAction::Kill) => {
                    self.gates.remove(&worker);
                    if let Some(process) = self.processes.get(&worker) {
                        Process::kill(process);
                    }
                }
                Action::Generation(generation, GenerationAction::Forget) => {
                    self.frozen.remove(&generation);
                    self.configs.remove(&generation);
                    self.asked.remove(&generation);
                    if let Some(command) = self.preparing.remove(&generation) {
                        let _ = command.kill_group();
                    }
                    self.gone(generation, machine);
                }
                Action::Answer(operation, answer) => self.answer(now, machine, operation, &answer),
                Action::Report(report) => self.report(now, machine, report),
                Action::Master(MasterAction::Exit(with)) => {
                    self.parts.state_file.remove();
                    code = Some(with);
                }
            }
        }
        code
    }

    /// It has no worker left.
    fn gone(&mut self, generation: Generation, machine: &Machine) {
        self.words.retain(|worker, _| worker.generation != generation);
        let fates = self.fates.remove(&generation);
        self.drained = fates.map(|connections| Drained { generation, connections }).or(self.drained);
        self.handle.operations.drained(fates, |later| machine.leaving.iter().any(|run| run.id < later));
    }

    /// Who is to have the connections of `leaver`, but for one that ends: the machine may not know of that yet.
    fn takers(&self, leaver: WorkerId, ends: Option<WorkerId>, machine: &Machine) -> Vec<Rc<Process>> {
        let takers = machine.takers(leaver, |id| self.takes(*id, ends));
        takers.iter().filter_map(|taker| self.processes.get(taker).cloned()).collect()
    }

    fn takes(&self, id: WorkerId, ends: Option<WorkerId>) -> bool {
        Some(id) != ends && self.processes.get(&id).is_some_and(|process| process.takes())
    }

    /// Whoever drains and has nobody to hand connections to, once `ends` takes none any more, hands them to others.
    pub(super) fn redirect(&self, ends: Option<WorkerId>, machine: &Machine) {
        if machine.current().is_none() {
            return;
        }
        let takes = |id: &WorkerId| self.takes(*id, ends);
        for process in self.processes.values().filter(|process| process.lacks_takers(takes)) {
            process.redirect(&self.takers(process.id, ends, machine));
        }
    }

    fn with(&self, worker: WorkerId, tell: impl FnOnce(&Process)) {
        if let Some(process) = self.processes.get(&worker) {
            tell(process);
        }
    }

    /// Makes a process, and gives it its orders; without them it exits by itself.
    fn spawn(&mut self, id: WorkerId, machine: &Machine) -> io::Result<(i32, io::Result<()>)> {
        let frozen = self.frozen.get(&id.generation).ok_or_else(|| io::Error::other("its generation is gone"))?;
        let place = |what: &str| worker_file(&self.parts.paths.runtime, id, what);
        let notify = NotifySocket::bind(&place("notify"), frozen.owner())?;
        let channel = match frozen.config.channel {
            true => {
                let listener = ChannelListener::bind(&place("channel"), frozen.owner())?;
                let channel = listener.connect()?;
                Some((listener, channel))
            }
            false => None,
        };
        let own =
            |on: bool| on.then(|| PrivateListener::bind(&place("private"), frozen.owner(), frozen.config.channel));
        let private = own(frozen.config.private_listener).transpose()?;
        let spec = frozen.spec(id, notify.path());
        let words = LastWords::begin();
        frozen.program.executable()?;

        let helper = spawn::start()?;
        let pid = helper.child.pid();
        // It is our child, and waits: it can be looked at.
        let identity = ProcessId::read(pid.as_raw())?.ok_or_else(|| io::Error::other("it is gone"))?;
        self.claims.borrow_mut().insert(pid, Claim::Worker);
        let stop_signal = frozen.config.stop_signal;
        let own = Own { channel, private };
        let process = Rc::new(Process::new(id, helper.child, notify, own, stop_signal, words, identity));
        self.processes.insert(id, Rc::clone(&process));
        let _ = fault::at("spawn.unrecorded");
        // A kill before this leaves a helper that ends by itself; a kill after it, one that is known.
        self.keep(machine);
        let _ = fault::at("spawn.recorded");
        let frozen = self.frozen.get(&id.generation).ok_or_else(|| io::Error::other("its generation is gone"))?;
        let mut fds: Vec<BorrowedFd<'_>> = vec![frozen.program.executable()?];
        fds.extend(frozen.listeners.open().iter().map(|listening| listening.socket.as_fd()));
        fds.extend(process.private().and_then(PrivateListener::fd));
        fds.extend(process.channel_fd());
        fds.extend(frozen.config.channel.then(|| self.parts.memory.as_fd()));
        let sent = helper.link.send(&spec, &fds);
        let _ = fault::at("spawn.sent");
        super::task::spawn(process.watch(Some(helper.link), self.handle.inbox.clone(), Rc::clone(&self.claims)));
        Ok((pid.as_raw(), sent))
    }

    /// Says the same to all workers that understand it; gives how many.
    pub(super) fn tell_all(&self, message: &FromMaster) -> usize {
        self.processes.values().filter(|process| process.hear(message)).count()
    }

    /// Where the worker in this place can be asked: the latest of it.
    pub(super) fn private(&self, generation: Generation, slot: Slot) -> Option<PathBuf> {
        let in_place = |process: &&Rc<Process>| process.id.generation == generation && process.id.slot == slot;
        let latest = self.processes.values().filter(in_place).max_by_key(|process| process.id.attempt)?;
        Some(latest.private()?.path().to_owned())
    }

    fn answer(&self, now: Moment, machine: &Machine, operation: OperationId, answer: &Answer) {
        let (exit, text) = match answer {
            Answer::Restarted { generation, previous } => {
                let elsewhere = match (&machine.history.iter().next_back(), self.frozen.get(generation)) {
                    (Some(record), Some(frozen)) if record.rollback.is_some() => frozen.points_elsewhere(),
                    _ => None,
                };
                let elsewhere = elsewhere.map(|text| format!("; but {text}")).unwrap_or_default();
                (exit::DONE, format!("generation {generation} serves; generation {previous} drains{elsewhere}"))
            }
            Answer::Scaled(workers) => (exit::DONE, format!("{workers} workers serve")),
            Answer::Incomplete { failure, workers } => (
                exit::FAILED,
                format!("there are to be {workers} workers, but one failed and is tried again: {failure}"),
            ),
            Answer::CancelDone => (exit::DONE, "cancelled".to_owned()),
            Answer::Stopped => (exit::DONE, "stopped".to_owned()),
            Answer::Reexeced => {
                let workers = match self.processes.len() {
                    1 => "1 worker".to_owned(),
                    count => format!("{count} workers"),
                };
                let version = env!("CARGO_PKG_VERSION");
                let pid = std::process::id();
                (
                    exit::DONE,
                    format!("gin-supervisor {version} is the master now, pid {pid} as before; {workers} went on"),
                )
            }
            Answer::Died => {
                let text = "the supervisor died before it was done; gin-ctl status tells what serves";
                (exit::FAILED, text.to_owned())
            }
            Answer::NotReexeced(why) => {
                let exit = if let Failure::Config(_) = why { exit::USAGE } else { exit::FAILED };
                (exit, format!("the supervisor was not upgraded, and goes on as it is: {why}"))
            }
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
