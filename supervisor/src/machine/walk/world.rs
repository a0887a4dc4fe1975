//! The world of the walk: processes, operators and time, as bad as they can be within a budget.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod driver;
mod fingerprint;
mod invariants;

use super::super::event::{Queue, RollbackTo, ScaleTo, StopBy, WorkerEvent};
use super::super::failure::{CommandError, ProbeError};
use super::super::generation::{Occupant, Stage};
use super::super::plan::{Plan, Readiness};
use super::super::*;
use crate::exit_status::Exit;

/// No trouble at all.
pub(super) const CALM: Budget = Budget {
    upgrades: 0,
    crashes: 0,
    failures: 0,
    cancels: 0,
    scales: 0,
    stops: 0,
    lapses: 0,
    unfits: 0,
    rollbacks: 0,
    reexecs: 0,
    kills: 0,
    pauses: 0,
    strangers: 0,
    fulls: 0,
    silences: 0,
};

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
    /// Workers that become too large, or hang.
    pub(super) unfits: u8,
    pub(super) rollbacks: u8,
    /// Upgrades of the master in place.
    pub(super) reexecs: u8,
    /// Deaths of the master.
    pub(super) kills: u8,
    /// Times at which the master stands still until a deadline has passed, and processes do not.
    pub(super) pauses: u8,
    /// Workers that somebody else tells to end.
    pub(super) strangers: u8,
    /// Workers that have no room for connections.
    pub(super) fulls: u8,
    /// Workers that drain, and whose takers do not take.
    pub(super) silences: u8,
}

impl Budget {
    /// True if no process fails, nobody is slow and nothing is called off.
    fn is_spotless(self) -> bool {
        let trouble = [self.crashes, self.failures, self.cancels, self.lapses, self.unfits, self.kills, self.strangers];
        trouble.iter().all(|left| *left == 0)
    }
}

/// Which ways a generation goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ways {
    pub(super) channel: bool,
    /// Workers may announce themselves.
    pub(super) announces: bool,
    pub(super) gated: bool,
    pub(super) rolling: bool,
}

/// A process as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    /// Ordered by the machine, and not forked yet.
    Ordered,
    /// The helper runs.
    Helper,
    /// The helper failed; it can only exit.
    Broken,
    /// The program runs.
    Program,
    /// It said READY=1, and is warmed up.
    WarmingUp,
    /// It is probed.
    Probing,
    /// It is fit.
    Ready,
    /// It was told to accept.
    Going,
    /// It said that it accepts.
    Accepting,
    /// It has exited, which nobody has read yet.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Life {
    process: Process,
    told_to_end: bool,
    announced: bool,
}

/// Who outlives the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survive {
    All,
    /// `on_master_death = "exit"`, or the machine ran out of memory.
    None,
    /// All but those of one generation.
    AllBut(Generation),
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Prepared(bool),
    Worker(WorkerId, WorkerEvent),
    Restart,
    Cancel,
    Scale(u32),
    Stop(StopBy),
    Time,
    /// The master stands still until its next deadline has passed.
    Pause,
    /// A message that came while the master stood still is read.
    Read(usize),
    Rollback(RollbackTo),
    Reexec,
    ReexecChecked(bool),
    /// The driver executes the new program, if nothing is on its way; else it tells so.
    Reexeced(bool),
    /// The master dies when it has carried out so many of its last actions, and another one adopts what is left.
    Killed {
        actions: usize,
        survive: Survive,
    },
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Moment,
    pub(super) plan: Plan,
    announces: bool,
    processes: BTreeMap<WorkerId, Life>,
    pub(super) preparing: Option<Generation>,
    pub(super) unanswered: Vec<OperationId>,
    pub(super) asked: u64,
    pub(super) budget: Budget,
    pub(super) exited: bool,
    checking: bool,
    executing: bool,
    frozen: BTreeSet<Generation>,
    /// Messages that came while the master stood still.
    queued: Vec<(WorkerId, WorkerEvent)>,
    /// True while a deadline has passed that the master has not judged.
    late: bool,
    /// True if nothing goes wrong, so nobody may be told that it has failed.
    spotless: bool,
    /// What was there before the last actions, and those.
    last: (BTreeMap<WorkerId, Life>, Vec<Action>),
}

impl World {
    pub(super) fn new(workers: u32, ways: Ways, budget: Budget) -> Self {
        let plan = Plan {
            release: None,
            workers,
            ready: Readiness::Notify,
            ready_timeout: Duration::from_secs(30),
            soak: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(60),
            channel: ways.channel,
            warms_up: ways.gated,
            probes: ways.gated,
            strategy: ways.rolling.into(),
            // Longer than anything else: it passes only as a lapse.
            watchdog: ways.gated.then_some(Duration::from_secs(3600)),
            max_age: None,
        };
        let mut world = Self {
            machine: Machine::new(2),
            now: Moment(1_000_000_000_000),
            plan,
            announces: ways.announces && !ways.channel,
            processes: BTreeMap::new(),
            preparing: None,
            unanswered: Vec::new(),
            asked: 0,
            budget,
            exited: false,
            checking: false,
            executing: false,
            frozen: BTreeSet::new(),
            queued: Vec::new(),
            late: false,
            spotless: budget.is_spotless(),
            last: (BTreeMap::new(), Vec::new()),
        };
        world.budget.upgrades += 1;
        world.take(&Step::Restart);
        world
    }

    /// True if the next deadline is one that somebody missed.
    fn is_lapse(&self) -> bool {
        let at = self.machine.deadline();
        !self.machine.runs().any(|run| {
            let soaked = match run.stage {
                Stage::Soaking(until) | Stage::Rolling { until: Some(until), .. } => Some(until) == at,
                Stage::Starting
                | Stage::Going
                | Stage::Rolling { .. }
                | Stage::Current
                | Stage::Standby
                | Stage::Leaving => false,
            };
            let waits = |occupant: &Occupant| matches!(occupant, Occupant::Backoff(until) if Some(*until) == at);
            soaked || run.slots.iter().any(|slot| waits(&slot.occupant) || waits(&slot.successor))
        })
    }

    /// The next things that a worker's process can do.
    fn steps_of(&self, id: WorkerId, life: &Life, steps: &mut Vec<Step>) {
        let b = self.budget;
        let mut add = |what| steps.push(Step::Worker(id, what));
        let exited = WorkerEvent::Exited { exit: Exit::Code(0), jitter: 0 };
        match life.process {
            Process::Ordered => {
                add(WorkerEvent::Spawned { pid: pid(id) });
                if b.failures > 0 {
                    add(WorkerEvent::SpawnFailed { error: "no".into() });
                }
                return;
            }
            Process::Helper => {
                add(WorkerEvent::Executed);
                if b.failures > 0 {
                    add(WorkerEvent::ExecFailed { error: "no".into() });
                }
            }
            Process::Program => {
                add(WorkerEvent::Ready);
                if self.announces && !life.announced {
                    add(WorkerEvent::Announced);
                }
            }
            Process::WarmingUp => {
                add(WorkerEvent::WarmedUp(Ok(())));
                if b.failures > 0 {
                    add(WorkerEvent::WarmedUp(Err(CommandError::NotStarted("no".into()))));
                }
            }
            Process::Probing => {
                add(WorkerEvent::Probed(Ok("200".into())));
                if b.failures > 0 {
                    add(WorkerEvent::Probed(Err(ProbeError::NoListener)));
                }
            }
            Process::Going => {
                add(WorkerEvent::Accepting);
                if b.strangers > 0 && !life.told_to_end {
                    add(WorkerEvent::Stopping);
                }
            }
            Process::Accepting if !life.told_to_end => {
                if b.unfits > 0 {
                    add(WorkerEvent::Overweight(1));
                }
                if b.unfits > 0 && self.plan.watchdog.is_some() {
                    add(WorkerEvent::Hangs);
                }
                for (left, what) in [(b.strangers, WorkerEvent::Stopping), (b.fulls, WorkerEvent::Full)] {
                    if left > 0 {
                        add(what);
                    }
                }
            }
            Process::Accepting if b.silences > 0 => add(WorkerEvent::NoTaker),
            Process::Broken | Process::Ready | Process::Accepting | Process::Gone => {}
        }
        if life.told_to_end || life.process == Process::Broken || b.crashes > 0 {
            add(exited);
        }
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let b = self.budget;
        if self.preparing.is_some() {
            steps.push(Step::Prepared(true));
            steps.extend((b.failures > 0).then_some(Step::Prepared(false)));
        }
        let has_said = |id: &WorkerId| self.queued.iter().any(|(who, _)| who == id);
        let is_first = |index: usize| !self.queued[..index].iter().any(|(who, _)| *who == self.queued[index].0);
        steps.extend((0..self.queued.len()).filter(|index| is_first(*index)).map(Step::Read));
        for (id, life) in self.processes.iter().filter(|(id, _)| !has_said(id)) {
            self.steps_of(*id, life, &mut steps);
        }
        // The driver has everything read before it judges a deadline.
        if self.queued.is_empty() && self.machine.deadline().is_some() {
            steps.extend((b.lapses > 0 || !self.is_lapse()).then_some(Step::Time));
            steps.extend((b.pauses > 0).then_some(Step::Pause));
        }
        if !self.exited {
            steps.extend((b.upgrades > 0).then_some(Step::Restart));
            steps.extend((b.cancels > 0).then_some(Step::Cancel));
            if b.scales > 0 {
                steps.extend([Step::Scale(1), Step::Scale(2)]);
            }
            if b.stops > 0 {
                steps.push(Step::Stop(StopBy::Signal));
                // Only in a stop that is under way the two differ.
                let stopping = matches!(self.machine.fleet, Fleet::Stopping { .. });
                steps.extend(stopping.then_some(Step::Stop(StopBy::Command)));
            }
            if b.rollbacks > 0 {
                steps.push(Step::Rollback(RollbackTo::LastForced));
                let oldest = self.machine.good.first().filter(|_| self.machine.good.len() > 1);
                steps.extend(oldest.map(|to| Step::Rollback(RollbackTo::Exactly(*to))));
            }
            steps.extend((b.reexecs > 0).then_some(Step::Reexec));
            if self.checking {
                steps.push(Step::ReexecChecked(true));
                steps.extend((b.failures > 0).then_some(Step::ReexecChecked(false)));
            }
            if self.executing {
                steps.push(Step::Reexeced(true));
                steps.extend((b.failures > 0).then_some(Step::Reexeced(false)));
            }
            if b.kills > 0 {
                let all = self.last.1.len();
                let moments = (0..=all).filter(|count| *count == 0 || *count == all || self.is_telling(*count - 1));
                steps.extend(moments.map(|actions| Step::Killed { actions, survive: Survive::All }));
                let generations: BTreeSet<Generation> = self.processes.keys().map(|id| id.generation).collect();
                let partly = generations.iter().filter(|_| generations.len() > 1).copied().map(Survive::AllBut);
                let ways = partly.chain([Survive::None]);
                steps.extend(ways.map(|survive| Step::Killed { actions: all, survive }));
            }
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
            Step::Stop(by) => {
                self.budget.stops -= 1;
                Event::Stop { operation: self.operation(), by: *by }
            }
            Step::Time => {
                self.budget.lapses -= u8::from(self.is_lapse());
                self.now = self.now.max(self.machine.deadline().expect("only offered with a deadline"));
                self.late = false;
                Event::Time(self.now)
            }
            Step::Pause => return self.pause(),
            Step::Read(index) => {
                let (worker, what) = self.queued.remove(*index);
                if matches!(what, WorkerEvent::Exited { .. }) {
                    self.processes.remove(&worker);
                }
                Event::Worker { worker, what }
            }
            Step::Rollback(to) => {
                self.budget.rollbacks -= 1;
                Event::Rollback { operation: self.operation(), asked_by: "walk".into(), to: *to }
            }
            Step::Reexec => {
                self.budget.reexecs -= 1;
                Event::Reexec { operation: self.operation(), queue: Queue::Wait }
            }
            Step::ReexecChecked(fine) => {
                self.checking = false;
                self.budget.failures -= u8::from(!fine);
                Event::ReexecChecked(if *fine { Ok(()) } else { Err(Failure::Prepare("bad".into())) })
            }
            Step::Reexeced(fine) => {
                self.executing = false;
                self.budget.failures -= u8::from(!fine);
                match (fine, self.machine.is_quiet()) {
                    (false, _) => Event::ReexecFailed(Some("no".into())),
                    (true, false) => Event::ReexecFailed(None),
                    (true, true) => {
                        self.machine =
                            snapshot::read(&snapshot::write(&self.machine, "walk").unwrap(), "walk").unwrap();
                        Event::Reexeced
                    }
                }
            }
            Step::Killed { actions, survive } => self.die(*actions, *survive),
        };
        let before = self.machine.clone();
        let adopts = matches!(event, Event::Adopted { .. });
        let actions = self.machine.handle(self.now, event);
        if adopts {
            self.check_adopted(&before, &actions);
        }
        if self.spotless {
            Self::check_spotless(&actions);
        }
        self.last = (self.processes.clone(), actions.clone());
        self.perform(&before, actions);
        if self.machine.is_idle() && !self.exited {
            // As the driver does after an adoption that found nothing.
            let boot = Event::Restart { operation: None, asked_by: "walk".into(), queue: Queue::Wait };
            let actions = self.machine.handle(self.now, boot);
            self.perform(&before, actions);
        }
        self.check();
    }

    /// True if the last actions' `index`th is one that a process notices.
    fn is_telling(&self, index: usize) -> bool {
        self.last.1.get(index).is_some_and(|action| action.worker().is_some())
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
                assert!(
                    stable && self.machine.leaving.is_empty(),
                    "stuck: {:?}, {:?}",
                    self.machine.fleet,
                    self.machine.leaving
                );
                return;
            };
            self.take(&step.clone());
        }
        panic!("does not come to rest");
    }
}

fn pid(id: WorkerId) -> i32 {
    i32::try_from(id.generation.0 * 100 + u64::from(id.slot.0) * 10 + u64::from(id.attempt)).unwrap()
}
