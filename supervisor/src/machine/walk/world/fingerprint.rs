//! Which states are equal, for what can happen next.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::super::super::generation::{Occupant, Stage};
use super::super::super::worker::{Worker, WorkerState};
use super::super::super::*;
use super::World;

impl World {
    /// A number for everything that decides what can happen next; equal ones need to be looked at once.
    pub(in super::super) fn fingerprint(&self) -> u64 {
        let mut machine = self.machine.clone();
        machine.history = History::default();
        machine.counts = Counts::default();
        let now = self.now;
        let still = |at: &mut Moment| *at = Moment(at.0.saturating_sub(now.0));
        let settle = |run: &mut Run| {
            (run.since, run.phase_at) = (Moment(0), Moment(0));
            run.phases.iter_mut().for_each(|phase| phase.1 = Duration::ZERO);
            if let Stage::Soaking(until) | Stage::Rolling { until: Some(until), .. } = &mut run.stage {
                still(until);
            }
            let settle_worker = |worker: &mut Worker| {
                worker.born = Moment(u64::from(now.since(worker.born) >= backoff::STABLE));
                worker.since = Moment(0);
                worker.failure = worker.failure.take().map(|_| Failure::Cancelled(String::new()));
                worker.silent_at.iter_mut().chain(&mut worker.old_at).for_each(still);
                match &mut worker.state {
                    WorkerState::Executing(d)
                    | WorkerState::Starting { deadline: d, .. }
                    | WorkerState::WarmingUp(d)
                    | WorkerState::Probing(d)
                    | WorkerState::Going(d)
                    | WorkerState::Aborting(d)
                    | WorkerState::Draining(d) => {
                        still(&mut d.at);
                        d.latest = Moment(0);
                    }
                    WorkerState::Spawning
                    | WorkerState::Doomed
                    | WorkerState::Ready
                    | WorkerState::Serving
                    | WorkerState::Killed => {}
                }
            };
            run.retiring.iter_mut().for_each(settle_worker);
            run.slots.iter_mut().for_each(|slot| slot.last_failure = None);
            for occupant in run.slots.iter_mut().flat_map(|slot| [&mut slot.occupant, &mut slot.successor]) {
                match occupant {
                    Occupant::Backoff(until) => still(until),
                    Occupant::Worker(worker) => settle_worker(worker),
                    Occupant::Vacant => {}
                }
            }
        };
        match &mut machine.fleet {
            Fleet::Serving(run) => settle(run),
            Fleet::Upgrading { current, candidate } => {
                settle(current);
                candidate.began = Moment(0);
                candidate.run.as_mut().map(settle);
            }
            Fleet::Booting(candidate) => {
                candidate.began = Moment(0);
                candidate.run.as_mut().map(settle);
            }
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => {}
        }
        machine.leaving.iter_mut().for_each(settle);
        let mut hasher = DefaultHasher::new();
        (machine, &self.processes, self.preparing, &self.unanswered, self.budget).hash(&mut hasher);
        (self.checking, self.executing, &self.frozen).hash(&mut hasher);
        (self.late, format!("{:?}", self.queued)).hash(&mut hasher);
        if self.budget.kills > 0 {
            // What may be left undone when the master dies now.
            format!("{:?}", self.last).hash(&mut hasher);
        }
        hasher.finish()
    }
}
