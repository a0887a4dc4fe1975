//! Consequences: a candidate moves on, an old generation is gone, a request that waited has its turn.

use gin_shared::channel::DrainReason;

use super::action::{Action, Answer, GenerationAction, MasterAction, Report};
use super::fleet::Fleet;
use super::generation::{Advance, Stage};
use super::{Machine, answer_all, record};
use crate::moment::Moment;

impl Machine {
    /// Moves everything on that can move. `read`: the moment up to which deadlines are judged, if they are.
    pub(super) fn settle(&mut self, now: Moment, read: Option<Moment>, out: &mut Vec<Action>) {
        self.settle_candidate(now, read, out);
        let upgrading = matches!(self.fleet, Fleet::Upgrading { .. });
        if let Fleet::Serving(current) | Fleet::Upgrading { current, .. } = &mut self.fleet {
            current.promote_ready(now, out);
            current.settle_stopping(now, out);
            current.settle_fitness(now, upgrading, out);
        }
        self.settle_standby(now, out);
        self.settle_leaving(now, out);
        self.settle_waiting(now, out);
        self.settle_scaling(out);
        self.settle_reexec(out);
        if let Fleet::Stopping { code } = self.fleet
            && self.leaving.is_empty()
        {
            self.fleet = Fleet::Stopped;
            answer_all(std::mem::take(&mut self.stopping), &Answer::Stopped, out);
            out.push(Action::Master(MasterAction::Exit(code)));
        }
    }

    fn settle_candidate(&mut self, now: Moment, read: Option<Moment>, out: &mut Vec<Action>) {
        loop {
            let (Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. }) = &mut self.fleet else { return };
            let advance = candidate.run.as_mut().map_or(Advance::None, |run| run.advance(now, read, out));
            match (advance, &mut self.fleet) {
                (Advance::None, _) => return,
                (Advance::Whole, _) => break,
                (Advance::Slot(slot), Fleet::Upgrading { current, .. }) => current.yield_slot(now, slot, out),
                (
                    Advance::Slot(_),
                    Fleet::Idle | Fleet::Booting(_) | Fleet::Serving(_) | Fleet::Stopping { .. } | Fleet::Stopped,
                ) => {}
            }
        }
        let (previous, mut candidate) = match std::mem::replace(&mut self.fleet, Fleet::Stopped) {
            Fleet::Booting(candidate) => (None, candidate),
            Fleet::Upgrading { current, candidate } => (Some(current), candidate),
            Fleet::Idle | Fleet::Serving(_) | Fleet::Stopping { .. } | Fleet::Stopped => unreachable!("matched above"),
        };
        let Some(mut run) = candidate.run.take() else { unreachable!("it has advanced") };
        run.become_current(now, out);
        // A number that was asked for holds until the configuration in force says another one than it did then.
        self.configured = candidate.configured;
        self.scaled = self.scaled.filter(|scaled| scaled.configured == candidate.configured);
        candidate.run = Some(run);
        self.history.push(record(now, &candidate, None));
        let Some(run) = candidate.run else { unreachable!("put there above") };
        let generation = run.id;
        self.fleet = Fleet::Serving(run);
        let replaced = previous.as_ref().map_or(generation, |run| run.id);
        self.keep_good(previous.as_ref().map(|run| run.id), candidate.request.rollback, out);
        if let Some(mut previous) = previous {
            previous.leave(now, DrainReason::Upgrade, out);
            self.leaving.push(previous);
        }
        answer_all(candidate.request.operations, &Answer::Restarted { generation, previous: replaced }, out);
    }

    /// Ends a generation that stands by, once the old generation is whole again. Until then it serves: a worker of it that somebody
    /// else has told to end is replaced.
    fn settle_standby(&mut self, now: Moment, out: &mut Vec<Action>) {
        // While a generation is booted, or is to be, nothing else serves.
        let booting = matches!(self.fleet, Fleet::Idle | Fleet::Booting(_));
        let whole = !booting && self.current().is_none_or(|current| !current.is_degraded());
        for run in self.leaving.iter_mut().filter(|run| run.stage == Stage::Standby) {
            if whole {
                run.leave(now, DrainReason::Upgrade, out);
            } else {
                run.promote_ready(now, out);
                run.settle_stopping(now, out);
            }
        }
    }

    fn settle_leaving(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.leaving.retain(|run| {
            if run.is_empty() {
                out.push(Action::Report(Report::Gone { generation: run.id, took: now.since(run.since) }));
                let kept = self.good.contains(&run.id);
                out.push(if kept {
                    Action::Generation(run.id, GenerationAction::Keep)
                } else {
                    Action::Generation(run.id, GenerationAction::Forget)
                });
            }
            !run.is_empty()
        });
    }

    fn settle_waiting(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !matches!(self.fleet, Fleet::Serving(_)) {
            return;
        }
        if let Some(scale) = self.waiting.scale.take() {
            self.scaling.extend(scale.operations);
            self.scale_now(now, scale.workers, out);
        }
        if self.is_crowded() {
            return;
        }
        if let Some(request) = self.waiting.restart.take() {
            let candidate = self.begin(now, request, out);
            match std::mem::replace(&mut self.fleet, Fleet::Stopped) {
                Fleet::Serving(current) => self.fleet = Fleet::Upgrading { current, candidate },
                Fleet::Idle | Fleet::Booting(_) | Fleet::Upgrading { .. } | Fleet::Stopping { .. } | Fleet::Stopped => {
                    unreachable!("matched above")
                }
            }
        }
    }

    fn settle_scaling(&mut self, out: &mut Vec<Action>) {
        if let Some(workers) = self.current().map(|run| run.plan.workers).filter(|_| !self.scaling.is_empty())
            && self.current().is_some_and(|run| run.serving() == workers)
        {
            answer_all(std::mem::take(&mut self.scaling), &Answer::Scaled(workers), out);
        }
    }
}
