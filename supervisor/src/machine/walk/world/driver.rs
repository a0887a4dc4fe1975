//! The driver and the kernel of the walk: actions become processes, and processes live and die.

use std::collections::{HashMap, HashSet};

use super::super::super::action::{GenerationAction, MasterAction, WorkerAction};
use super::super::super::event::WorkerEvent;
use super::super::super::*;
use super::{Life, Process, Survive, World, pid};
use crate::exit_status::Exit;

impl World {
    /// The master dies after `actions` of its last ones, and its successor adopts who survives.
    pub(super) fn die(&mut self, actions: usize, survive: Survive) -> Event {
        self.budget.kills -= 1;
        let (processes, all) = self.last.clone();
        self.processes = processes;
        for action in all.iter().take(actions) {
            let Action::Worker(id, order) = action else { continue };
            match order {
                WorkerAction::Spawn => {
                    self.processes.insert(*id, Life { process: Process::Helper, told_to_end: false, announced: false });
                }
                WorkerAction::Drain(_) | WorkerAction::HandOver | WorkerAction::Kill | WorkerAction::Abort => {
                    self.processes.entry(*id).and_modify(|life| life.told_to_end = true);
                }
                WorkerAction::Go => {
                    self.processes.entry(*id).and_modify(|life| life.process = Process::Accepting);
                }
                WorkerAction::Check | WorkerAction::WarmUp | WorkerAction::Probe => {}
                WorkerAction::Relieve | WorkerAction::Redirect | WorkerAction::Balance => {}
            }
        }
        // Without its orders a helper ends.
        let survives = |id: &WorkerId| match survive {
            Survive::All => true,
            Survive::None => false,
            Survive::AllBut(generation) => id.generation != generation,
        };
        let is_there = |life: &Life| !matches!(life.process, Process::Ordered | Process::Gone);
        self.processes.retain(|id, life| survives(id) && is_there(life));
        self.queued.clear();
        (self.preparing, self.checking, self.executing) = (None, false, false);
        self.machine = snapshot::read(&snapshot::write(&self.machine, "walk").unwrap(), "walk").unwrap();
        // The driver answers those that the machine does not know any more.
        let awaited: Vec<OperationId> =
            self.unanswered.iter().copied().filter(|operation| self.machine.awaits(*operation)).collect();
        self.unanswered = awaited;
        let alive = self.processes.keys().map(|id| (*id, pid(*id))).collect::<HashMap<_, _>>();
        let known: HashSet<WorkerId> = self.machine.runs().flat_map(Run::workers).map(|worker| worker.id).collect();
        assert!(alive.keys().all(|id| known.contains(id)), "a worker that no state knows: {alive:?} {known:?}");
        Event::Adopted { alive, kept: self.frozen.iter().copied().collect() }
    }

    /// The master stands still until its next deadline has passed. Processes go on, and do everything in time.
    pub(super) fn pause(&mut self) {
        self.budget.pauses -= 1;
        let ids: Vec<WorkerId> = self.processes.keys().copied().collect();
        for id in ids {
            while let Some(what) = self.timely(id) {
                if matches!(what, WorkerEvent::Exited { .. }) {
                    self.processes.entry(id).and_modify(|life| life.process = Process::Gone);
                } else {
                    self.live(id, &what);
                }
                self.queued.push((id, what));
            }
        }
        let deadline = self.machine.deadline().expect("only offered with a deadline");
        (self.now, self.late) = (self.now.max(deadline), true);
        self.last = (self.processes.clone(), Vec::new());
        self.check();
    }

    /// The next step of a process by itself, if nobody orders anything.
    fn timely(&self, id: WorkerId) -> Option<WorkerEvent> {
        let life = self.processes.get(&id)?;
        let is_alive = !matches!(life.process, Process::Ordered | Process::Gone);
        if is_alive && (life.told_to_end || life.process == Process::Broken) {
            return Some(WorkerEvent::Exited { exit: Exit::Code(0), jitter: 0 });
        }
        let is_watched = self.plan.watchdog.is_some() && !self.queued.contains(&(id, WorkerEvent::Alive));
        match life.process {
            Process::Helper => Some(WorkerEvent::Executed),
            Process::Program => Some(WorkerEvent::Ready),
            Process::WarmingUp => Some(WorkerEvent::WarmedUp(Ok(()))),
            Process::Probing => Some(WorkerEvent::Probed(Ok("200".into()))),
            Process::Going => Some(WorkerEvent::Accepting),
            Process::Accepting => is_watched.then_some(WorkerEvent::Alive),
            Process::Ordered | Process::Broken | Process::Ready | Process::Gone => None,
        }
    }

    /// A process does `what`.
    pub(super) fn live(&mut self, id: WorkerId, what: &WorkerEvent) {
        let life = self.processes.get_mut(&id).expect("only offered for processes that are there");
        match what {
            WorkerEvent::Spawned { .. } => life.process = Process::Helper,
            WorkerEvent::Executed => life.process = Process::Program,
            WorkerEvent::Ready => life.process = Process::Ready,
            WorkerEvent::WarmedUp(result) => {
                life.process = Process::Ready;
                self.budget.failures -= u8::from(result.is_err());
            }
            WorkerEvent::Probed(result) => {
                life.process = Process::Ready;
                self.budget.failures -= u8::from(result.is_err());
            }
            WorkerEvent::Overweight(_) | WorkerEvent::Hangs => self.budget.unfits -= 1,
            WorkerEvent::Full => self.budget.fulls -= 1,
            WorkerEvent::NoTaker => self.budget.silences -= 1,
            WorkerEvent::Announced => life.announced = true,
            WorkerEvent::Accepting => life.process = Process::Accepting,
            WorkerEvent::Stopping => {
                life.told_to_end = true;
                self.budget.strangers -= 1;
            }
            WorkerEvent::ExecFailed { .. } => {
                life.process = Process::Broken;
                self.budget.failures -= 1;
            }
            WorkerEvent::SpawnFailed { .. } => {
                self.budget.failures -= 1;
                self.processes.remove(&id);
            }
            WorkerEvent::Exited { .. } => {
                if !life.told_to_end && life.process != Process::Broken {
                    self.budget.crashes -= 1;
                }
                self.processes.remove(&id);
            }
            WorkerEvent::Checked(_) | WorkerEvent::Extend(_) | WorkerEvent::Alive | WorkerEvent::Load => {}
        }
    }

    /// Carries out the machine's actions, as the driver does.
    pub(super) fn perform(&mut self, before: &Machine, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Worker(id, order) => self.perform_on_worker(before, id, order),
                Action::Generation(generation, step) => self.perform_on_generation(generation, step),
                Action::Master(MasterAction::CheckReexec) => {
                    assert!(!std::mem::replace(&mut self.checking, true), "checked twice at once");
                }
                Action::Master(MasterAction::Reexec) => {
                    assert!(!std::mem::replace(&mut self.executing, true), "executed twice at once");
                }
                Action::Master(MasterAction::CloseListeners) => {
                    let stops = matches!(self.machine.fleet, Fleet::Stopping { .. } | Fleet::Stopped);
                    assert!(stops, "no listener, and something is to serve");
                }
                Action::Master(MasterAction::Exit(_)) => {
                    assert!(self.processes.is_empty(), "left behind: {:?}", self.processes);
                    assert!(!std::mem::replace(&mut self.exited, true), "exited twice");
                }
                Action::Answer(operation, _) => {
                    let place = self.unanswered.iter().position(|op| *op == operation);
                    self.unanswered.remove(place.expect("answered twice, or never asked"));
                }
                Action::Report(_) => {}
            }
        }
    }

    fn perform_on_worker(&mut self, before: &Machine, id: WorkerId, order: WorkerAction) {
        match order {
            WorkerAction::Spawn => {
                let life = Life { process: Process::Ordered, told_to_end: false, announced: false };
                assert!(self.processes.insert(id, life).is_none(), "{id} was made twice");
                assert!(!self.exited);
            }
            WorkerAction::WarmUp => self.step_to(id, Process::WarmingUp),
            WorkerAction::Probe => self.step_to(id, Process::Probing),
            WorkerAction::Abort => self.processes.get_mut(&id).expect("abort nobody").told_to_end = true,
            WorkerAction::HandOver => {
                let life = self.processes.get(&id).expect("nobody has connections");
                assert!(life.told_to_end, "it does not end by itself");
            }
            WorkerAction::Relieve => self.check_relief(id),
            WorkerAction::Redirect => {
                let life = self.processes.get(&id).expect("nobody has connections");
                assert!(life.told_to_end, "a worker that serves on keeps its connections");
            }
            WorkerAction::Go => {
                let life = self.processes.get_mut(&id).expect("go to nobody");
                assert_eq!(life.process, Process::Ready, "go before ready");
                life.process = if self.plan.channel || life.announced { Process::Going } else { Process::Accepting };
            }
            WorkerAction::Drain(reason) => {
                self.processes.get_mut(&id).expect("drain nobody").told_to_end = true;
                self.check_drain(before, id, reason);
            }
            WorkerAction::Kill => {
                let life = self.processes.get_mut(&id).expect("kill nobody");
                assert_ne!(life.process, Process::Ordered, "kill without a process");
                life.told_to_end = true;
            }
            // Whoever serves goes on serving.
            WorkerAction::Check | WorkerAction::Balance => {}
        }
    }

    fn perform_on_generation(&mut self, generation: Generation, step: GenerationAction) {
        match step {
            GenerationAction::Prepare { from } => {
                assert!(self.preparing.replace(generation).is_none(), "two candidates");
                assert!(from.is_none_or(|from| self.frozen.contains(&from)), "back to what was forgotten");
                self.frozen.insert(generation);
            }
            GenerationAction::Keep => assert!(self.frozen.contains(&generation), "keep what was forgotten"),
            GenerationAction::Forget => {
                assert!(!self.processes.keys().any(|id| id.generation == generation), "forgotten alive");
                assert!(self.frozen.remove(&generation), "forgotten twice");
                if self.preparing == Some(generation) {
                    self.preparing = None;
                }
            }
        }
    }

    fn step_to(&mut self, id: WorkerId, process: Process) {
        let life = self.processes.get_mut(&id).expect("a step of nobody");
        assert_eq!(life.process, Process::Ready, "a step out of order");
        life.process = process;
    }
}
