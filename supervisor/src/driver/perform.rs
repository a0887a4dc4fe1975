//! Actions become system calls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use gin_shared::control::OperationId;
use gin_shared::exit;
use gin_shared::generation::{Generation, WorkerId};

use super::frozen::Frozen;
use super::process::{Claims, Process};
use super::{Handle, Message, Parts};
use crate::config::{Config, Master};
use crate::machine::Machine;
use crate::machine::action::{Action, Answer};
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::{Exit, Failure};
use crate::machine::fleet::Fleet;
use crate::machine::moment::Moment;
use crate::os::channel::ChannelListener;
use crate::os::listener::Listener;
use crate::os::notify::NotifySocket;
use crate::os::words::LastWords;
use crate::os::{orphan, spawn};

/// What the machine's wishes are carried out with.
#[derive(Debug)]
pub struct Performer {
    pub(super) parts: Parts,
    pub(super) handle: Handle,
    pub(super) frozen: HashMap<Generation, Frozen>,
    pub(super) processes: HashMap<WorkerId, Rc<Process>>,
    /// The last words of a worker whose process is gone, until its generation is.
    pub(super) words: HashMap<WorkerId, Vec<String>>,
    pub(super) started: Moment,
    pub(super) booted: bool,
    claims: Claims,
}

impl Performer {
    /// With nothing running.
    #[must_use]
    pub fn new(parts: Parts, handle: Handle) -> Self {
        Self {
            parts,
            handle,
            frozen: HashMap::new(),
            processes: HashMap::new(),
            words: HashMap::new(),
            started: crate::os::time::now(),
            booted: false,
            claims: Rc::new(RefCell::new(HashSet::new())),
        }
    }

    /// What counts from the master's start.
    #[must_use]
    pub fn master(&self) -> &Master {
        &self.parts.config.master
    }

    /// Reaps dead children that are no workers.
    pub fn reap_orphans(&self) {
        orphan::reap(|pid| self.claims.borrow().contains(&pid));
    }

    /// Lets an event through to the machine, unless the configuration forbids it.
    pub fn admit(&mut self, now: Moment, machine: &Machine, event: Event) -> Option<Event> {
        let serving = machine.current().and_then(|run| self.frozen.get(&run.id));
        match &event {
            Event::Restart { operation, asked_by, .. } if serving.is_some_and(|frozen| !frozen.config.hot_restart) => {
                let text = "features.hot_restart = false: a restart is refused".to_owned();
                tracing::warn!("{asked_by}: {text}");
                operation.iter().for_each(|id| self.handle.operations.end(now, *id, exit::REFUSED, text.clone()));
                None
            }
            Event::Worker { worker, what: WorkerEvent::Exited { .. } } => {
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
                Action::Prepare(generation) => {
                    let plan = self.prepare(generation, matches!(machine.fleet, Fleet::Booting(_)));
                    events.push_back(Event::Prepared { generation, plan });
                }
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
                Action::Check(worker) => self.check(worker, events),
                Action::Go(worker) => self.with(worker, Process::go),
                Action::Drain(worker, reason) => self.with(worker, |process| process.drain(reason)),
                Action::Kill(worker) => self.with(worker, Process::kill),
                Action::Forget(generation) => {
                    self.frozen.remove(&generation);
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

    fn prepare(&mut self, generation: Generation, boot: bool) -> Result<crate::machine::plan::Plan, Failure> {
        let config = if boot {
            self.parts.config.clone()
        } else {
            Config::load(&self.parts.cli).map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Failure::Config(lines.join("\n"))
            })?
        };
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if config.master != self.parts.config.master {
            tracing::warn!(
                "listeners, sockets, PID file or signals differ in the configuration now; they count from the next start of the supervisor"
            );
        }
        let frozen = Frozen::freeze(generation, &config, &self.parts.runtime).map_err(Failure::Prepare)?;
        let plan = frozen.plan();
        self.frozen.insert(generation, frozen);
        Ok(plan)
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
        let names: Vec<String> = self.parts.listeners.iter().map(|l| l.spec.name.clone()).collect();
        let spec = frozen.spec(id, &names, notify.path());
        let words = LastWords::begin();

        let helper = spawn::start()?;
        let pid = helper.child.pid();
        self.claims.borrow_mut().insert(pid);
        let stop_signal = frozen.config.stop_signal;
        let process = Rc::new(Process::new(id, helper.child, notify, channel, stop_signal, words));
        self.processes.insert(id, Rc::clone(&process));
        let listeners: Vec<_> = self.parts.listeners.iter().map(Listener::fd).collect();
        let mut fds: Vec<BorrowedFd<'_>> = vec![frozen.executable.as_fd()];
        fds.extend(listeners.iter().map(AsFd::as_fd));
        fds.extend(process.channel_fd());
        // Recorded: now it may become the worker.
        let sent = helper.link.send(&spec, &fds);
        tokio::task::spawn_local(process.watch(helper.link, self.handle.inbox.clone(), Rc::clone(&self.claims)));
        Ok((pid.as_raw(), sent))
    }

    fn check(&mut self, id: WorkerId, events: &mut VecDeque<Event>) {
        if let Err(error) = self.start_check(id) {
            events.push_back(Event::Worker { worker: id, what: WorkerEvent::Checked(Err(error.to_string())) });
        }
    }

    fn start_check(&self, id: WorkerId) -> io::Result<()> {
        let frozen = self.frozen.get(&id.generation).ok_or_else(|| io::Error::other("its generation is gone"))?;
        let process = self.processes.get(&id).ok_or_else(|| io::Error::other("the worker is gone"))?;
        let (spec, executable) =
            frozen.check_spec(id, process.pid()).ok_or_else(|| io::Error::other("no check is set"))?;
        let helper = spawn::start()?;
        // If this fails the helper reads EOF, exits, and is reaped as an orphan.
        helper.link.send(&spec, &[executable.as_fd()])?;
        self.claims.borrow_mut().insert(helper.child.pid());
        let (inbox, claims, timeout) =
            (self.handle.inbox.clone(), Rc::clone(&self.claims), frozen.config.ready_timeout);
        tokio::task::spawn_local(async move {
            let ended = tokio::time::timeout(timeout, async {
                let failed = helper.link.outcome().await.ok().flatten();
                let _ = helper.child.exited().await;
                failed
            });
            let ended = ended.await;
            let _ = helper.child.kill_group();
            let _ = helper.child.exited().await;
            let exit = helper.child.reap();
            claims.borrow_mut().remove(&helper.child.pid());
            orphan::reap(|pid| claims.borrow().contains(&pid));
            let result = match (ended, exit) {
                (Err(_), _) => Err("it did not end in time".to_owned()),
                (Ok(Some(error)), _) => Err(error),
                (Ok(None), Exit::Code(0)) => Ok(()),
                (Ok(None), exit) => Err(format!("it {exit}")),
            };
            let event = Event::Worker { worker: id, what: WorkerEvent::Checked(result) };
            // Closed only when the driver has left.
            let _ = inbox.send(Message::Event(event)).await;
        });
        Ok(())
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
        match self.processes.get(&worker) {
            Some(process) => quote(process),
            None => self.words.get(&worker).cloned().unwrap_or_default(),
        }
    }
}

fn quote(process: &Process) -> Vec<String> {
    let written = process.words.as_ref().map(|words| words.quote(crate::telemetry::is_ours)).unwrap_or_default();
    let said = process.said.borrow().clone();
    if written.is_empty() { said.into_iter().collect() } else { written }
}

fn still_serves(machine: &Machine) -> String {
    machine.current().map_or_else(String::new, |run| {
        format!(": generation {} serves, {}/{}", run.id, run.serving(), run.plan.workers)
    })
}
