//! A worker, from the order for a process to its end.
//!
//! | part of its life | state | means | left by |
//! |---|---|---|---|
//! | Ordered | Spawning | the driver was asked for a process | Spawned, SpawnFailed |
//! | | Doomed | the same, but it is not wanted any more | Spawned (then killed), SpawnFailed |
//! | Executing | Executing | the exec helper prepares the process | Executed, ExecFailed, its deadline |
//! | Gated | Starting | the program runs | ready, or its deadline |
//! | | WarmingUp | ready; the operator's warm-up runs | WarmedUp, or its deadline |
//! | | Probing | it is probed over its private listener | Probed, or its deadline |
//! | | Ready | fit to serve, not told to | `go` |
//! | | Going | told to accept, has not said so | Accepting, or its deadline |
//! | Serving | Serving | accepts | `drain`; STOPPING=1 that nobody here has asked for |
//! | Ending | Aborting | it hangs: sent SIGABRT | its exit, or its deadline |
//! | | Draining | told to end | its exit, or its deadline |
//! | | Killed | sent SIGKILL | its exit |
//!
//! An event that comes too early or too late for a state is passed over: [`WorkerState::expects`] says which, once.

use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::generation::WorkerId;
use serde::{Deserialize, Serialize};

use super::action::{Action, KillReason, Report, WorkerAction, WorkerReport};
use super::backoff;
use super::event::WorkerEvent;
use super::failure::{Failure, Unfit};
use super::plan::{CHECK_INTERVAL, Plan, Readiness};
pub use super::worker_state::{Part, Progress, WorkerState};
use crate::exit_status::Exit;
use crate::moment::{Deadline, Moment};

/// Time for a worker that has served nobody yet to end, if `drain_timeout` is longer.
pub const UNSERVED_STOP: Duration = Duration::from_secs(10);

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Worker {
    /// The worker.
    pub id: WorkerId,
    /// Its process, from `Spawned` on.
    pub pid: Option<i32>,
    /// The state of a worker.
    pub state: WorkerState,
    /// Since when.
    pub since: Moment,
    /// The moment when its program was started; before that, when it was ordered.
    pub born: Moment,
    /// The reason why it was told to end, if that was its own fault.
    pub failure: Option<Failure>,
    /// The text of the last check.
    pub check: Option<String>,
    /// True if it announced itself, and was given a channel.
    #[serde(default)]
    pub announced: bool,
    /// True if it said that it ends before it was told to.
    #[serde(default)]
    pub stopping: bool,
    /// The moment when it began to serve.
    #[serde(default)]
    pub served: Option<Moment>,
    /// While it serves: the moment when it will have been silent for too long.
    #[serde(default)]
    pub silent_at: Option<Moment>,
    /// While it serves: the moment when it will be too old.
    #[serde(default)]
    pub old_at: Option<Moment>,
}

/// The meaning of an event for the generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerOutcome {
    /// Nothing, or only progress, which the generation reads off the state.
    Continues,
    /// It is not fit; it will exit or is already gone.
    Failed(Failure),
    /// It serves, but is to be replaced.
    Unfit(Unfit),
    /// It ends by itself.
    Stops,
    /// It is gone; `Some` if that was a failure not told before.
    Gone(Option<Failure>),
}

impl Worker {
    /// Orders a worker.
    pub fn spawn(now: Moment, id: WorkerId, actions: &mut Vec<Action>) -> Self {
        actions.push(Action::Worker(id, WorkerAction::Spawn));
        Self {
            id,
            pid: None,
            state: WorkerState::Spawning,
            since: now,
            born: now,
            failure: None,
            check: None,
            announced: false,
            stopping: false,
            served: None,
            silent_at: None,
            old_at: None,
        }
    }

    /// True if it serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.state == WorkerState::Serving
    }

    /// True if it was sent SIGABRT.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        matches!(self.state, WorkerState::Aborting(_))
    }

    /// The moment when it wants to be looked at.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            WorkerState::Executing(deadline)
            | WorkerState::WarmingUp(deadline)
            | WorkerState::Probing(deadline)
            | WorkerState::Going(deadline)
            | WorkerState::Aborting(deadline)
            | WorkerState::Draining(deadline) => Some(deadline.at),
            WorkerState::Serving => self.silent_at.into_iter().chain(self.old_at).min(),
            WorkerState::Starting { deadline, next } => Some(next.map_or(deadline.at, |n| n.min(deadline.at))),
            WorkerState::Spawning | WorkerState::Doomed | WorkerState::Ready | WorkerState::Killed => None,
        }
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Moment, plan: &Plan, event: WorkerEvent, out: &mut Vec<Action>) -> WorkerOutcome {
        if !self.state.expects(&event) {
            return WorkerOutcome::Continues;
        }
        match event {
            WorkerEvent::Spawned { pid } => self.handle_spawned(now, plan, pid, out),
            WorkerEvent::SpawnFailed { error } => {
                // Nobody misses a worker that is not wanted.
                let failure = (self.state == WorkerState::Spawning).then_some(Failure::Spawn(error));
                return self.gone(now, failure, out);
            }
            WorkerEvent::Executed => self.handle_executed(now, plan, out),
            WorkerEvent::ExecFailed { error } => {
                self.kill(now, KillReason::NotStarted, out);
                return self.fail(now, Failure::Exec(error), out);
            }
            WorkerEvent::Ready => self.handle_ready(now, plan, &Readiness::Notify, out),
            WorkerEvent::Checked(Ok(())) => self.handle_ready(now, plan, &Readiness::Check, out),
            WorkerEvent::Checked(Err(error)) => {
                if let WorkerState::Starting { next, .. } = &mut self.state {
                    *next = Some(now + CHECK_INTERVAL);
                }
                self.check = Some(error.to_string());
            }
            WorkerEvent::WarmedUp(result) => return self.handle_warmed_up(now, plan, result, out),
            WorkerEvent::Probed(result) => return self.handle_probed(now, plan, result, out),
            WorkerEvent::Alive => self.silent_at = plan.watchdog.map(|patience| now + patience),
            WorkerEvent::Hangs => {
                if let Some(patience) = plan.watchdog {
                    return WorkerOutcome::Unfit(Unfit::Hangs(patience));
                }
            }
            WorkerEvent::Overweight(bytes) => return WorkerOutcome::Unfit(Unfit::Memory(bytes)),
            WorkerEvent::Announced => self.announced = true,
            WorkerEvent::Accepting => self.serve(now, plan, out),
            WorkerEvent::Full => out.push(Action::Worker(self.id, WorkerAction::Relieve)),
            WorkerEvent::NoTaker => out.push(Action::Worker(self.id, WorkerAction::Redirect)),
            WorkerEvent::Load => out.push(Action::Worker(self.id, WorkerAction::Balance)),
            WorkerEvent::Stopping => {
                self.stopping = true;
                self.report(now, WorkerReport::Stopping, out);
                return WorkerOutcome::Stops;
            }
            WorkerEvent::Extend(by) => {
                if let Some(deadline) = self.state.deadline_mut() {
                    deadline.extend(now, by);
                }
            }
            WorkerEvent::Exited { exit, .. } => return self.handle_exited(now, exit, out),
        }
        WorkerOutcome::Continues
    }

    fn handle_spawned(&mut self, now: Moment, plan: &Plan, pid: i32, out: &mut Vec<Action>) {
        self.pid = Some(pid);
        if self.state == WorkerState::Doomed {
            self.kill(now, KillReason::NotStarted, out);
        } else {
            let deadline = Deadline::after(now, plan.ready_timeout);
            self.become_state(now, WorkerState::Executing(deadline), Some(WorkerReport::Spawned), out);
        }
    }

    pub(super) fn handle_executed(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) {
        let WorkerState::Executing(deadline) = self.state else { return };
        let next = match plan.ready {
            Readiness::Notify => None,
            Readiness::After(age) => Some(now + age),
            Readiness::Check => Some(now),
        };
        self.born = now;
        self.become_state(now, WorkerState::Starting { deadline, next }, Some(WorkerReport::Started), out);
    }

    fn handle_exited(&mut self, now: Moment, exit: Exit, out: &mut Vec<Action>) -> WorkerOutcome {
        if self.state.part() == Part::Ending {
            self.report(now, WorkerReport::Exited(exit), out);
            return WorkerOutcome::Gone(None);
        }
        let after = now.since(self.born);
        self.gone(now, Some(Failure::Exited { slot: self.id.slot.0, pid: self.pid, exit, after }), out)
    }

    /// Handles the time: a deadline up to `read` may have come.
    pub fn handle_time(&mut self, now: Moment, read: Moment, plan: &Plan, out: &mut Vec<Action>) -> WorkerOutcome {
        if self.deadline().is_none_or(|at| at > read) {
            return WorkerOutcome::Continues;
        }
        match &mut self.state {
            WorkerState::Starting { deadline, next } if deadline.at > read => {
                *next = None;
                match plan.ready {
                    Readiness::After(_) => self.handle_ready(now, plan, &plan.ready, out),
                    Readiness::Check => out.push(Action::Worker(self.id, WorkerAction::Check)),
                    Readiness::Notify => {}
                }
                WorkerOutcome::Continues
            }
            WorkerState::Starting { .. } | WorkerState::Executing(_) => {
                let (ready, timeout) = (plan.ready.clone(), plan.ready_timeout);
                let failure = Failure::NotReady { pid: self.pid, ready, timeout, check: self.check.take() };
                self.unfit(now, plan, failure, out)
            }
            WorkerState::WarmingUp(_) => {
                let said = format!("it did not end within ready_timeout = {}", human(plan.ready_timeout));
                self.unfit(now, plan, Failure::WarmUp { pid: self.pid, said }, out)
            }
            WorkerState::Probing(_) => {
                let said = format!("no result within ready_timeout = {}", human(plan.ready_timeout));
                self.unfit(now, plan, Failure::Probe { pid: self.pid, said }, out)
            }
            WorkerState::Going(_) => {
                let failure = Failure::NotAccepting { pid: self.pid, timeout: plan.ready_timeout };
                self.unfit(now, plan, failure, out)
            }
            WorkerState::Serving => {
                // Cleared: it has fired.
                if self.silent_at.is_some_and(|at| at <= read) {
                    self.silent_at = None;
                    return WorkerOutcome::Unfit(Unfit::Hangs(plan.watchdog.unwrap_or_default()));
                }
                self.old_at = None;
                WorkerOutcome::Unfit(Unfit::Age(now.since(self.born)))
            }
            WorkerState::Aborting(_) => {
                self.kill(now, KillReason::Hangs, out);
                WorkerOutcome::Continues
            }
            WorkerState::Draining(_) => {
                self.kill(now, KillReason::DrainTimeout, out);
                WorkerOutcome::Continues
            }
            WorkerState::Spawning | WorkerState::Doomed | WorkerState::Ready | WorkerState::Killed => {
                WorkerOutcome::Continues
            }
        }
    }

    /// Tells it to accept.
    pub fn go(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) {
        if self.state == WorkerState::Ready {
            out.push(Action::Worker(self.id, WorkerAction::Go));
            if plan.channel || self.announced {
                let deadline = Deadline::after(now, plan.ready_timeout);
                self.become_state(now, WorkerState::Going(deadline), None, out);
            } else {
                self.serve(now, plan, out);
            }
        }
    }

    /// Ends it with a core dump, because it hangs.
    pub fn abort(&mut self, now: Moment, plan: &Plan, silence: Duration, out: &mut Vec<Action>) {
        self.failure = Some(Failure::Hangs { pid: self.pid, silence });
        out.push(Action::Worker(self.id, WorkerAction::Abort));
        let deadline = Deadline::after(now, plan.drain_timeout);
        self.become_state(now, WorkerState::Aborting(deadline), Some(WorkerReport::Aborted), out);
    }

    /// Tells it to end, in its own time.
    pub fn drain(&mut self, now: Moment, plan: &Plan, reason: DrainReason, out: &mut Vec<Action>) {
        let has_accepted = matches!(self.state, WorkerState::Going(_) | WorkerState::Serving);
        match self.state.part() {
            Part::Ordered if self.state == WorkerState::Doomed => {}
            Part::Ordered | Part::Executing => self.kill(now, KillReason::NotStarted, out),
            Part::Gated | Part::Serving => {
                let patience = if has_accepted { plan.drain_timeout } else { plan.drain_timeout.min(UNSERVED_STOP) };
                out.push(Action::Worker(self.id, self.order_to_end(reason)));
                let deadline = Deadline::after(now, patience);
                self.become_state(now, WorkerState::Draining(deadline), Some(WorkerReport::Draining), out);
            }
            Part::Ending => {}
        }
    }

    /// The order to end: a worker that ends by itself needs none, and to many servers a second signal means that they are to
    /// hurry.
    pub(super) fn order_to_end(&self, reason: DrainReason) -> WorkerAction {
        if self.stopping { WorkerAction::HandOver } else { WorkerAction::Drain(reason) }
    }

    /// True if it has served for so long that its slot starts with a clean record.
    pub(super) fn is_stable(&self, now: Moment) -> bool {
        self.served.is_some_and(|since| now.since(since) >= backoff::STABLE)
    }

    /// Kills it.
    pub fn kill(&mut self, now: Moment, reason: KillReason, out: &mut Vec<Action>) {
        match (self.state.part(), self.pid) {
            // Its process is killed when it is known.
            (Part::Ordered, None) if self.state == WorkerState::Spawning => {
                self.become_state(now, WorkerState::Doomed, None, out);
            }
            (_, Some(_)) if self.state != WorkerState::Killed => {
                out.push(Action::Worker(self.id, WorkerAction::Kill));
                self.become_state(now, WorkerState::Killed, Some(WorkerReport::Killed(reason)), out);
            }
            (Part::Ordered | Part::Executing | Part::Gated | Part::Serving | Part::Ending, None | Some(_)) => {}
        }
    }

    pub(super) fn fail(&mut self, now: Moment, failure: Failure, out: &mut Vec<Action>) -> WorkerOutcome {
        self.failure = Some(failure.clone());
        self.report(now, WorkerReport::Failed(failure.clone()), out);
        WorkerOutcome::Failed(failure)
    }

    fn gone(&mut self, now: Moment, failure: Option<Failure>, out: &mut Vec<Action>) -> WorkerOutcome {
        if let Some(failure) = &failure {
            self.report(now, WorkerReport::Failed(failure.clone()), out);
        }
        WorkerOutcome::Gone(failure)
    }

    pub(super) fn become_state(
        &mut self,
        now: Moment,
        state: WorkerState,
        report: Option<WorkerReport>,
        out: &mut Vec<Action>,
    ) {
        if let Some(report) = report {
            self.report(now, report, out);
        }
        self.state = state;
        self.since = now;
    }

    pub(super) fn report(&self, now: Moment, what: WorkerReport, out: &mut Vec<Action>) {
        let took = now.since(self.since);
        out.push(Action::Report(Report::Worker { worker: self.id, pid: self.pid, what, took }));
    }
}

fn human(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}
