//! The lifecycle, without I/O, clock or randomness: `handle(now, event) -> actions`, and `deadline()`.
//!
//! Three small machines, each in its file: a [`worker`] reports to its [`generation`], a generation to the [`fleet`].
//! Only outcomes travel up.
//!
//! ```text
//! fleet       Idle -> Booting{candidate} -> Serving{current} <-> Upgrading{current, candidate} -> Stopping -> Stopped
//! generation  Starting -> Going -> Soaking -> Current -> Leaving -> gone        rolling: Rolling -> Current, or Standby
//! worker      Spawning -> Executing -> Starting -> WarmingUp -> Probing -> Ready -> Going -> Serving -> Draining -> gone
//! ```
//!
//! What holds after each event (`walk` tries all orders, with crashes in between):
//!
//! 1. An upgrade never leaves fewer ready workers than before: a worker of the old generation is told to drain only when
//!    the new one serves in its place and has soaked; so is one that is too large or too old.
//! 2. There is one candidate at most.
//! 3. Every operation is answered exactly once.
//! 4. Every process that was made is watched until its exit was seen.
//! 5. Something is always awaited: an exit, an answer or a deadline. Only `Time` judges deadlines, and it says up to which
//!    moment everything was read: a master that was stopped punishes nobody for what it has not heard yet.
//! 6. `snapshot` and back changes nothing.
//! 7. After any of it the master may die: what serves goes on, nothing else is left, and who waited is answered.

// Each case is named: a new one must be looked at wherever it is handled.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod backoff;
pub mod counts;
pub mod event;
pub mod failure;
mod fitness;
pub mod fleet;
pub mod generation;
pub mod history;
pub mod plan;
mod request;
mod rollback;
mod rolling;
mod scaling;
mod settle;
pub mod slot;
pub mod snapshot;
mod stage;
mod steadiness;
mod succession;
#[cfg(test)]
mod walk;
pub mod worker;
mod worker_gate;
mod worker_state;

use gin_shared::channel::DrainReason;
use gin_shared::control::{OperationId, Phase};
use gin_shared::exit;
use gin_shared::generation::{Generation, WorkerId};
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use action::{Action, Answer, GenerationAction, Report};
use counts::Counts;
use event::{Event, WorkerEvent};
use failure::Failure;
use fleet::{Candidate, Fleet, Reexec, Restart, Scaled, Waiting};
use generation::{Run, Stage};
use history::{History, Record};
use plan::Plan;

/// The most workers that take the connections of one worker.
const TAKERS_MAX: usize = 32;

/// The most operations that can wait for one upgrade.
pub const OPERATIONS_MAX: usize = 256;
/// The refusal of what must wait for the first generation, while that waits itself.
const HELD_BACK: &str = "the first generation waits, because the last start failed; gin-ctl restart tries at once";

/// The whole lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine {
    /// The state of the fleet.
    pub fleet: Fleet,
    /// Generations on their way out, oldest first.
    pub leaving: Vec<Run>,
    /// Requests that wait for their turn.
    #[serde(default)]
    waiting: Waiting,
    /// Operations waiting for a scale to finish.
    #[serde(default)]
    scaling: Vec<OperationId>,
    /// Operations waiting for the stop to finish.
    #[serde(default)]
    stopping: Vec<OperationId>,
    /// True if a signal has asked for the stop: the next signal cuts it short.
    #[serde(default)]
    stop_signalled: bool,
    /// The number of workers that was asked for.
    #[serde(default)]
    scaled: Option<Scaled>,
    /// The number of workers in the current generation's configuration.
    #[serde(default)]
    configured: u32,
    /// The number of the next generation.
    next: Generation,
    /// Draining generations allowed before upgrades queue.
    max_draining: usize,
    /// Generations that served before this one, oldest first: a rollback can bring them back.
    #[serde(default)]
    good: Vec<Generation>,
    /// Generations that were good, and whose program an adoption could not open any more, oldest first: the last few.
    #[serde(default)]
    lost: Vec<Generation>,
    /// The upgrade in place that was asked for.
    #[serde(default)]
    reexec: Option<Reexec>,
    /// The upgrades that ended.
    #[serde(default)]
    pub history: History,
    /// Numbers of what has happened since the instance was started.
    #[serde(default)]
    pub counts: Counts,
}

impl Machine {
    /// A machine that does nothing until the first `Restart`.
    #[must_use]
    pub fn new(max_draining: usize) -> Self {
        Self {
            fleet: Fleet::Idle,
            leaving: Vec::new(),
            waiting: Waiting::default(),
            scaling: Vec::new(),
            stopping: Vec::new(),
            stop_signalled: false,
            scaled: None,
            configured: 0,
            next: Generation(1),
            max_draining,
            good: Vec::new(),
            lost: Vec::new(),
            reexec: None,
            history: History::default(),
            counts: Counts::default(),
        }
    }

    /// Sets the number of old generations that may drain at once.
    pub fn set_max_draining(&mut self, max_draining: usize) {
        self.max_draining = max_draining;
    }

    /// The generation that serves.
    #[must_use]
    pub fn current(&self) -> Option<&Run> {
        match &self.fleet {
            Fleet::Serving(current) | Fleet::Upgrading { current, .. } => Some(current),
            Fleet::Idle | Fleet::Booting(_) | Fleet::Stopping { .. } | Fleet::Stopped => None,
        }
    }

    /// True if it waits to be booted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.fleet, Fleet::Idle)
    }

    /// The generation that is to serve.
    #[must_use]
    pub fn candidate(&self) -> Option<&Candidate> {
        match &self.fleet {
            Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } => Some(candidate),
            Fleet::Idle | Fleet::Serving(_) | Fleet::Stopping { .. } | Fleet::Stopped => None,
        }
    }

    /// The workers that get the connections of `leaver`: the one that serves in its slot, or else all that serve. Every
    /// generation that serves counts, also one that stands by. Only workers that satisfy `takes` can be given any.
    pub fn takers(&self, leaver: WorkerId, takes: impl Fn(&WorkerId) -> bool) -> Vec<WorkerId> {
        let candidate = self.candidate().and_then(|candidate| candidate.run.as_ref());
        let standby = self.leaving.iter().filter(|run| run.stage == Stage::Standby);
        let runs = candidate.into_iter().chain(self.current()).chain(standby);
        let serving = runs.flat_map(Run::workers).filter(|worker| worker.is_serving() && worker.id != leaver);
        let serving = serving.filter(|worker| takes(&worker.id));
        let all: Vec<WorkerId> = serving.map(|worker| worker.id).collect();
        let heir = all.iter().find(|worker| worker.slot == leaver.slot).copied();
        heir.map_or_else(|| all.into_iter().take(TAKERS_MAX).collect(), |heir| vec![heir])
    }

    /// The workers that may get idle connections of `full`, which serves on and has no room: the others of the current generation
    /// that serve, and satisfy `takes`.
    pub fn relievers(&self, full: WorkerId, takes: impl Fn(&WorkerId) -> bool) -> Vec<WorkerId> {
        let others = self.current().into_iter().flat_map(Run::workers).filter(|worker| worker.id != full);
        let serving = others.filter(|worker| worker.is_serving() && takes(&worker.id));
        serving.map(|worker| worker.id).take(TAKERS_MAX).collect()
    }

    /// All generations that have workers: current, candidate, leaving.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.current().into_iter().chain(self.candidate().and_then(|c| c.run.as_ref())).chain(&self.leaving)
    }

    /// The moment from which on `handle` wants to be called with [`Event::Time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.runs().filter_map(Run::deadline).min()
    }

    /// Takes one event in and says what to do, in this order.
    #[must_use]
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        let read = if let Event::Time(read) = &event { Some(*read) } else { None };
        match event {
            Event::Restart { operation, asked_by, queue } => {
                self.handle_restart(now, operation, asked_by, queue, &mut out);
            }
            Event::Cancel { operation, target, because } => {
                self.handle_cancel(now, operation, target, &because, &mut out);
            }
            Event::Scale { operation, to } => self.handle_scale(now, operation, to, &mut out),
            Event::Stop { operation, by } => self.handle_stop(now, operation, by, &mut out),
            Event::Prepared { generation, plan } => self.handle_prepared(now, generation, plan, &mut out),
            Event::Worker { worker, what } => self.handle_worker(now, worker, what, &mut out),
            Event::Rollback { operation, asked_by, to } => self.handle_rollback(now, operation, asked_by, to, &mut out),
            Event::Reexec { operation, queue } => self.handle_reexec(operation, queue, &mut out),
            Event::ReexecChecked(result) => self.handle_reexec_checked(result, &mut out),
            Event::ReexecFailed(why) => self.handle_reexec_failed(why, &mut out),
            Event::Reexeced => self.handle_reexeced(&mut out),
            Event::Adopted { alive, kept } => self.handle_adopted(now, &alive, &kept, &mut out),
            Event::Time(_) => {}
        }
        self.settle(now, read, &mut out);
        while let Some(read) = read
            && self.deadline().is_some_and(|at| at <= read)
        {
            self.handle_time(now, read, &mut out);
            self.settle(now, Some(read), &mut out);
        }
        self.counts.count(&out);
        out
    }

    fn handle_prepared(
        &mut self,
        now: Moment,
        generation: Generation,
        plan: Result<Plan, Failure>,
        out: &mut Vec<Action>,
    ) {
        let scaled = self.scaled;
        let replaces = matches!(self.fleet, Fleet::Upgrading { .. });
        let (Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. }) = &mut self.fleet else { return };
        if candidate.generation != generation || candidate.run.is_some() {
            return;
        }
        match plan {
            Ok(mut plan) => {
                candidate.configured = plan.workers;
                let scaled = scaled.filter(|scaled| scaled.configured == plan.workers);
                plan.workers = scaled.map_or(plan.workers, |scaled| scaled.workers);
                candidate.run = Some(Run::start(now, generation, plan, candidate.began, replaces, out));
            }
            Err(failure) => self.withdraw(now, None, failure, out),
        }
    }

    fn handle_worker(&mut self, now: Moment, id: WorkerId, what: WorkerEvent, out: &mut Vec<Action>) {
        let failed = match &mut self.fleet {
            Fleet::Serving(run) | Fleet::Upgrading { current: run, .. } if run.id == id.generation => {
                let failed = run.handle(now, id, what, out);
                self.current_failed(failed, out);
                return;
            }
            Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } if candidate.generation == id.generation => {
                candidate.run.as_mut().and_then(|run| run.handle(now, id, what, out))
            }
            Fleet::Idle
            | Fleet::Booting(_)
            | Fleet::Serving(_)
            | Fleet::Upgrading { .. }
            | Fleet::Stopping { .. }
            | Fleet::Stopped => {
                for run in self.leaving.iter_mut().filter(|run| run.id == id.generation) {
                    run.handle(now, id, what.clone(), out);
                }
                return;
            }
        };
        if let Some((worker, failure)) = failed {
            self.withdraw(now, Some(worker), failure, out);
        }
    }

    fn handle_time(&mut self, now: Moment, read: Moment, out: &mut Vec<Action>) {
        let (current, candidate) = match &mut self.fleet {
            Fleet::Serving(current) => (Some(current), None),
            Fleet::Upgrading { current, candidate } => (Some(current), Some(candidate)),
            Fleet::Booting(candidate) => (None, Some(candidate)),
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => (None, None),
        };
        let current = current.and_then(|run| run.handle_time(now, read, out));
        let candidate = candidate.and_then(|c| c.run.as_mut()).and_then(|run| run.handle_time(now, read, out));
        for run in &mut self.leaving {
            run.handle_time(now, read, out);
        }
        self.current_failed(current, out);
        if let Some((worker, failure)) = candidate {
            self.withdraw(now, Some(worker), failure, out);
        }
    }

    /// A worker of the current generation failed: it is replaced, and who waits for a full number hears why not.
    fn current_failed(&mut self, failed: Option<(WorkerId, Failure)>, out: &mut Vec<Action>) {
        if let Some((_, failure)) = failed {
            let workers = self.target();
            answer_all(std::mem::take(&mut self.scaling), &Answer::Incomplete { failure, workers }, out);
        }
    }

    /// Makes a candidate.
    fn begin(&mut self, now: Moment, request: Restart, out: &mut Vec<Action>) -> Candidate {
        let generation = self.next;
        self.next = generation.next();
        let (operations, asked_by) = (request.operations.clone(), request.asked_by.clone());
        out.push(Action::Report(Report::Candidate { generation, operations, asked_by }));
        out.push(Action::Generation(generation, GenerationAction::Prepare { from: request.rollback }));
        Candidate { generation, run: None, configured: 0, request, began: now }
    }

    /// The candidate will not be: nothing changes, and who asked hears why. At boot there is nothing else: the end.
    fn withdraw(&mut self, now: Moment, worker: Option<WorkerId>, failure: Failure, out: &mut Vec<Action>) {
        self.withdraw_or_stand_by(now, worker, failure, false, out);
    }

    /// The same; `needed`: what serves of it is not to end yet.
    fn withdraw_or_stand_by(
        &mut self,
        now: Moment,
        worker: Option<WorkerId>,
        failure: Failure,
        needed: bool,
        out: &mut Vec<Action>,
    ) {
        let (candidate, fleet) = match std::mem::replace(&mut self.fleet, Fleet::Stopped) {
            Fleet::Upgrading { mut current, candidate } => {
                current.reclaim(now, out);
                (candidate, Fleet::Serving(current))
            }
            Fleet::Booting(candidate) => (candidate, Fleet::Stopping { code: exit::FAILED }),
            other @ (Fleet::Idle | Fleet::Serving(_) | Fleet::Stopping { .. } | Fleet::Stopped) => {
                self.fleet = other;
                return;
            }
        };
        self.fleet = fleet;
        let generation = candidate.generation;
        // A worker that has failed is told to end already: what it failed at is told by how.
        let phase = failure.phase().or(candidate.run.as_ref().map(Run::missing)).unwrap_or(Phase::Started);
        out.push(Action::Report(Report::Withdrawn { generation, phase, failure: failure.clone(), worker }));
        self.history.push(record(now, &candidate, Some(failure.clone())));
        match candidate.run {
            Some(mut run) => {
                // A rolling candidate has taken places that the old generation has to fill again.
                let rolls = matches!(run.stage, Stage::Rolling { .. });
                if needed || rolls && run.serving() > 0 && self.current().is_some_and(Run::is_degraded) {
                    // One is enough.
                    let before = self.leaving.iter_mut().filter(|run| run.stage == Stage::Standby);
                    before.for_each(|run| run.leave(now, DrainReason::Upgrade, out));
                    run.stand_by(now, out);
                } else {
                    run.leave(now, DrainReason::Upgrade, out);
                }
                self.leaving.push(run);
            }
            None => out.push(Action::Generation(generation, GenerationAction::Forget)),
        }
        let told = match failure {
            Failure::Cancelled(because) => Answer::Cancelled(because),
            other @ (Failure::Config(_)
            | Failure::Prepare(_)
            | Failure::Spawn(_)
            | Failure::Exec(_)
            | Failure::Exited { .. }
            | Failure::NotReady { .. }
            | Failure::WarmUp { .. }
            | Failure::Probe { .. }
            | Failure::Hangs { .. }
            | Failure::NotAccepting { .. }) => Answer::Failed(other),
        };
        answer_all(candidate.request.operations, &told, out);
        if let Fleet::Stopping { .. } = self.fleet {
            self.stop(now, exit::FAILED, out);
        }
    }
}

fn record(now: Moment, candidate: &Candidate, failure: Option<Failure>) -> Record {
    let run = candidate.run.as_ref();
    Record {
        generation: candidate.generation,
        release: run.and_then(|run| run.plan.release.clone()),
        failure,
        said: Vec::new(),
        asked_by: candidate.request.asked_by.clone(),
        rollback: candidate.request.rollback,
        phases: run.map(|run| run.phases.clone()).unwrap_or_default(),
        ended: now,
        took: now.since(candidate.began),
    }
}

fn answer(operation: Option<OperationId>, with: &Answer, out: &mut Vec<Action>) {
    out.extend(operation.map(|operation| Action::Answer(operation, with.clone())));
}

fn answer_all(operations: Vec<OperationId>, with: &Answer, out: &mut Vec<Action>) {
    out.extend(operations.into_iter().map(|operation| Action::Answer(operation, with.clone())));
}
