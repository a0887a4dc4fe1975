//! The world of the walk: processes, operators and time, as bad as they can be within a budget.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::super::event::{Queue, ScaleTo, Speed, WorkerEvent};
use super::super::failure::Exit;
use super::super::generation::{Occupant, Stage};
use super::super::plan::{Plan, Readiness};
use super::super::worker::WorkerState;
use super::super::*;

/// No trouble at all.
pub(super) const CALM: Budget =
    Budget { upgrades: 0, crashes: 0, failures: 0, cancels: 0, scales: 0, stops: 0, lapses: 0 };

/// What is left of each kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) upgrades: u8,
    pub(super) crashes: u8,
    pub(super) failures: u8,
    pub(super) cancels: u8,
    pub(super) scales: u8,
    pub(super) stops: u8,
    /// Deadlines that somebody lets pass; soak and backoff pass by themselves.
    pub(super) lapses: u8,
}

/// A process as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    /// Wished for.
    Wished,
    /// The helper runs.
    Helper,
    /// The helper failed; it can only exit.
    Broken,
    /// The program runs.
    Program,
    /// It said READY=1.
    Ready,
    /// It was told to accept.
    Going,
    /// It said that it accepts.
    Accepting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Life {
    process: Process,
    told_to_end: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Prepared(bool),
    Worker(WorkerId, WorkerEvent),
    Restart,
    Cancel,
    Scale(u32),
    Stop,
    Time,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Moment,
    pub(super) plan: Plan,
    processes: BTreeMap<WorkerId, Life>,
    pub(super) preparing: Option<Generation>,
    pub(super) unanswered: Vec<OperationId>,
    pub(super) asked: u64,
    pub(super) budget: Budget,
    pub(super) exited: bool,
}

impl World {
    pub(super) fn new(workers: u32, channel: bool, budget: Budget) -> Self {
        let plan = Plan {
            release: None,
            workers,
            ready: Readiness::Notify,
            ready_timeout: Duration::from_secs(30),
            soak: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(60),
            channel,
        };
        let mut world = Self {
            machine: Machine::new(2),
            now: Moment(1_000_000_000_000),
            plan,
            processes: BTreeMap::new(),
            preparing: None,
            unanswered: Vec::new(),
            asked: 0,
            budget,
            exited: false,
        };
        world.budget.upgrades += 1;
        world.take(&Step::Restart);
        world
    }

    /// Whether the next deadline is one that somebody missed.
    fn is_lapse(&self) -> bool {
        let at = self.machine.deadline();
        !self.machine.runs().any(|run| {
            let soaked = matches!(run.stage, Stage::Soaking(until) if Some(until) == at);
            soaked
                || run.slots.iter().any(|slot| matches!(slot.occupant, Occupant::Backoff(until) if Some(until) == at))
        })
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let b = self.budget;
        if self.preparing.is_some() {
            steps.push(Step::Prepared(true));
            steps.extend((b.failures > 0).then_some(Step::Prepared(false)));
        }
        for (id, life) in &self.processes {
            let mut add = |what| steps.push(Step::Worker(*id, what));
            let exited = WorkerEvent::Exited { exit: Exit::Code(0), jitter: 0 };
            match life.process {
                Process::Wished => {
                    add(WorkerEvent::Spawned { pid: pid(*id) });
                    if b.failures > 0 {
                        add(WorkerEvent::SpawnFailed { error: "no".into() });
                    }
                    continue;
                }
                Process::Helper => {
                    add(WorkerEvent::Executed);
                    if b.failures > 0 {
                        add(WorkerEvent::ExecFailed { error: "no".into() });
                    }
                }
                Process::Program => add(WorkerEvent::Ready),
                Process::Going => add(WorkerEvent::Accepting),
                Process::Broken | Process::Ready | Process::Accepting => {}
            }
            if life.told_to_end || life.process == Process::Broken || b.crashes > 0 {
                add(exited);
            }
        }
        if self.machine.deadline().is_some() && (b.lapses > 0 || !self.is_lapse()) {
            steps.push(Step::Time);
        }
        if !self.exited {
            steps.extend((b.upgrades > 0).then_some(Step::Restart));
            steps.extend((b.cancels > 0).then_some(Step::Cancel));
            if b.scales > 0 {
                steps.extend([Step::Scale(1), Step::Scale(2)]);
            }
            steps.extend((b.stops > 0).then_some(Step::Stop));
        }
        steps
    }

    fn operation(&mut self) -> Option<OperationId> {
        self.asked += 1;
        self.unanswered.push(OperationId(self.asked));
        Some(OperationId(self.asked))
    }

    pub(super) fn take(&mut self, step: &Step) {
        let event = match step {
            Step::Prepared(fine) => {
                let generation = self.preparing.take().expect("only offered while preparing");
                self.budget.failures -= u8::from(!fine);
                Event::Prepared {
                    generation,
                    plan: if *fine { Ok(self.plan.clone()) } else { Err(Failure::Prepare("bad".into())) },
                }
            }
            Step::Worker(id, what) => {
                self.live(*id, what);
                Event::Worker { worker: *id, what: what.clone() }
            }
            Step::Restart => {
                self.budget.upgrades -= 1;
                Event::Restart { operation: self.operation(), asked_by: "walk".into(), queue: Queue::Wait }
            }
            Step::Cancel => {
                self.budget.cancels -= 1;
                Event::Cancel { operation: self.operation(), target: None, because: "walk".into() }
            }
            Step::Scale(workers) => {
                self.budget.scales -= 1;
                Event::Scale { operation: self.operation(), to: ScaleTo::Exactly(*workers) }
            }
            Step::Stop => {
                self.budget.stops -= 1;
                Event::Stop { operation: self.operation(), speed: Speed::Graceful }
            }
            Step::Time => {
                self.budget.lapses -= u8::from(self.is_lapse());
                self.now = self.machine.deadline().expect("only offered with a deadline");
                Event::Time
            }
        };
        let before = self.machine.clone();
        let actions = self.machine.handle(self.now, event);
        self.perform(&before, actions);
        self.check();
    }

    fn live(&mut self, id: WorkerId, what: &WorkerEvent) {
        let life = self.processes.get_mut(&id).expect("only offered for processes that are there");
        match what {
            WorkerEvent::Spawned { .. } => life.process = Process::Helper,
            WorkerEvent::Executed => life.process = Process::Program,
            WorkerEvent::Ready => life.process = Process::Ready,
            WorkerEvent::Accepting => life.process = Process::Accepting,
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
            WorkerEvent::Checked(_) | WorkerEvent::Extend(_) => {}
        }
    }

    fn perform(&mut self, before: &Machine, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Prepare(generation) => {
                    assert!(self.preparing.replace(generation).is_none(), "two candidates");
                }
                Action::Spawn(id) => {
                    let life = Life { process: Process::Wished, told_to_end: false };
                    assert!(self.processes.insert(id, life).is_none(), "{id} was made twice");
                    assert!(!self.exited);
                }
                Action::Go(id) => {
                    let life = self.processes.get_mut(&id).expect("go to nobody");
                    assert_eq!(life.process, Process::Ready, "go before ready");
                    life.process = if self.plan.channel { Process::Going } else { Process::Accepting };
                }
                Action::Drain(id, reason) => {
                    self.processes.get_mut(&id).expect("drain nobody").told_to_end = true;
                    self.check_drain(before, id, reason);
                }
                Action::Kill(id) => {
                    let life = self.processes.get_mut(&id).expect("kill nobody");
                    assert_ne!(life.process, Process::Wished, "kill without a process");
                    life.told_to_end = true;
                }
                Action::Forget(generation) => {
                    assert!(!self.processes.keys().any(|id| id.generation == generation), "forgotten alive");
                    if self.preparing == Some(generation) {
                        self.preparing = None;
                    }
                }
                Action::Answer(operation, _) => {
                    let place = self.unanswered.iter().position(|op| *op == operation);
                    self.unanswered.remove(place.expect("answered twice, or never asked"));
                }
                Action::Exit(_) => {
                    assert!(self.processes.is_empty(), "left behind: {:?}", self.processes);
                    assert!(!std::mem::replace(&mut self.exited, true), "exited twice");
                }
                Action::Check(_) | Action::Report(_) => {}
            }
        }
    }

    /// An upgrade never leaves fewer ready workers than before.
    fn check_drain(&self, before: &Machine, id: WorkerId, reason: DrainReason) {
        let was_current = before.current().is_some_and(|run| run.id == id.generation);
        let is_current = self.machine.current().is_some_and(|run| run.id == id.generation);
        if was_current && !is_current && reason == DrainReason::Upgrade {
            let now = self.machine.current().expect("an upgrade leaves a current generation");
            let promised = before.candidate().and_then(|c| c.run.as_ref()).map_or(0, |run| run.plan.workers);
            // A change of number that waited may take effect in the same step.
            let wanted = promised.min(now.plan.workers);
            assert!(now.serving() >= wanted, "the old was told to drain before the new served in full");
        }
    }

    fn check(&self) {
        let machine = &self.machine;
        assert!(machine.deadline().is_none_or(|at| at > self.now), "a deadline has passed");
        let known: Vec<WorkerId> = machine.runs().flat_map(Run::workers).map(|w| w.id).collect();
        let alive: Vec<WorkerId> = self.processes.keys().copied().collect();
        assert_eq!(
            known.iter().collect::<HashSet<_>>(),
            alive.iter().collect::<HashSet<_>>(),
            "watched and alive differ"
        );
        let fronts = machine.runs().filter(|run| run.stage != Stage::Leaving).count();
        assert!(fronts <= 2, "{fronts} generations that are not on their way out");
    }

    pub(super) fn check_snapshot(&self) {
        let back = snapshot::read(&snapshot::write(&self.machine, "walk"), "walk").unwrap();
        assert_eq!(back, self.machine, "snapshot and back");
    }

    /// With nobody misbehaving any more, everything that was asked comes to an end.
    pub(super) fn settles(mut self) {
        self.budget = CALM;
        for _ in 0..500 {
            let steps = self.steps();
            // What processes do comes before what time does: nobody is slow here.
            let Some(step) = steps.iter().find(|s| !matches!(s, Step::Time)).or(steps.first()) else {
                assert_eq!(self.unanswered, [], "an operation was never answered");
                let stable = self.exited || matches!(self.machine.fleet, Fleet::Serving(_));
                assert!(stable && self.machine.leaving.is_empty(), "stuck: {:?}", self.machine.fleet);
                return;
            };
            self.take(&step.clone());
        }
        panic!("does not come to rest");
    }

    /// A number for everything that decides what can happen next; equal ones need to be looked at once.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut machine = self.machine.clone();
        machine.history = History::default();
        let now = self.now;
        let still = |at: &mut Moment| *at = Moment(at.0.saturating_sub(now.0));
        let settle = |run: &mut Run| {
            (run.since, run.phase_at) = (Moment(0), Moment(0));
            run.phases.iter_mut().for_each(|phase| phase.1 = Duration::ZERO);
            if let Stage::Soaking(until) = &mut run.stage {
                still(until);
            }
            for slot in &mut run.slots {
                match &mut slot.occupant {
                    Occupant::Backoff(until) => still(until),
                    Occupant::Worker(worker) => {
                        worker.born = Moment(u64::from(now.since(worker.born) >= backoff::STABLE));
                        worker.since = Moment(0);
                        worker.failure = worker.failure.take().map(|_| Failure::Cancelled(String::new()));
                        match &mut worker.state {
                            WorkerState::Executing(d)
                            | WorkerState::Starting { deadline: d, .. }
                            | WorkerState::Going(d)
                            | WorkerState::Draining(d) => {
                                still(&mut d.at);
                                d.latest = Moment(0);
                            }
                            WorkerState::Spawning
                            | WorkerState::Doomed
                            | WorkerState::Ready
                            | WorkerState::Serving
                            | WorkerState::Killed => {}
                        }
                    }
                    Occupant::Vacant => {}
                }
            }
        };
        match &mut machine.fleet {
            Fleet::Serving(run) => settle(run),
            Fleet::Upgrading { current, candidate } => {
                settle(current);
                candidate.began = Moment(0);
                candidate.run.as_mut().map(settle);
            }
            Fleet::Booting(candidate) => {
                candidate.began = Moment(0);
                candidate.run.as_mut().map(settle);
            }
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => {}
        }
        machine.leaving.iter_mut().for_each(settle);
        let mut hasher = DefaultHasher::new();
        (machine, &self.processes, self.preparing, &self.unanswered, self.budget).hash(&mut hasher);
        hasher.finish()
    }
}

fn pid(id: WorkerId) -> i32 {
    i32::try_from(id.generation.0 * 100 + u64::from(id.slot.0) * 10 + u64::from(id.attempt)).unwrap()
}
