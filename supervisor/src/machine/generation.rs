//! One generation: its slots, and how far it has come.
//!
//! | stage | means | left by |
//! |---|---|---|
//! | Starting | a worker a slot is on its way | all ready |
//! | Going | all ready, told to accept | all serve |
//! | Soaking | all serve, beside the old generation | its time |
//! | Current | it is what serves; a worker that dies is replaced | the next one's becoming current, or a stop |
//! | Leaving | all told to end, none is replaced | the last exit |
//!
//! A failure of any worker before `Current` is the generation's failure; from `Current` on it is the slot's alone.

use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::control::Phase;
use gin_shared::generation::{Generation, Slot, WorkerId};
use serde::{Deserialize, Serialize};

use super::action::{Action, Report, WorkerReport};
use super::backoff;
use super::event::WorkerEvent;
use super::failure::Failure;
use super::moment::Moment;
use super::plan::Plan;
use super::worker::{Worker, WorkerOutcome};

/// One generation and its workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub id: Generation,
    /// What was frozen for it. `workers` follows `scale`.
    pub plan: Plan,
    /// How far it has come.
    pub stage: Stage,
    /// Since when.
    pub since: Moment,
    /// By number; a slot above `plan.workers` is on its way out.
    pub slots: Vec<SlotRun>,
    /// What it reached, and how long each took.
    pub phases: Vec<(Phase, Duration)>,
    /// When the last phase was reached.
    pub phase_at: Moment,
}

/// How far a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Workers are on their way.
    Starting,
    /// Told to accept.
    Going,
    /// All serve; until then a failure withdraws it.
    Soaking(Moment),
    /// It is what serves.
    Current,
    /// It ends.
    Leaving,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlotRun {
    /// Its number.
    pub slot: Slot,
    /// What is in it.
    pub occupant: Occupant,
    /// How many workers it has had.
    pub attempts: u32,
    /// How many failed in a row.
    pub failures: u32,
}

/// What is in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occupant {
    /// A worker.
    Worker(Worker),
    /// Nobody before this moment.
    Backoff(Moment),
    /// Nobody any more.
    Vacant,
}

impl SlotRun {
    fn new(slot: Slot) -> Self {
        Self { slot, occupant: Occupant::Vacant, attempts: 0, failures: 0 }
    }

    /// Its worker, if it has one.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        match &self.occupant {
            Occupant::Worker(worker) => Some(worker),
            Occupant::Backoff(_) | Occupant::Vacant => None,
        }
    }

    fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.occupant {
            Occupant::Worker(worker) => Some(worker),
            Occupant::Backoff(_) | Occupant::Vacant => None,
        }
    }

    fn spawn(&mut self, now: Moment, generation: Generation, out: &mut Vec<Action>) {
        let id = WorkerId { generation, slot: self.slot, attempt: self.attempts };
        self.attempts += 1;
        self.occupant = Occupant::Worker(Worker::spawn(now, id, out));
    }

    fn deadline(&self) -> Option<Moment> {
        match &self.occupant {
            Occupant::Worker(worker) => worker.deadline(),
            Occupant::Backoff(until) => Some(*until),
            Occupant::Vacant => None,
        }
    }
}

impl Run {
    /// Wishes for a worker a slot.
    pub fn start(now: Moment, id: Generation, plan: Plan, asked: Moment, out: &mut Vec<Action>) -> Self {
        let mut slots: Vec<SlotRun> = (0..plan.workers).map(|n| SlotRun::new(Slot(n))).collect();
        slots.iter_mut().for_each(|slot| slot.spawn(now, id, out));
        Self { id, plan, stage: Stage::Starting, since: now, slots, phases: Vec::new(), phase_at: asked }
    }

    /// Its workers.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().filter_map(SlotRun::worker)
    }

    /// How many of its workers serve.
    #[must_use]
    pub fn serving(&self) -> u32 {
        u32::try_from(self.workers().filter(|w| w.is_serving()).count()).unwrap_or(u32::MAX)
    }

    /// Whether fewer workers serve than should.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.stage == Stage::Current && self.serving() < self.plan.workers
    }

    /// Whether it has no worker left, nor wants one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.occupant == Occupant::Vacant)
    }

    /// When it wants to be looked at.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let soak = match self.stage {
            Stage::Soaking(until) => Some(until),
            Stage::Starting | Stage::Going | Stage::Current | Stage::Leaving => None,
        };
        self.slots.iter().filter_map(SlotRun::deadline).chain(soak).min()
    }

    /// What a candidate has not reached yet.
    #[must_use]
    pub fn missing(&self) -> Phase {
        match self.stage {
            Stage::Starting if self.workers().all(Worker::is_started) => Phase::Ready,
            Stage::Starting => Phase::Started,
            Stage::Going => Phase::Serving,
            Stage::Soaking(_) => Phase::Soaked,
            Stage::Current | Stage::Leaving => Phase::Current,
        }
    }

    /// Something happened to one of its workers. A failure is told up; what it means depends on what this generation is.
    pub fn handle(
        &mut self,
        now: Moment,
        id: WorkerId,
        event: WorkerEvent,
        out: &mut Vec<Action>,
    ) -> Option<(WorkerId, Failure)> {
        let jitter = match &event {
            WorkerEvent::Exited { jitter, .. } => *jitter,
            WorkerEvent::Spawned { .. }
            | WorkerEvent::SpawnFailed { .. }
            | WorkerEvent::Executed
            | WorkerEvent::ExecFailed { .. }
            | WorkerEvent::Ready
            | WorkerEvent::Checked(_)
            | WorkerEvent::Accepting
            | WorkerEvent::Extend(_) => 0,
        };
        let index = self.slots.iter().position(|slot| slot.worker().is_some_and(|w| w.id == id))?;
        let outcome = self.slots[index].worker_mut()?.handle(now, &self.plan, event, out);
        self.settle_worker(now, index, outcome, jitter, out)
    }

    /// Deadlines of it may have come.
    pub fn handle_time(&mut self, now: Moment, out: &mut Vec<Action>) -> Option<(WorkerId, Failure)> {
        let mut first = None;
        for index in 0..self.slots.len() {
            match &mut self.slots[index].occupant {
                Occupant::Worker(worker) => {
                    let outcome = worker.handle_time(now, &self.plan, out);
                    first = first.or(self.settle_worker(now, index, outcome, 0, out));
                }
                Occupant::Backoff(until) if *until <= now => self.slots[index].spawn(now, self.id, out),
                Occupant::Backoff(_) | Occupant::Vacant => {}
            }
        }
        first
    }

    fn settle_worker(
        &mut self,
        now: Moment,
        index: usize,
        outcome: WorkerOutcome,
        jitter: u16,
        out: &mut Vec<Action>,
    ) -> Option<(WorkerId, Failure)> {
        let slot = &mut self.slots[index];
        let worker = slot.worker()?;
        let id = worker.id;
        match outcome {
            WorkerOutcome::Continues => None,
            WorkerOutcome::Failed(failure) => Some((id, failure)),
            WorkerOutcome::Gone(failure) => {
                let wanted = self.stage == Stage::Current && slot.slot.0 < self.plan.workers;
                let failed = failure.is_some() || worker.failure.is_some();
                let stable = worker.is_serving() && now.since(worker.born) >= backoff::STABLE;
                let pid = worker.pid;
                slot.failures = if !failed || stable { u32::from(failed) } else { slot.failures + 1 };
                slot.occupant = Occupant::Vacant;
                if wanted {
                    let wait = backoff::delay(slot.failures, jitter);
                    slot.occupant = Occupant::Backoff(now + wait);
                    let what = WorkerReport::Respawn(wait);
                    out.push(Action::Report(Report::Worker { worker: id, pid, what, took: Duration::ZERO }));
                }
                self.trim();
                failure.map(|failure| (id, failure))
            }
        }
    }

    /// Drops slots above `plan.workers` that nobody is in.
    fn trim(&mut self) {
        if self.stage == Stage::Current {
            let workers = self.plan.workers;
            self.slots.retain(|slot| slot.slot.0 < workers || slot.occupant != Occupant::Vacant);
        }
    }

    /// Moves a candidate on as far as its workers have come. True once it has soaked.
    pub fn advance(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
        match self.stage {
            Stage::Starting => {
                if self.phases.is_empty() && self.workers().all(Worker::is_started) {
                    self.reach(now, Phase::Started, out);
                }
                if self.workers().all(Worker::is_ready) {
                    self.reach(now, Phase::Ready, out);
                    self.stage = Stage::Going;
                    for slot in &mut self.slots {
                        if let Occupant::Worker(worker) = &mut slot.occupant {
                            worker.go(now, &self.plan, out);
                        }
                    }
                    return self.advance(now, out);
                }
                false
            }
            Stage::Going if self.workers().all(Worker::is_serving) => {
                self.reach(now, Phase::Serving, out);
                self.stage = Stage::Soaking(now + self.plan.soak);
                self.advance(now, out)
            }
            Stage::Soaking(until) if until <= now => {
                self.reach(now, Phase::Soaked, out);
                true
            }
            Stage::Going | Stage::Soaking(_) | Stage::Current | Stage::Leaving => false,
        }
    }

    fn reach(&mut self, now: Moment, phase: Phase, out: &mut Vec<Action>) {
        let took = now.since(self.phase_at);
        self.phases.push((phase, took));
        self.phase_at = now;
        let workers = self.plan.workers;
        out.push(Action::Report(Report::Phase { generation: self.id, phase, workers, took }));
    }

    /// It is what serves from now on.
    pub fn become_current(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.reach(now, Phase::Current, out);
        self.stage = Stage::Current;
        self.since = now;
    }

    /// Lets workers of the current generation that have become ready serve: a slot's replacement waits for nobody.
    pub fn promote_ready(&mut self, now: Moment, out: &mut Vec<Action>) {
        for slot in &mut self.slots {
            if let Occupant::Worker(worker) = &mut slot.occupant {
                worker.go(now, &self.plan, out);
            }
        }
    }

    /// Changes the number of slots of the current generation.
    pub fn scale(&mut self, now: Moment, workers: u32, out: &mut Vec<Action>) {
        self.plan.workers = workers;
        for slot in self.slots.iter_mut().filter(|slot| slot.slot.0 >= workers) {
            match &mut slot.occupant {
                Occupant::Worker(worker) => worker.drain(now, &self.plan, DrainReason::Upgrade, out),
                Occupant::Backoff(_) => slot.occupant = Occupant::Vacant,
                Occupant::Vacant => {}
            }
        }
        self.trim();
        for number in (0..workers).map(Slot) {
            if !self.slots.iter().any(|slot| slot.slot == number) {
                let mut slot = SlotRun::new(number);
                slot.spawn(now, self.id, out);
                self.slots.push(slot);
            }
        }
        self.slots.sort_by_key(|slot| slot.slot);
    }

    /// Tells all to end in their own time.
    pub fn leave(&mut self, now: Moment, reason: DrainReason, out: &mut Vec<Action>) {
        if self.stage != Stage::Leaving {
            self.stage = Stage::Leaving;
            self.since = now;
        }
        self.each_occupant(|worker, plan| worker.drain(now, plan, reason, out));
    }

    /// Ends all.
    pub fn kill(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.leave(now, DrainReason::Stop, out);
        self.each_occupant(|worker, _| worker.kill(now, out));
    }

    fn each_occupant(&mut self, mut tell: impl FnMut(&mut Worker, &Plan)) {
        for slot in &mut self.slots {
            match &mut slot.occupant {
                Occupant::Worker(worker) => tell(worker, &self.plan),
                Occupant::Backoff(_) => slot.occupant = Occupant::Vacant,
                Occupant::Vacant => {}
            }
        }
    }
}
