//! A generation: its slots, and its stage.
//!
//! | stage | means | left by |
//! |---|---|---|
//! | Starting | a worker a slot is on its way | all fit to serve |
//! | Going | all fit, told to accept | all serve |
//! | Soaking | all serve, beside the old generation | its time |
//! | Rolling | slot by slot: one is on its way, or soaks | its last slot |
//! | Current | it is what serves; a worker that dies or is unfit is replaced | the next one's becoming current, or a stop |
//! | Standby | withdrawn, but serves until the old one is whole again; a worker that a stranger ends is replaced | that |
//! | Leaving | all told to end, none is replaced | the last exit |
//!
//! A failure of any worker before `Current` is the generation's failure; from `Current` on it is the slot's alone.

use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::control::Phase;
use gin_shared::generation::{Generation, Slot, WorkerId};
use serde::{Deserialize, Serialize};

use super::action::{Action, KillReason, Report, WorkerReport};
use super::backoff;
use super::event::WorkerEvent;
use super::failure::{Failure, Unfit};
use super::plan::{Plan, Strategy};
pub use super::slot::{LastFailure, Occupant, SlotRun};
pub use super::stage::{Advance, Stage};
use super::worker::{Progress, Worker, WorkerOutcome};
use crate::moment::Moment;

/// One generation and its workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The generation.
    pub id: Generation,
    /// Its plan. `workers` follows `scale`.
    pub plan: Plan,
    /// Its stage.
    pub stage: Stage,
    /// The moment when the stage began.
    pub since: Moment,
    /// By number. There may be gaps: see [`Self::scale`].
    pub slots: Vec<SlotRun>,
    /// Workers that others have taken the place of.
    #[serde(default)]
    pub retiring: Vec<Worker>,
    /// The phases that it reached, and the time that each took.
    pub phases: Vec<(Phase, Duration)>,
    /// The moment when the last phase was reached.
    pub phase_at: Moment,
}

/// The place of a worker.
#[derive(Debug, Clone, Copy)]
enum Place {
    Slot(usize),
    Successor(usize),
    Retiring(usize),
}

impl Run {
    /// Orders a worker for each slot; for the first slot alone, if it takes the place of another generation (`replaces`) slot by
    /// slot.
    pub fn start(
        now: Moment,
        id: Generation,
        plan: Plan,
        asked: Moment,
        replaces: bool,
        out: &mut Vec<Action>,
    ) -> Self {
        let mut slots: Vec<SlotRun> = (0..plan.workers).map(|n| SlotRun::new(Slot(n))).collect();
        let rolling = plan.strategy == Strategy::Rolling && replaces;
        let first = if rolling { 1 } else { slots.len() };
        slots.iter_mut().take(first).for_each(|slot| slot.spawn(now, id, out));
        let stage = if rolling { Stage::Rolling { slot: 0, until: None } } else { Stage::Starting };
        let retiring = Vec::new();
        Self { id, plan, stage, since: now, slots, retiring, phases: Vec::new(), phase_at: asked }
    }

    /// Its workers.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.slots
            .iter()
            .flat_map(|slot| slot.worker().into_iter().chain(slot.successor.worker()))
            .chain(&self.retiring)
    }

    /// The workers in its slots.
    fn fronts(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().filter_map(SlotRun::worker)
    }

    /// The number of its workers that serve.
    #[must_use]
    pub fn serving(&self) -> u32 {
        u32::try_from(self.fronts().filter(|w| w.is_serving()).count()).unwrap_or(u32::MAX)
    }

    /// The number of its workers that should serve: all but those whose place a rolling candidate has taken.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        u32::try_from(self.slots.iter().filter(|slot| slot.is_wanted()).count()).unwrap_or(u32::MAX)
    }

    /// True if fewer workers serve than should.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.stage == Stage::Current && self.serving() < self.wanted()
    }

    /// True if it has no worker left, nor wants one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.retiring.is_empty() && self.slots.iter().all(SlotRun::is_empty)
    }

    /// The moment when it wants to be looked at.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let soak = match self.stage {
            Stage::Soaking(until) => Some(until),
            Stage::Rolling { until, .. } => until,
            Stage::Starting | Stage::Going | Stage::Current | Stage::Standby | Stage::Leaving => None,
        };
        let retiring = self.retiring.iter().filter_map(Worker::deadline);
        self.slots.iter().filter_map(SlotRun::deadline).chain(retiring).chain(soak).min()
    }

    /// The phase that a candidate has not reached yet.
    #[must_use]
    pub fn missing(&self) -> Phase {
        match self.stage {
            Stage::Starting => {
                let reached = |phase: Phase| self.phases.iter().any(|(other, _)| *other == phase);
                let steps = self.steps().into_iter().map(|(phase, _)| phase);
                steps.into_iter().find(|phase| !reached(*phase)).unwrap_or(Phase::Serving)
            }
            Stage::Rolling { slot, until: None } => {
                let worker = self.slots.get(slot as usize).and_then(SlotRun::worker);
                match worker.map_or(Progress::None, |worker| worker.state.progress()) {
                    Progress::None => Phase::Started,
                    Progress::Started => Phase::Ready,
                    Progress::Ready => Phase::WarmedUp,
                    Progress::WarmedUp => Phase::Probed,
                    Progress::Fit | Progress::Serving => Phase::Serving,
                }
            }
            Stage::Going => Phase::Serving,
            Stage::Soaking(_) | Stage::Rolling { .. } => Phase::Soaked,
            Stage::Current | Stage::Standby | Stage::Leaving => Phase::Current,
        }
    }

    /// The steps of its workers before they are told to serve.
    fn steps(&self) -> Vec<(Phase, Progress)> {
        let mut steps = vec![(Phase::Started, Progress::Started), (Phase::Ready, Progress::Ready)];
        steps.extend(self.plan.warms_up.then_some((Phase::WarmedUp, Progress::WarmedUp)));
        steps.extend(self.plan.probes.then_some((Phase::Probed, Progress::Fit)));
        steps
    }

    fn find(&self, id: WorkerId) -> Option<Place> {
        let is_it = |worker: Option<&Worker>| worker.is_some_and(|worker| worker.id == id);
        let slot = self.slots.iter().position(|slot| is_it(slot.worker())).map(Place::Slot);
        let successor = || self.slots.iter().position(|slot| is_it(slot.successor.worker())).map(Place::Successor);
        let retiring = || self.retiring.iter().position(|worker| worker.id == id).map(Place::Retiring);
        slot.or_else(successor).or_else(retiring)
    }

    fn at(&mut self, place: Place) -> Option<(&mut Worker, &Plan)> {
        let worker = match place {
            Place::Slot(index) => self.slots.get_mut(index)?.occupant.worker_mut(),
            Place::Successor(index) => self.slots.get_mut(index)?.successor.worker_mut(),
            Place::Retiring(index) => self.retiring.get_mut(index),
        };
        Some((worker?, &self.plan))
    }

    /// Handles an event of one of its workers. A failure is told up; its meaning depends on the stage of this generation.
    pub fn handle(
        &mut self,
        now: Moment,
        id: WorkerId,
        event: WorkerEvent,
        out: &mut Vec<Action>,
    ) -> Option<(WorkerId, Failure)> {
        let jitter = if let WorkerEvent::Exited { jitter, .. } = &event { *jitter } else { 0 };
        let place = self.find(id)?;
        if let (WorkerEvent::Alive, Place::Slot(index)) = (&event, place) {
            let unfit = &mut self.slots[index].unfit;
            // It has come back in time.
            *unfit = unfit.filter(|unfit| !matches!(unfit, Unfit::Hangs(_)));
        }
        let (worker, plan) = self.at(place)?;
        let outcome = worker.handle(now, plan, event, out);
        self.settle_worker(now, place, outcome, jitter, out)
    }

    /// Handles the time: deadlines up to `read` have come.
    pub fn handle_time(&mut self, now: Moment, read: Moment, out: &mut Vec<Action>) -> Option<(WorkerId, Failure)> {
        let mut first = None;
        let slots = (0..self.slots.len()).flat_map(|index| [Place::Slot(index), Place::Successor(index)]);
        let places: Vec<Place> = slots.chain((0..self.retiring.len()).map(Place::Retiring)).collect();
        for place in places {
            if let Some((worker, plan)) = self.at(place) {
                let outcome = worker.handle_time(now, read, plan, out);
                first = first.or(self.settle_worker(now, place, outcome, 0, out));
            }
        }
        for slot in &mut self.slots {
            slot.end_backoff(now, read, self.id, out);
        }
        first
    }

    fn settle_worker(
        &mut self,
        now: Moment,
        place: Place,
        outcome: WorkerOutcome,
        jitter: u16,
        out: &mut Vec<Action>,
    ) -> Option<(WorkerId, Failure)> {
        let (worker, _) = self.at(place)?;
        let (id, pid) = (worker.id, worker.pid);
        let told = worker.failure.clone();
        let stable = worker.is_stable(now);
        match (place, outcome) {
            (Place::Slot(_) | Place::Retiring(_), WorkerOutcome::Continues) => None,
            (Place::Successor(index), WorkerOutcome::Continues) => {
                self.settle_successor(now, index, out);
                None
            }
            (_, WorkerOutcome::Failed(failure)) => Some((id, failure)),
            (Place::Slot(index), WorkerOutcome::Unfit(unfit)) => self.settle_unfit(now, index, unfit, out),
            (Place::Successor(_) | Place::Retiring(_), WorkerOutcome::Unfit(_)) => None,
            (Place::Slot(_), WorkerOutcome::Stops) if self.stage.is_candidate() => {
                let (slot, pid) = (id.slot, pid.unwrap_or_default());
                let text = format!("slot {slot} (pid {pid}) stops, and nobody here has told it to");
                Some((id, Failure::Exec(text)))
            }
            // Of a generation that serves it is replaced when it serves itself.
            (Place::Slot(_) | Place::Successor(_) | Place::Retiring(_), WorkerOutcome::Stops) => None,
            (Place::Retiring(index), WorkerOutcome::Gone(_)) => {
                self.retiring.remove(index);
                self.trim();
                None
            }
            (Place::Successor(index), WorkerOutcome::Gone(failure)) => {
                let slot = &mut self.slots[index];
                slot.successor = Occupant::Vacant;
                if self.stage != Stage::Current || slot.unfit.is_none() {
                    return failure.map(|failure| (id, failure));
                }
                slot.failures += 1;
                let wait = backoff::delay(slot.failures + 1, jitter);
                slot.successor = Occupant::Backoff(now + wait);
                let what = WorkerReport::Respawn(wait);
                out.push(Action::Report(Report::Worker { worker: id, pid, what, took: Duration::ZERO }));
                failure.map(|failure| (id, failure))
            }
            (Place::Slot(index), WorkerOutcome::Gone(failure)) => {
                let slot = &mut self.slots[index];
                let wanted = self.stage == Stage::Current && slot.is_wanted();
                let last = failure.clone().or(told);
                let failed = last.is_some();
                if let Some(failure) = last {
                    slot.last_failure = Some(LastFailure { failure, at: now });
                }
                slot.failures = if !failed || stable { u32::from(failed) } else { slot.failures + 1 };
                slot.unfit = None;
                // One that was to take its place does so now.
                slot.occupant = std::mem::take(&mut slot.successor);
                if wanted && slot.occupant == Occupant::Vacant {
                    let wait = backoff::delay(slot.failures, jitter);
                    let what = WorkerReport::Respawn(wait);
                    out.push(Action::Report(Report::Worker { worker: id, pid, what, took: Duration::ZERO }));
                    slot.spawn_after(now, wait, self.id, out);
                }
                self.trim();
                failure.map(|failure| (id, failure))
            }
        }
    }

    /// Moves a candidate on as far as its workers have come. Its soak is over only at a moment up to which everything was
    /// `read`: the news of a crash may be on its way.
    pub fn advance(&mut self, now: Moment, read: Option<Moment>, out: &mut Vec<Action>) -> Advance {
        let is_over = |until: Moment| read.is_some_and(|read| until <= read);
        match self.stage {
            Stage::Starting => {
                let least = self.fronts().map(|worker| worker.state.progress()).min().unwrap_or(Progress::None);
                for (phase, progress) in self.steps() {
                    if least >= progress && !self.phases.iter().any(|(reached, _)| *reached == phase) {
                        self.reach(now, phase, out);
                    }
                }
                if least < Progress::Fit {
                    return Advance::None;
                }
                self.stage = Stage::Going;
                self.promote_ready(now, out);
                self.advance(now, read, out)
            }
            Stage::Going if self.fronts().all(Worker::is_serving) => {
                self.reach(now, Phase::Serving, out);
                self.stage = Stage::Soaking(now + self.plan.soak);
                self.advance(now, read, out)
            }
            Stage::Soaking(until) if is_over(until) => {
                self.reach(now, Phase::Soaked, out);
                Advance::Whole
            }
            Stage::Rolling { slot, until: None } => {
                self.promote_ready(now, out);
                let serves = self.slots.get(slot as usize).and_then(SlotRun::worker).is_some_and(Worker::is_serving);
                if !serves {
                    return Advance::None;
                }
                self.stage = Stage::Rolling { slot, until: Some(now + self.plan.soak) };
                self.advance(now, read, out)
            }
            Stage::Rolling { slot, until: Some(until) } if is_over(until) => self.next_slot(now, slot, out),
            Stage::Rolling { .. }
            | Stage::Going
            | Stage::Soaking(_)
            | Stage::Current
            | Stage::Standby
            | Stage::Leaving => Advance::None,
        }
    }

    fn reach(&mut self, now: Moment, phase: Phase, out: &mut Vec<Action>) {
        let took = now.since(self.phase_at);
        self.phases.push((phase, took));
        self.phase_at = now;
        let workers = self.plan.workers;
        out.push(Action::Report(Report::Phase { generation: self.id, phase, workers, took }));
    }

    /// Makes it the generation that serves.
    pub fn become_current(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.reach(now, Phase::Current, out);
        self.stage = Stage::Current;
        self.since = now;
    }

    /// Lets workers that have become fit serve: a slot's replacement waits for nobody.
    pub fn promote_ready(&mut self, now: Moment, out: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            for place in [Place::Slot(index), Place::Successor(index)] {
                if let Some((worker, plan)) = self.at(place) {
                    worker.go(now, plan, out);
                }
            }
            self.settle_successor(now, index, out);
        }
    }

    /// Tells all to end in their own time.
    pub fn leave(&mut self, now: Moment, reason: DrainReason, out: &mut Vec<Action>) {
        if self.stage != Stage::Leaving {
            self.stage = Stage::Leaving;
            self.since = now;
        }
        self.each_worker(|worker, plan| worker.drain(now, plan, reason, out));
    }

    /// Ends all.
    pub fn kill(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.leave(now, DrainReason::Stop, out);
        self.each_worker(|worker, _| worker.kill(now, KillReason::FastStop, out));
    }

    /// Nobody is replaced any more.
    pub(super) fn each_worker(&mut self, mut tell: impl FnMut(&mut Worker, &Plan)) {
        for slot in &mut self.slots {
            slot.unfit = None;
            for occupant in [&mut slot.occupant, &mut slot.successor] {
                match occupant {
                    Occupant::Worker(worker) => tell(worker, &self.plan),
                    Occupant::Backoff(_) => *occupant = Occupant::Vacant,
                    Occupant::Vacant => {}
                }
            }
        }
        self.retiring.iter_mut().for_each(|worker| tell(worker, &self.plan));
    }
}
