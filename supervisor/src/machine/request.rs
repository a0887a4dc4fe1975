//! Requests of people: a restart, its end, another number of workers, a stop.

use gin_shared::channel::DrainReason;
use gin_shared::control::{OperationId, WORKERS_MAX};
use gin_shared::exit;

use super::action::{Action, Answer, GenerationAction, MasterAction, Report};
use super::event::{Queue, ScaleTo, Speed, StopBy};
use super::failure::Failure;
use super::fleet::{Fleet, Restart, Scale, Scaled, Waiting};
use super::generation::{Run, Stage};
use super::{HELD_BACK, Machine, OPERATIONS_MAX, answer, answer_all};
use crate::moment::Moment;

/// The text for a stop that joins the one under way.
const JOINED: &str = "a stop is under way already, and this one joins it; gin-ctl stop --fast, or a second signal, cuts \
                      what still drains";

impl Machine {
    pub(super) fn handle_restart(
        &mut self,
        now: Moment,
        operation: Option<OperationId>,
        asked_by: String,
        queue: Queue,
        out: &mut Vec<Action>,
    ) {
        let unattended = operation.is_none();
        let request = Restart { operations: operation.into_iter().collect(), asked_by, unattended, rollback: None };
        let under_way = match &self.fleet {
            Fleet::Idle => {
                let candidate = self.begin(now, request, out);
                self.fleet = Fleet::Booting(candidate);
                return;
            }
            Fleet::Stopping { .. } | Fleet::Stopped => {
                return answer(operation, &Answer::Refused("the supervisor is stopping".to_owned()), out);
            }
            Fleet::Serving(_) if !self.is_crowded() && self.waiting == Waiting::default() => None,
            Fleet::Serving(_) => Some(self.crowded_text()),
            Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } => Some(format!(
                "generation {} is on its way, asked for by {}",
                candidate.generation, candidate.request.asked_by
            )),
        };
        if let (Some(text), Queue::Refuse) = (&under_way, queue) {
            return answer(operation, &Answer::Busy(text.clone()), out);
        }
        match &mut self.waiting.restart {
            Some(waiting) if waiting.operations.len() >= OPERATIONS_MAX => {
                return answer(operation, &busy(), out);
            }
            Some(waiting) => {
                waiting.operations.extend(&request.operations);
                waiting.unattended |= unattended;
            }
            none => *none = Some(request.clone()),
        }
        if let Some(text) = under_way {
            out.push(Action::Report(Report::Waiting { operations: request.operations, text }));
        }
    }

    pub(super) fn handle_cancel(
        &mut self,
        now: Moment,
        operation: Option<OperationId>,
        target: Option<OperationId>,
        because: &str,
        out: &mut Vec<Action>,
    ) {
        let mut found = self.cancel_reexec(target, because, out);
        if let Some(waiting) = &mut self.waiting.restart {
            let (meant, others): (Vec<_>, Vec<_>) =
                waiting.operations.drain(..).partition(|op| target.is_none_or(|target| target == *op));
            found |= !meant.is_empty() || target.is_none();
            waiting.operations = others;
            answer_all(meant, &Answer::Cancelled(because.to_owned()), out);
            if target.is_none() || (found && waiting.operations.is_empty() && !waiting.unattended) {
                self.waiting.restart = None;
            }
        }
        let meant = match &mut self.fleet {
            Fleet::Upgrading { candidate, .. } => match target {
                None => true,
                // Others wait for the same generation, or a signal asked for it: only this one is let go.
                Some(target) if candidate.request.operations.len() > 1 || candidate.request.unattended => {
                    let before = candidate.request.operations.len();
                    candidate.request.operations.retain(|op| *op != target);
                    if candidate.request.operations.len() < before {
                        found = true;
                        answer(Some(target), &Answer::Cancelled(because.to_owned()), out);
                    }
                    false
                }
                Some(target) => candidate.request.operations.contains(&target),
            },
            Fleet::Idle | Fleet::Booting(_) | Fleet::Serving(_) | Fleet::Stopping { .. } | Fleet::Stopped => false,
        };
        if meant {
            self.withdraw(now, None, Failure::Cancelled(because.to_owned()), out);
        }
        let refused = Answer::Refused("no upgrade is under way".to_owned());
        answer(operation, if meant || found { &Answer::CancelDone } else { &refused }, out);
    }

    pub(super) fn handle_scale(
        &mut self,
        now: Moment,
        operation: Option<OperationId>,
        to: ScaleTo,
        out: &mut Vec<Action>,
    ) {
        let from = match &self.fleet {
            Fleet::Serving(current) => current.plan.workers,
            Fleet::Booting(_) | Fleet::Upgrading { .. } => self.target(),
            Fleet::Idle => return answer(operation, &Answer::Refused(HELD_BACK.to_owned()), out),
            Fleet::Stopping { .. } | Fleet::Stopped => {
                return answer(operation, &Answer::Refused("the supervisor is stopping".to_owned()), out);
            }
        };
        let (workers, change) = match to {
            ScaleTo::Exactly(workers) => (i64::from(workers), String::new()),
            ScaleTo::By(by) => (i64::from(from) + i64::from(by), format!(" ({from} and {by:+})")),
        };
        let Some(workers) = u32::try_from(workers).ok().filter(|workers| (1..=WORKERS_MAX).contains(workers)) else {
            let text = format!("cannot run {workers} workers{change}; it must be 1 to {WORKERS_MAX}");
            out.push(Action::Report(Report::Ignored(text.clone())));
            return answer(operation, &Answer::Refused(text), out);
        };
        if self.scaling.len() >= OPERATIONS_MAX {
            answer(operation, &busy(), out);
        } else if let Fleet::Serving(_) = self.fleet {
            self.scaling.extend(operation);
            self.scale_now(now, workers, out);
        } else {
            let waiting = self.waiting.scale.get_or_insert_with(|| Scale { operations: Vec::new(), workers });
            if waiting.operations.len() >= OPERATIONS_MAX {
                return answer(operation, &busy(), out);
            }
            waiting.workers = workers;
            waiting.operations.extend(operation);
            let text = "an upgrade is under way; the number of workers changes after it".to_owned();
            out.push(Action::Report(Report::Waiting { operations: operation.into_iter().collect(), text }));
        }
    }

    pub(super) fn scale_now(&mut self, now: Moment, workers: u32, out: &mut Vec<Action>) {
        if let Fleet::Serving(current) = &mut self.fleet {
            self.scaled = Some(Scaled { configured: self.configured, workers });
            let from = current.plan.workers;
            if from != workers {
                out.push(Action::Report(Report::Scaled { from, to: workers }));
                current.scale(now, workers, out);
            }
        }
    }

    /// The number of workers when everything under way is done.
    pub(super) fn target(&self) -> u32 {
        let waiting = self.waiting.scale.as_ref().map(|scale| scale.workers);
        let candidate = self.candidate().and_then(|c| c.run.as_ref()).map(|run| run.plan.workers);
        waiting.or(candidate).or(self.current().map(|run| run.plan.workers)).unwrap_or(1)
    }

    pub(super) fn handle_stop(
        &mut self,
        now: Moment,
        operation: Option<OperationId>,
        by: StopBy,
        out: &mut Vec<Action>,
    ) {
        let under_way = match self.fleet {
            Fleet::Stopped => return answer(operation, &Answer::Stopped, out),
            Fleet::Stopping { .. } if self.stopping.len() >= OPERATIONS_MAX => {
                return answer(operation, &busy(), out);
            }
            // It ends as it was asked to, even if it was on its way out for a failure.
            Fleet::Stopping { ref mut code } => {
                *code = exit::DONE;
                true
            }
            Fleet::Idle | Fleet::Booting(_) | Fleet::Serving(_) | Fleet::Upgrading { .. } => false,
        };
        self.stopping.extend(operation);
        let signalled = self.stop_signalled;
        self.stop_signalled |= by == StopBy::Signal;
        let speed = match by {
            StopBy::FastCommand => Speed::Fast,
            StopBy::Signal if under_way && signalled => Speed::Fast,
            StopBy::Signal | StopBy::Command if under_way => {
                let operations = operation.into_iter().collect();
                out.push(Action::Report(Report::Waiting { operations, text: JOINED.to_owned() }));
                return;
            }
            StopBy::Signal | StopBy::Command => Speed::Graceful,
        };
        out.push(Action::Report(Report::Stopping(speed)));
        if !under_way {
            self.stop(now, exit::DONE, out);
        }
        if speed == Speed::Fast {
            self.leaving.iter_mut().for_each(|run| run.kill(now, out));
        }
    }

    /// The operations that wait for the stop to finish.
    #[must_use]
    pub fn stop_operations(&self) -> &[OperationId] {
        &self.stopping
    }

    /// Sends everything on its way out.
    pub(super) fn stop(&mut self, now: Moment, code: u8, out: &mut Vec<Action>) {
        let because = Answer::Cancelled("the supervisor was stopped".to_owned());
        let (current, candidate) = match std::mem::replace(&mut self.fleet, Fleet::Stopping { code }) {
            Fleet::Serving(current) => (Some(current), None),
            Fleet::Upgrading { current, candidate } => (Some(current), Some(candidate)),
            Fleet::Booting(candidate) => (None, Some(candidate)),
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => (None, None),
        };
        if let Some(candidate) = candidate {
            answer_all(candidate.request.operations, &because, out);
            match candidate.run {
                Some(run) => self.leaving.push(run),
                None => out.push(Action::Generation(candidate.generation, GenerationAction::Forget)),
            }
        }
        self.leaving.extend(current);
        let waiting = std::mem::take(&mut self.waiting);
        answer_all(waiting.restart.map(|restart| restart.operations).unwrap_or_default(), &because, out);
        answer_all(waiting.scale.map(|scale| scale.operations).unwrap_or_default(), &because, out);
        answer_all(std::mem::take(&mut self.scaling), &because, out);
        self.end_reexec(&because, out);
        self.leaving.iter_mut().for_each(|run| run.leave(now, DrainReason::Stop, out));
        out.push(Action::Master(MasterAction::CloseListeners));
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.draining().count() >= self.max_draining
    }

    /// The generations that end. A generation that stands by does not, until the restart that may have to wait for it.
    fn draining(&self) -> impl Iterator<Item = &Run> {
        self.leaving.iter().filter(|run| run.stage != Stage::Standby)
    }

    /// True if a restart waits for its turn.
    #[must_use]
    pub fn has_waiting_restart(&self) -> bool {
        self.waiting.restart.is_some()
    }

    /// The number of requests for a restart that wait for their turn. Signals count as one.
    #[must_use]
    pub fn waiting_restarts(&self) -> usize {
        let requests = |restart: &Restart| restart.operations.len() + usize::from(restart.unattended);
        self.waiting.restart.as_ref().map_or(0, requests)
    }

    pub(super) fn crowded_text(&self) -> String {
        match self.draining().next() {
            Some(oldest) => format!(
                "{} old generations still drain, and max_draining = {}; waiting for generation {}",
                self.draining().count(),
                self.max_draining,
                oldest.id
            ),
            None => "another restart waits already".to_owned(),
        }
    }
}

fn busy() -> Answer {
    Answer::Busy(format!("{OPERATIONS_MAX} commands wait already"))
}
