//! One worker: from the wish for a process to its end.
//!
//! | state | means | left by |
//! |---|---|---|
//! | Spawning | the driver was asked for a process | Spawned, SpawnFailed |
//! | Doomed | so it was, but nobody wants it any more | Spawned (then killed), SpawnFailed |
//! | Executing | the exec helper prepares the process | Executed, ExecFailed, its deadline |
//! | Starting | the program runs | ready, or its deadline |
//! | Ready | fit to serve, not told to | `go` |
//! | Going | told to accept, has not said so | Accepting, or its deadline |
//! | Serving | accepts | `drain` |
//! | Draining | told to end | its exit, or its deadline |
//! | Killed | sent SIGKILL | its exit |

use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::generation::WorkerId;
use serde::{Deserialize, Serialize};

use super::action::{Action, Report, WorkerReport};
use super::event::WorkerEvent;
use super::failure::{Exit, Failure};
use super::moment::{Deadline, Moment};
use super::plan::{CHECK_INTERVAL, Plan, Readiness};

/// A worker that has served nobody yet gets this long to end, if `drain_timeout` is longer.
pub const UNSERVED_STOP: Duration = Duration::from_secs(10);

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Worker {
    /// Who it is.
    pub id: WorkerId,
    /// Its process, from `Spawned` on.
    pub pid: Option<i32>,
    /// Where it stands.
    pub state: WorkerState,
    /// Since when.
    pub since: Moment,
    /// When its program was started; before that, when it was wished for.
    pub born: Moment,
    /// Why it was told to end, if that was its own fault.
    pub failure: Option<Failure>,
    /// What the last check said.
    pub check: Option<String>,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// The driver was asked for a process.
    Spawning,
    /// So it was, but nobody wants it any more.
    Doomed,
    /// The exec helper prepares the process.
    Executing(Deadline),
    /// The program runs. `next`: when it counts as ready by age, or when the next check is due.
    Starting {
        /// When patience ends.
        deadline: Deadline,
        /// The next thing to do before that.
        next: Option<Moment>,
    },
    /// Fit to serve, not told to.
    Ready,
    /// Told to accept, has not said so.
    Going(Deadline),
    /// Accepts.
    Serving,
    /// Told to end.
    Draining(Deadline),
    /// Sent SIGKILL.
    Killed,
}

impl WorkerState {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Spawning | Self::Executing(_) => "spawning",
            Self::Starting { .. } => "starting",
            Self::Ready | Self::Going(_) => "ready",
            Self::Serving => "serving",
            Self::Draining(_) => "draining",
            Self::Doomed | Self::Killed => "killed",
        }
    }
}

/// What an event meant for the generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerOutcome {
    /// Nothing, or only progress, which the generation reads off the state.
    Continues,
    /// It is not fit; it will exit or is already gone.
    Failed(Failure),
    /// It is gone; `Some` if that was a failure not told before.
    Gone(Option<Failure>),
}

impl Worker {
    /// A worker that is wished for.
    pub fn spawn(now: Moment, id: WorkerId, actions: &mut Vec<Action>) -> Self {
        actions.push(Action::Spawn(id));
        Self { id, pid: None, state: WorkerState::Spawning, since: now, born: now, failure: None, check: None }
    }

    /// Whether its program runs.
    #[must_use]
    pub fn is_started(&self) -> bool {
        match self.state {
            WorkerState::Starting { .. } | WorkerState::Ready | WorkerState::Going(_) | WorkerState::Serving => true,
            WorkerState::Spawning
            | WorkerState::Doomed
            | WorkerState::Executing(_)
            | WorkerState::Draining(_)
            | WorkerState::Killed => false,
        }
    }

    /// Whether it can be told to serve, or does.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_started() && !matches!(self.state, WorkerState::Starting { .. })
    }

    /// Whether it serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.state == WorkerState::Serving
    }

    /// When it wants to be looked at.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            WorkerState::Executing(deadline) | WorkerState::Going(deadline) | WorkerState::Draining(deadline) => {
                Some(deadline.at)
            }
            WorkerState::Starting { deadline, next } => Some(next.map_or(deadline.at, |n| n.min(deadline.at))),
            WorkerState::Spawning
            | WorkerState::Doomed
            | WorkerState::Ready
            | WorkerState::Serving
            | WorkerState::Killed => None,
        }
    }

    /// Something happened to it.
    pub fn handle(&mut self, now: Moment, plan: &Plan, event: WorkerEvent, out: &mut Vec<Action>) -> WorkerOutcome {
        match event {
            WorkerEvent::Spawned { pid } => self.handle_spawned(now, plan, pid, out),
            WorkerEvent::SpawnFailed { error } => match self.state {
                WorkerState::Spawning => self.gone(now, Some(Failure::Spawn(error)), out),
                WorkerState::Doomed => self.gone(now, None, out),
                WorkerState::Executing(_)
                | WorkerState::Starting { .. }
                | WorkerState::Ready
                | WorkerState::Going(_)
                | WorkerState::Serving
                | WorkerState::Draining(_)
                | WorkerState::Killed => WorkerOutcome::Continues,
            },
            WorkerEvent::Executed => self.handle_executed(now, plan, out),
            WorkerEvent::ExecFailed { error } => {
                if let WorkerState::Executing(_) = self.state {
                    self.kill(now, out);
                    return self.fail(now, Failure::Exec(error), out);
                }
                WorkerOutcome::Continues
            }
            WorkerEvent::Ready => self.handle_ready(now, plan, &Readiness::Notify, out),
            WorkerEvent::Checked(Ok(())) => self.handle_ready(now, plan, &Readiness::Check, out),
            WorkerEvent::Checked(Err(said)) => {
                if let WorkerState::Starting { next, .. } = &mut self.state {
                    *next = Some(now + CHECK_INTERVAL);
                    self.check = Some(said);
                }
                WorkerOutcome::Continues
            }
            WorkerEvent::Accepting => {
                if let WorkerState::Going(_) = self.state {
                    self.become_state(now, WorkerState::Serving, Some(WorkerReport::Serving), out);
                }
                WorkerOutcome::Continues
            }
            WorkerEvent::Extend(by) => self.handle_extend(now, by),
            WorkerEvent::Exited { exit, .. } => self.handle_exited(now, exit, out),
        }
    }

    fn handle_spawned(&mut self, now: Moment, plan: &Plan, pid: i32, out: &mut Vec<Action>) -> WorkerOutcome {
        match self.state {
            WorkerState::Spawning => {
                self.pid = Some(pid);
                let deadline = Deadline::after(now, plan.ready_timeout);
                self.become_state(now, WorkerState::Executing(deadline), Some(WorkerReport::Spawned), out);
            }
            WorkerState::Doomed => {
                self.pid = Some(pid);
                self.kill(now, out);
            }
            WorkerState::Executing(_)
            | WorkerState::Starting { .. }
            | WorkerState::Ready
            | WorkerState::Going(_)
            | WorkerState::Serving
            | WorkerState::Draining(_)
            | WorkerState::Killed => {}
        }
        WorkerOutcome::Continues
    }

    fn handle_executed(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) -> WorkerOutcome {
        if let WorkerState::Executing(deadline) = self.state {
            let next = match plan.ready {
                Readiness::Notify => None,
                Readiness::After(age) => Some(now + age),
                Readiness::Check => Some(now),
            };
            self.born = now;
            self.become_state(now, WorkerState::Starting { deadline, next }, Some(WorkerReport::Started), out);
        }
        WorkerOutcome::Continues
    }

    fn handle_ready(&mut self, now: Moment, plan: &Plan, by: &Readiness, out: &mut Vec<Action>) -> WorkerOutcome {
        // READY=1 may overtake the news that the program runs: the two come over different sockets.
        if let (WorkerState::Executing(_), Readiness::Notify) = (self.state, by) {
            self.handle_executed(now, plan, out);
        }
        if let WorkerState::Starting { .. } = self.state
            && plan.ready == *by
        {
            self.become_state(now, WorkerState::Ready, Some(WorkerReport::Ready), out);
        }
        WorkerOutcome::Continues
    }

    fn handle_extend(&mut self, now: Moment, by: Duration) -> WorkerOutcome {
        match &mut self.state {
            WorkerState::Starting { deadline, .. } | WorkerState::Going(deadline) | WorkerState::Draining(deadline) => {
                deadline.extend(now, by);
            }
            WorkerState::Spawning
            | WorkerState::Doomed
            | WorkerState::Executing(_)
            | WorkerState::Ready
            | WorkerState::Serving
            | WorkerState::Killed => {}
        }
        WorkerOutcome::Continues
    }

    fn handle_exited(&mut self, now: Moment, exit: Exit, out: &mut Vec<Action>) -> WorkerOutcome {
        match self.state {
            WorkerState::Executing(_)
            | WorkerState::Starting { .. }
            | WorkerState::Ready
            | WorkerState::Going(_)
            | WorkerState::Serving => {
                let after = now.since(self.born);
                let failure = Failure::Exited { slot: self.id.slot.0, pid: self.pid, exit, after };
                self.gone(now, Some(failure), out)
            }
            WorkerState::Draining(_) | WorkerState::Killed => {
                self.report(now, WorkerReport::Exited(exit), out);
                WorkerOutcome::Gone(None)
            }
            // No process was ever made known.
            WorkerState::Spawning | WorkerState::Doomed => WorkerOutcome::Continues,
        }
    }

    /// A deadline of it may have come.
    pub fn handle_time(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) -> WorkerOutcome {
        if self.deadline().is_none_or(|at| at > now) {
            return WorkerOutcome::Continues;
        }
        match &mut self.state {
            WorkerState::Starting { deadline, next } if deadline.at > now => {
                *next = None;
                match plan.ready {
                    Readiness::After(_) => self.handle_ready(now, plan, &plan.ready, out),
                    Readiness::Check => {
                        out.push(Action::Check(self.id));
                        WorkerOutcome::Continues
                    }
                    Readiness::Notify => WorkerOutcome::Continues,
                }
            }
            WorkerState::Starting { .. } | WorkerState::Executing(_) => {
                let (ready, timeout) = (plan.ready.clone(), plan.ready_timeout);
                let failure = Failure::NotReady { pid: self.pid, ready, timeout, check: self.check.take() };
                self.drain(now, plan, DrainReason::Stop, out);
                self.fail(now, failure, out)
            }
            WorkerState::Going(_) => {
                let failure = Failure::NotAccepting { pid: self.pid, timeout: plan.ready_timeout };
                self.drain(now, plan, DrainReason::Stop, out);
                self.fail(now, failure, out)
            }
            WorkerState::Draining(_) => {
                self.kill(now, out);
                WorkerOutcome::Continues
            }
            WorkerState::Spawning
            | WorkerState::Doomed
            | WorkerState::Ready
            | WorkerState::Serving
            | WorkerState::Killed => WorkerOutcome::Continues,
        }
    }

    /// Tells it to accept.
    pub fn go(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) {
        if self.state == WorkerState::Ready {
            out.push(Action::Go(self.id));
            if plan.channel {
                let deadline = Deadline::after(now, plan.ready_timeout);
                self.become_state(now, WorkerState::Going(deadline), None, out);
            } else {
                self.become_state(now, WorkerState::Serving, Some(WorkerReport::Serving), out);
            }
        }
    }

    /// Tells it to end, in its own time.
    pub fn drain(&mut self, now: Moment, plan: &Plan, reason: DrainReason, out: &mut Vec<Action>) {
        let patience = match self.state {
            WorkerState::Spawning => {
                self.become_state(now, WorkerState::Doomed, None, out);
                return;
            }
            WorkerState::Executing(_) => {
                self.kill(now, out);
                return;
            }
            WorkerState::Doomed | WorkerState::Draining(_) | WorkerState::Killed => return,
            WorkerState::Starting { .. } | WorkerState::Ready => plan.drain_timeout.min(UNSERVED_STOP),
            WorkerState::Going(_) | WorkerState::Serving => plan.drain_timeout,
        };
        out.push(Action::Drain(self.id, reason));
        let deadline = Deadline::after(now, patience);
        self.become_state(now, WorkerState::Draining(deadline), Some(WorkerReport::Draining), out);
    }

    /// Ends it.
    pub fn kill(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.state {
            WorkerState::Spawning => self.become_state(now, WorkerState::Doomed, None, out),
            WorkerState::Doomed if self.pid.is_none() => {}
            WorkerState::Doomed
            | WorkerState::Executing(_)
            | WorkerState::Starting { .. }
            | WorkerState::Ready
            | WorkerState::Going(_)
            | WorkerState::Serving
            | WorkerState::Draining(_) => {
                out.push(Action::Kill(self.id));
                self.become_state(now, WorkerState::Killed, Some(WorkerReport::Killed), out);
            }
            WorkerState::Killed => {}
        }
    }

    fn fail(&mut self, now: Moment, failure: Failure, out: &mut Vec<Action>) -> WorkerOutcome {
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

    fn become_state(&mut self, now: Moment, state: WorkerState, report: Option<WorkerReport>, out: &mut Vec<Action>) {
        if let Some(report) = report {
            self.report(now, report, out);
        }
        self.state = state;
        self.since = now;
    }

    fn report(&self, now: Moment, what: WorkerReport, out: &mut Vec<Action>) {
        let took = now.since(self.since);
        out.push(Action::Report(Report::Worker { worker: self.id, pid: self.pid, what, took }));
    }
}
