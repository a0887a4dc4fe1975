//! The workers: their processes, the gates that they pass, and what becomes of their connections.
//!
//! A worker is started in three steps, which the driver takes one after the other: [`Workers::fork`] makes a process that
//! waits, the driver saves the state, and [`Workers::start`] sends the process its orders. So no worker exists that no state
//! knows: without its orders the process ends by itself. The operator's commands start in the same way.

mod balance;
pub mod command;
pub mod gate;
pub mod owned_children;
pub mod probe;
pub mod process;
mod reading;
pub mod shared;
pub mod start;
pub mod tally;
mod watch;

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use gin_shared::channel::{DrainReason, Fates, FromMaster};
use gin_shared::generation::{Generation, Slot, WorkerId};
use gin_shared::reserve::Reserve;
use gin_shared::trace_context::TraceContext;
use tokio::sync::mpsc;

use crate::inbox::Message;
use crate::inbox::reading::Round;
use crate::machine::Machine;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::generation::Run;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::os::child::Child;
use crate::os::runtime::{remove_file, worker_file};
use crate::os::sessions;
use crate::os::shared_memory::Memories;
use crate::state::WorkerRecord;
use command::Command;
use gate::Gate;
use owned_children::OwnedChildren;
use process::Process;
use shared::Shared;
use tally::Tally;

/// The files of a worker in the runtime directory.
const FILES: [&str; 3] = ["notify", "channel", "private"];

/// Descriptors in reserve for a handover: a socket to each of 32 takers, and the other end of one.
const RESERVE: usize = 40;
/// Pause before a handover is tried again for which there was no descriptor, or certificates that could not be sent.
const RETRY: Duration = Duration::from_millis(500);

/// Descriptors for the sockets between workers.
#[derive(Debug)]
struct Spare {
    reserve: RefCell<Reserve>,
    /// The moment at which a handover is tried again that failed for want of them, or other messages that could not be sent.
    retry_at: Option<Moment>,
}

/// The workers of all generations.
#[derive(Debug)]
pub struct Workers {
    processes: HashMap<WorkerId, Rc<Process>>,
    children: OwnedChildren,
    /// The step of the gate that is under way for a worker.
    gates: HashMap<WorkerId, Gate>,
    /// The `before_restart` hooks that generations wait for.
    hooks: HashMap<Generation, Rc<Child>>,
    /// The last words of a worker that was told to finish or is gone, until its generation is gone.
    last_words: HashMap<WorkerId, Vec<String>>,
    tally: Tally,
    /// The round of reading that is under way, and the moment when it began.
    reading: Option<(Round, Moment)>,
    spare: Spare,
    /// True if a person at a terminal waits for the end of all workers.
    at_terminal: bool,
    /// The memories that workers share.
    shared: Rc<Shared>,
    runtime: PathBuf,
    inbox: mpsc::Sender<Message>,
}

impl Workers {
    /// No worker yet.
    #[must_use]
    pub fn new(memories: Memories, runtime: PathBuf, inbox: mpsc::Sender<Message>) -> Self {
        Self {
            processes: HashMap::new(),
            children: OwnedChildren::default(),
            gates: HashMap::new(),
            hooks: HashMap::new(),
            last_words: HashMap::new(),
            tally: Tally::default(),
            reading: None,
            spare: Spare { reserve: RefCell::new(Reserve::new(RESERVE)), retry_at: None },
            at_terminal: false,
            shared: Rc::new(Shared::new(memories)),
            runtime,
            inbox,
        }
    }
}

// Getters.
impl Workers {
    /// A worker that has a process.
    #[must_use]
    pub fn get(&self, id: WorkerId) -> Option<&Process> {
        self.processes.get(&id).map(Rc::as_ref)
    }

    /// All workers that have a process.
    pub fn ids(&self) -> impl Iterator<Item = WorkerId> {
        self.processes.keys().copied()
    }

    /// The number of workers that have a process.
    #[must_use]
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// The children that have a task of their own.
    #[must_use]
    pub fn children(&self) -> &OwnedChildren {
        &self.children
    }

    /// The course of connections of workers that are gone.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The course of a generation's connections; `None` while no worker of it drains.
    #[must_use]
    pub fn fates_of(&self, run: &Run) -> Option<Fates> {
        let gone = self.tally.of(run.id);
        let there: Vec<Fates> = run.workers().filter_map(|worker| self.get(worker.id)?.fates()).collect();
        if gone.is_none() && there.is_empty() { None } else { Some(there.into_iter().chain(gone).sum()) }
    }

    /// The course of all connections that workers had when they began to drain.
    #[must_use]
    pub fn all_fates(&self, machine: &Machine) -> Fates {
        let there = machine.runs().flat_map(Run::workers).filter_map(|worker| self.get(worker.id)?.fates());
        self.tally.total() + there.sum()
    }

    /// The last lines that a worker wrote before it was told to finish, or ended.
    #[must_use]
    pub fn last_words(&self, worker: WorkerId) -> Vec<String> {
        match (self.last_words.get(&worker), self.processes.get(&worker)) {
            (Some(words), _) => words.clone(),
            (None, Some(process)) => process.last_words(),
            (None, None) => Vec::new(),
        }
    }

    /// The last lines of the worker of a slot that ended last.
    #[must_use]
    pub fn last_words_in(&self, generation: Generation, slot: Slot) -> Vec<String> {
        let mut ended = self.last_words.iter().filter(|(id, _)| (id.generation, id.slot) == (generation, slot));
        ended.next().map(|(_, words)| words.clone()).unwrap_or_default()
    }

    /// The path of the private listener of the latest worker in a slot.
    #[must_use]
    pub fn private(&self, generation: Generation, slot: Slot) -> Option<PathBuf> {
        let in_slot = |process: &&Rc<Process>| process.id.generation == generation && process.id.slot == slot;
        let latest = self.processes.values().filter(in_slot).max_by_key(|process| process.id.attempt)?;
        Some(latest.private()?.path().to_owned())
    }

    /// The workers as the state file describes them. `drain_timeout` gives the time that a generation's workers have.
    #[must_use]
    pub fn records(&self, drain_timeout: impl Fn(Generation) -> Duration) -> Vec<WorkerRecord> {
        let record = |process: &Rc<Process>| process.record(drain_timeout(process.id.generation));
        let mut records: Vec<_> = self.processes.values().map(record).collect();
        records.sort_by_key(|worker| worker.id);
        records
    }

    /// The memories that workers share.
    #[must_use]
    pub fn memories(&self) -> &Memories {
        &self.shared.memories
    }

    /// The descriptors that a successor needs, by name.
    pub fn descriptors(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        self.processes.values().flat_map(|process| process.descriptors()).chain(self.shared.memories.descriptors())
    }

    /// Events for the workers of a generation whose processes hold more than `limit` bytes.
    #[must_use]
    pub fn weigh(&self, run: &Run, limit: u64) -> Vec<Event> {
        let sessions = sessions::all().by_leader;
        let heavy = run.workers().filter(|worker| worker.is_serving()).filter_map(|worker: &Worker| {
            let bytes = sessions.get(&worker.pid?)?.resident;
            (bytes > limit).then_some(Event::Worker { worker: worker.id, what: WorkerEvent::Overweight(bytes) })
        });
        heavy.collect()
    }
}

// What happened.
impl Workers {
    /// Remembers the hook that a generation waits for, so that it ends with the generation.
    pub fn hook_started(&mut self, generation: Generation, command: &Command) {
        self.hooks.insert(generation, command.child());
    }

    /// Handles the end of a step of a worker's gate.
    pub fn handle_gate_ended(&mut self, worker: WorkerId) {
        self.gates.remove(&worker);
    }

    /// Handles the end of the hook that a generation waited for.
    pub fn handle_hook_ended(&mut self, generation: Generation) {
        self.hooks.remove(&generation);
    }

    /// Handles the end of a worker. Gives what became of its connections, if it drained.
    pub fn handle_exited(&mut self, worker: WorkerId, machine: &Machine) -> Option<Fates> {
        self.gates.remove(&worker);
        for what in FILES {
            // Mostly gone already; a file that an older master made may not be known.
            remove_file(&worker_file(&self.runtime, worker, what));
        }
        let process = self.processes.remove(&worker)?;
        let fates = process.fates().map(|fates| self.tally.add(worker.generation, fates));
        // Only the last worker of a slot is ever quoted.
        self.last_words.retain(|id, _| (id.generation, id.slot) != (worker.generation, worker.slot));
        self.last_words.insert(worker, process.last_words());
        self.redirect(Some(worker), machine);
        fates
    }

    /// Handles the end of a generation's last worker. Gives what became of its connections.
    pub fn handle_generation_gone(&mut self, generation: Generation) -> Option<Fates> {
        self.last_words.retain(|worker, _| worker.generation != generation);
        self.tally.end(generation)
    }

    /// Handles the end of a generation that is dropped: a hook that it waits for is killed.
    pub fn handle_forgotten(&mut self, generation: Generation) {
        if let Some(hook) = self.hooks.remove(&generation) {
            let _ = hook.kill_group();
        }
    }
}

// Orders.
impl Workers {
    /// Lets a worker accept.
    pub fn go(&self, worker: WorkerId) {
        self.processes.get(&worker).into_iter().for_each(|process| process.go());
    }

    /// Ends a worker that hangs with a core dump.
    pub fn abort(&self, worker: WorkerId) {
        self.processes.get(&worker).into_iter().for_each(|process| process.abort());
    }

    /// Kills a worker and its process group.
    pub fn kill(&mut self, worker: WorkerId) {
        self.gates.remove(&worker);
        self.processes.get(&worker).into_iter().for_each(Process::kill);
    }

    /// Has workers that are told to stop from now on close at once what is idle: a person at a terminal waits (Ctrl-C).
    pub fn set_at_terminal(&mut self) {
        self.at_terminal = true;
    }

    /// Tells a worker to finish. In an upgrade its connections go to others. `trace`: the span that its drain belongs to.
    pub fn drain(&mut self, worker: WorkerId, reason: DrainReason, trace: Option<TraceContext>, machine: &Machine) {
        let Some(process) = self.leaves(worker, machine) else { return };
        let takers = match reason {
            DrainReason::Upgrade => self.takers(worker, Some(worker), machine),
            DrainReason::Stop => Vec::new(),
        };
        self.spare.reserve.borrow_mut().lend();
        process.drain(reason, self.at_terminal && reason == DrainReason::Stop, trace, &takers);
        self.spare.reserve.borrow_mut().fill();
    }

    /// Has a worker that ends by itself give its connections to others.
    pub fn hand_over(&mut self, worker: WorkerId, machine: &Machine) {
        let Some(process) = self.leaves(worker, machine) else { return };
        let takers = self.takers(worker, Some(worker), machine);
        self.spare.reserve.borrow_mut().lend();
        process.leave(&takers);
        self.spare.reserve.borrow_mut().fill();
    }

    /// Tells a worker without room which others may take idle connections of it.
    pub fn relieve(&self, worker: WorkerId, machine: &Machine) {
        let Some(process) = self.processes.get(&worker) else { return };
        let takes = |id: &WorkerId| self.processes.get(id).is_some_and(|other| other.takes() && !other.is_full());
        let relievers = machine.relievers(worker, takes);
        let relievers: Vec<_> = relievers.iter().filter_map(|other| self.processes.get(other).cloned()).collect();
        self.spare.reserve.borrow_mut().lend();
        process.relieve(&relievers);
        self.spare.reserve.borrow_mut().fill();
    }

    /// Names other workers that serve to one that drains, and whose takers do not take its connections.
    pub fn name_others(&self, worker: WorkerId, machine: &Machine) {
        let Some(process) = self.processes.get(&worker) else { return };
        process.set_takers_aside();
        let others = self.processes_of(&self.untried(worker, None, machine));
        let pid = process.pid();
        if others.is_empty() {
            tracing::debug!(%worker, pid, "the worker's takers do not take its connections, and no other worker can");
            return;
        }
        tracing::info!(%worker, pid, "the worker's takers do not take its connections: others do");
        self.spare.reserve.borrow_mut().lend();
        process.redirect(&others);
        self.spare.reserve.borrow_mut().fill();
    }

    /// Prepares for the end of a worker: whose connections it would have been given get other takers first.
    fn leaves(&mut self, worker: WorkerId, machine: &Machine) -> Option<Rc<Process>> {
        self.gates.remove(&worker);
        let process = self.processes.get(&worker).cloned();
        if let Some(process) = &process {
            // The lines that it writes while it drains do not tell what was wrong with it.
            self.last_words.insert(worker, process.last_words());
        }
        self.redirect(Some(worker), machine);
        process
    }

    /// Gives new takers to draining workers that lack them. `leaver` takes none any more.
    pub fn redirect(&self, leaver: Option<WorkerId>, machine: &Machine) {
        let takes = |id: &WorkerId| self.takes(*id, leaver);
        let lacking: Vec<_> = self.processes.values().filter(|process| process.lacks_takers(takes)).collect();
        if lacking.is_empty() {
            return;
        }
        self.spare.reserve.borrow_mut().lend();
        for process in lacking {
            process.redirect(&self.takers(process.id, leaver, machine));
        }
        self.spare.reserve.borrow_mut().fill();
    }

    /// The moment at which handovers without descriptors, and certificates that could not be sent, are tried again; `None`: there are none.
    #[must_use]
    pub fn retry_at(&mut self, now: Moment) -> Option<Moment> {
        let is_short = self.processes.values().any(|process| process.is_short() || process.lacks_material());
        self.spare.retry_at = is_short.then(|| self.spare.retry_at.unwrap_or(now + RETRY));
        self.spare.retry_at
    }

    /// Tries again what [`Self::retry_at`] names.
    pub fn retry(&mut self, machine: &Machine) {
        self.spare.retry_at = None;
        self.redirect(None, machine);
        self.send_material();
    }

    /// The workers that get the connections of `worker`; only if there are no others, those that it has tried. `leaver` is not among
    /// them: the machine may not know yet that it leaves.
    fn takers(&self, worker: WorkerId, leaver: Option<WorkerId>, machine: &Machine) -> Vec<Rc<Process>> {
        let untried = self.untried(worker, leaver, machine);
        let all = || machine.takers(worker, |id| self.takes(*id, leaver));
        self.processes_of(&if untried.is_empty() { all() } else { untried })
    }

    /// The workers that can be given the connections of `worker`, and that it has not tried.
    fn untried(&self, worker: WorkerId, leaver: Option<WorkerId>, machine: &Machine) -> Vec<WorkerId> {
        let process = self.processes.get(&worker);
        let has_tried = |id: &WorkerId| process.is_some_and(|process| process.has_tried(*id));
        machine.takers(worker, |id| self.takes(*id, leaver) && !has_tried(id))
    }

    fn processes_of(&self, ids: &[WorkerId]) -> Vec<Rc<Process>> {
        ids.iter().filter_map(|id| self.processes.get(id).cloned()).collect()
    }

    fn takes(&self, id: WorkerId, leaver: Option<WorkerId>) -> bool {
        Some(id) != leaver && self.processes.get(&id).is_some_and(|process| process.takes())
    }

    /// Sends a message about logs to all workers that understand it; gives their number.
    pub fn send_about_logs(&self, message: &FromMaster) -> usize {
        self.processes.values().filter(|process| process.send_about_log(message)).count()
    }
}
