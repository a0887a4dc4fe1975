//! The succession of masters: an upgrade in place, when another program takes over with everything at hand; and an adoption,
//! when the master has died and the next one finds what is left.

use std::collections::HashMap;
use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::control::OperationId;
use gin_shared::generation::{Generation, WorkerId};

use super::action::{Action, Answer, GenerationAction, MasterAction, Report, WorkerAction};
use super::event::Queue;
use super::failure::Failure;
use super::fleet::{Fleet, Reexec, ReexecStage};
use super::generation::{Run, Stage};
use super::slot::Occupant;
use super::worker::{Part, Worker, WorkerState};
use super::{Machine, OPERATIONS_MAX, answer, answer_all};
use crate::exit_status::Exit;
use crate::moment::Moment;

/// The least time to drain for a worker that may hear only now that it is to end.
const LATE: Duration = Duration::from_secs(5);
/// The failure of a candidate whose master has died.
const DIED: &str = "the supervisor died while it was on its way";

impl Machine {
    /// True if nothing is on its way whose end only this process would hear of: no candidate, and no worker between its order
    /// and its serving.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let settled = |worker: &Worker| matches!(worker.state.part(), Part::Serving | Part::Ending);
        matches!(self.fleet, Fleet::Serving(_)) && self.runs().flat_map(Run::workers).all(settled)
    }

    /// True if `operation` has not been answered yet.
    #[must_use]
    pub fn awaits(&self, operation: OperationId) -> bool {
        let candidate = self.candidate().map(|candidate| &candidate.request.operations);
        let restart = self.waiting.restart.as_ref().map(|restart| &restart.operations);
        let scale = self.waiting.scale.as_ref().map(|scale| &scale.operations);
        let reexec = self.reexec.as_ref().map(|reexec| &reexec.operations);
        let mut lists = [candidate, restart, scale, reexec, Some(&self.scaling), Some(&self.stopping)].into_iter();
        lists.any(|list| list.is_some_and(|list| list.contains(&operation)))
    }

    /// The operations that wait for an upgrade in place.
    #[must_use]
    pub fn reexec_operations(&self) -> Vec<OperationId> {
        self.reexec.as_ref().map(|reexec| reexec.operations.clone()).unwrap_or_default()
    }

    pub(super) fn handle_reexec(&mut self, operation: Option<OperationId>, queue: Queue, out: &mut Vec<Action>) {
        if matches!(self.fleet, Fleet::Stopping { .. } | Fleet::Stopped) {
            return answer(operation, &Answer::Refused("the supervisor is stopping".to_owned()), out);
        }
        if queue == Queue::Refuse && !self.is_quiet() {
            return answer(operation, &Answer::Busy("workers are on their way".to_owned()), out);
        }
        match &mut self.reexec {
            Some(reexec) if reexec.operations.len() >= OPERATIONS_MAX => {
                answer(operation, &Answer::Busy(format!("{OPERATIONS_MAX} commands wait already")), out);
            }
            Some(reexec) => reexec.operations.extend(operation),
            none => {
                let operations = operation.into_iter().collect();
                *none = Some(Reexec { operations, stage: ReexecStage::Checking });
                out.push(Action::Master(MasterAction::CheckReexec));
            }
        }
    }

    pub(super) fn handle_reexec_checked(&mut self, result: Result<(), Failure>, out: &mut Vec<Action>) {
        let Some(reexec) = self.reexec.as_mut().filter(|reexec| reexec.stage == ReexecStage::Checking) else { return };
        match result {
            _ if reexec.operations.is_empty() => self.reexec = None,
            Ok(()) => {
                reexec.stage = ReexecStage::Checked;
                let operations = reexec.operations.clone();
                if !self.is_quiet() {
                    let text = "workers are on their way; the supervisor is upgraded when they serve".to_owned();
                    out.push(Action::Report(Report::Waiting { operations, text }));
                }
            }
            Err(why) => self.end_reexec(&Answer::NotReexeced(why), out),
        }
    }

    /// Handles a new program that was not executed: it cannot be, or workers are on their way again.
    pub(super) fn handle_reexec_failed(&mut self, why: Option<String>, out: &mut Vec<Action>) {
        match (why, &mut self.reexec) {
            (Some(why), _) => self.end_reexec(&Answer::NotReexeced(Failure::Prepare(why)), out),
            (None, Some(reexec)) => reexec.stage = ReexecStage::Checked,
            (None, None) => {}
        }
    }

    /// This program is the master now.
    pub(super) fn handle_reexeced(&mut self, out: &mut Vec<Action>) {
        self.mark_surplus();
        self.end_reexec(&Answer::Reexeced, out);
    }

    fn mark_surplus(&mut self) {
        if let Fleet::Serving(current) | Fleet::Upgrading { current, .. } = &mut self.fleet {
            current.mark_surplus();
        }
    }

    pub(super) fn end_reexec(&mut self, with: &Answer, out: &mut Vec<Action>) {
        if let Some(reexec) = self.reexec.take() {
            answer_all(reexec.operations, with, out);
        }
    }

    pub(super) fn settle_reexec(&mut self, out: &mut Vec<Action>) {
        let quiet = self.is_quiet();
        if let Some(reexec) = &mut self.reexec
            && reexec.stage == ReexecStage::Checked
            && quiet
        {
            reexec.stage = ReexecStage::Executing;
            out.push(Action::Master(MasterAction::Reexec));
        }
    }

    /// Answers the operations that wait for an upgrade in place, or one of them; not once it is being carried out.
    pub(super) fn cancel_reexec(&mut self, target: Option<OperationId>, because: &str, out: &mut Vec<Action>) -> bool {
        let waits = |reexec: &&mut Reexec| reexec.stage != ReexecStage::Executing;
        let Some(reexec) = self.reexec.as_mut().filter(waits) else { return false };
        let meant = |operation: &OperationId| target.is_none_or(|target| target == *operation);
        let (cancelled, others): (Vec<_>, Vec<_>) = reexec.operations.drain(..).partition(meant);
        reexec.operations = others;
        let found = !cancelled.is_empty();
        answer_all(cancelled, &Answer::Cancelled(because.to_owned()), out);
        // A check that is under way comes to its end, and may serve another who asks.
        if reexec.operations.is_empty() && reexec.stage == ReexecStage::Checked {
            self.reexec = None;
        }
        found
    }

    /// The master before this one has died. `alive` are the workers that live, `kept` the generations whose frozen
    /// configuration is at hand.
    ///
    /// What had not been promoted is ended, for what it said meanwhile was lost. What was told to end is told again, for
    /// the word may not have gone out. If nothing is left that serves, the fleet is idle, to be booted.
    pub(super) fn handle_adopted(
        &mut self,
        now: Moment,
        alive: &HashMap<WorkerId, i32>,
        kept: &[Generation],
        out: &mut Vec<Action>,
    ) {
        self.mark_surplus();
        self.end_reexec(&Answer::Died, out);
        self.keep_alone(kept);
        answer_all(std::mem::take(&mut self.stopping), &Answer::Died, out);
        self.stop_signalled = false;
        for run in self.runs_mut() {
            run.adopt_processes(alive);
        }
        let known = self.runs().flat_map(Run::workers).map(|worker| worker.id);
        let gone: Vec<WorkerId> = known.filter(|id| !alive.contains_key(id)).collect();
        self.dissolve_candidate(now, alive, out);
        for run in &mut self.leaving {
            if run.stage == Stage::Standby {
                run.renew(now, out);
            } else {
                run.repeat_orders(now, out);
            }
        }
        self.judge_current(now, alive, out);
        self.bury(now, &gone, out);
    }

    /// Withdraws the candidate. If nobody else serves, it goes on serving until the generation that is booted serves.
    fn dissolve_candidate(&mut self, now: Moment, alive: &HashMap<WorkerId, i32>, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.fleet, Fleet::Idle) {
            Fleet::Upgrading { current, candidate } => {
                let alone = !current.lives(alive) && candidate.run.as_ref().is_some_and(|run| run.lives(alive));
                self.fleet = Fleet::Upgrading { current, candidate };
                self.withdraw_or_stand_by(now, None, Failure::Cancelled(DIED.to_owned()), alone, out);
            }
            Fleet::Serving(run) => self.fleet = Fleet::Serving(run),
            Fleet::Booting(candidate) => {
                answer_all(candidate.request.operations.clone(), &Answer::Died, out);
                let generation = candidate.generation;
                match candidate.run {
                    Some(mut run) if run.lives(alive) => {
                        run.stand_by(now, out);
                        self.leaving.push(run);
                    }
                    Some(mut run) => {
                        run.leave(now, DrainReason::Stop, out);
                        self.leaving.push(run);
                    }
                    None => out.push(Action::Generation(generation, GenerationAction::Forget)),
                }
            }
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => {}
        }
    }

    /// A current generation of which nobody lives is given up; but it was good.
    fn judge_current(&mut self, now: Moment, alive: &HashMap<WorkerId, i32>, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.fleet, Fleet::Idle) {
            Fleet::Serving(mut current) if current.lives(alive) => {
                current.renew(now, out);
                self.fleet = Fleet::Serving(current);
            }
            Fleet::Serving(mut current) => {
                answer_all(std::mem::take(&mut self.scaling), &Answer::Died, out);
                current.leave(now, DrainReason::Upgrade, out);
                let generation = current.id;
                self.leaving.push(current);
                self.keep_good(Some(generation), None, out);
            }
            other @ (Fleet::Idle
            | Fleet::Booting(_)
            | Fleet::Upgrading { .. }
            | Fleet::Stopping { .. }
            | Fleet::Stopped) => self.fleet = other,
        }
    }

    /// Settles workers that are dead, or never came to be.
    fn bury(&mut self, now: Moment, gone: &[WorkerId], out: &mut Vec<Action>) {
        // Nobody is there to hear it.
        out.retain(|action| !action.worker().is_some_and(|id| gone.contains(&id)));
        for id in gone {
            for run in self.runs_mut() {
                run.lost(now, *id, out);
            }
        }
    }

    fn runs_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        let (current, candidate) = match &mut self.fleet {
            Fleet::Serving(current) => (Some(current), None),
            Fleet::Upgrading { current, candidate } => (Some(current), candidate.run.as_mut()),
            Fleet::Booting(candidate) => (None, candidate.run.as_mut()),
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => (None, None),
        };
        current.into_iter().chain(candidate).chain(&mut self.leaving)
    }
}

impl Run {
    /// True if a worker of it lives that serves.
    fn lives(&self, alive: &HashMap<WorkerId, i32>) -> bool {
        self.workers().any(|worker| alive.contains_key(&worker.id) && worker.is_serving())
    }

    fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        let in_slots = self.slots.iter_mut().flat_map(|slot| [&mut slot.occupant, &mut slot.successor]);
        in_slots.filter_map(Occupant::worker_mut).chain(&mut self.retiring)
    }

    /// Those that live may have come further than the machine was told: a worker with a process may even have accepted, so
    /// it is to be told to end, and not killed.
    fn adopt_processes(&mut self, alive: &HashMap<WorkerId, i32>) {
        for worker in self.workers_mut() {
            let Some(pid) = alive.get(&worker.id) else { continue };
            worker.pid = Some(*pid);
            if let WorkerState::Spawning | WorkerState::Executing(_) = worker.state {
                worker.state = WorkerState::Ready;
            }
        }
    }

    fn repeat_orders(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.workers_mut().for_each(|worker| worker.repeat_orders(now, DrainReason::Upgrade, out));
    }

    /// Of a generation that serves, workers that do not serve yet are ended, and others take their places. Orders to end are repeated.
    fn renew(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.repeat_orders(now, out);
        let (id, plan) = (self.id, &self.plan);
        for slot in &mut self.slots {
            let wanted = slot.is_wanted();
            for front in [true, false] {
                let occupant = if front { &mut slot.occupant } else { &mut slot.successor };
                let Some(worker) = occupant.worker_mut() else { continue };
                if worker.is_serving() {
                    worker.silent_at = plan.watchdog.map(|patience| now + patience);
                } else if worker.state.part() == Part::Gated {
                    worker.drain(now, plan, DrainReason::Stop, out);
                    if let Occupant::Worker(worker) = std::mem::take(occupant) {
                        self.retiring.push(worker);
                    }
                    if front && wanted {
                        slot.spawn(now, id, out);
                    }
                }
            }
        }
    }

    /// Settles a worker that was found dead, or never came to be.
    fn lost(&mut self, now: Moment, id: WorkerId, out: &mut Vec<Action>) {
        use super::event::WorkerEvent::{Exited, SpawnFailed};
        let Some(worker) = self.workers().find(|worker| worker.id == id) else { return };
        let what = match worker.state.part() {
            Part::Ordered => SpawnFailed { error: DIED.to_owned() },
            Part::Executing | Part::Gated | Part::Serving | Part::Ending => Exited { exit: Exit::Unknown, jitter: 0 },
        };
        // What it means is settled: a candidate has been withdrawn, and a slot is filled again.
        let _ = self.handle(now, id, what, out);
    }
}

impl Worker {
    /// Repeats the last order to end: it may never have reached the worker.
    fn repeat_orders(&mut self, now: Moment, reason: DrainReason, out: &mut Vec<Action>) {
        if let WorkerState::Draining(deadline) = &mut self.state {
            // It may hear it only now.
            deadline.at = deadline.at.max(now + LATE);
            out.push(Action::Worker(self.id, self.order_to_end(reason)));
        } else if let WorkerState::Aborting(_) = self.state {
            out.push(Action::Worker(self.id, WorkerAction::Abort));
        } else if matches!(self.state, WorkerState::Doomed | WorkerState::Killed) && self.pid.is_some() {
            self.state = WorkerState::Killed;
            out.push(Action::Worker(self.id, WorkerAction::Kill));
        }
    }
}
