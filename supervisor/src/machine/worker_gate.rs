//! The gate that a worker passes from started to serving, one step after the other.

use gin_shared::channel::DrainReason;

use super::action::{Action, WorkerAction, WorkerReport};
use super::failure::{CommandError, Failure, ProbeError};
use super::plan::{Plan, Readiness};
use super::worker::{Worker, WorkerOutcome, WorkerState};
use crate::moment::{Deadline, Moment};

impl Worker {
    pub(super) fn handle_ready(&mut self, now: Moment, plan: &Plan, by: &Readiness, out: &mut Vec<Action>) {
        // READY=1 may overtake the news that the program runs: the two come over different sockets.
        if let (WorkerState::Executing(_), Readiness::Notify) = (self.state, by) {
            self.handle_executed(now, plan, out);
        }
        if let WorkerState::Starting { .. } = self.state
            && plan.ready == *by
        {
            self.report(now, WorkerReport::Ready, out);
            if plan.warms_up {
                out.push(Action::Worker(self.id, WorkerAction::WarmUp));
                let deadline = Deadline::after(now, plan.ready_timeout);
                self.become_state(now, WorkerState::WarmingUp(deadline), None, out);
            } else {
                self.warmed_up(now, plan, out);
            }
        }
    }

    fn warmed_up(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) {
        if plan.probes {
            out.push(Action::Worker(self.id, WorkerAction::Probe));
            let deadline = Deadline::after(now, plan.ready_timeout);
            self.become_state(now, WorkerState::Probing(deadline), None, out);
        } else {
            self.become_state(now, WorkerState::Ready, None, out);
        }
    }

    pub(super) fn handle_warmed_up(
        &mut self,
        now: Moment,
        plan: &Plan,
        result: Result<(), CommandError>,
        out: &mut Vec<Action>,
    ) -> WorkerOutcome {
        match result {
            Ok(()) => {
                self.report(now, WorkerReport::WarmedUp, out);
                self.warmed_up(now, plan, out);
                WorkerOutcome::Continues
            }
            Err(error) => self.unfit(now, plan, Failure::WarmUp { pid: self.pid, said: error.to_string() }, out),
        }
    }

    pub(super) fn handle_probed(
        &mut self,
        now: Moment,
        plan: &Plan,
        result: Result<String, ProbeError>,
        out: &mut Vec<Action>,
    ) -> WorkerOutcome {
        match result {
            Ok(said) => {
                self.become_state(now, WorkerState::Ready, Some(WorkerReport::Probed(said)), out);
                WorkerOutcome::Continues
            }
            Err(error) => self.unfit(now, plan, Failure::Probe { pid: self.pid, said: error.to_string() }, out),
        }
    }

    /// Tells it to end, because it is not fit to serve.
    pub(super) fn unfit(&mut self, now: Moment, plan: &Plan, failure: Failure, out: &mut Vec<Action>) -> WorkerOutcome {
        self.drain(now, plan, DrainReason::Stop, out);
        self.fail(now, failure, out)
    }

    pub(super) fn serve(&mut self, now: Moment, plan: &Plan, out: &mut Vec<Action>) {
        self.silent_at = plan.watchdog.map(|patience| now + patience);
        self.served = Some(now);
        self.become_state(now, WorkerState::Serving, Some(WorkerReport::Serving), out);
    }
}
