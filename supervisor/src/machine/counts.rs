//! Numbers of what has happened, since the instance was started. They are told, and decide nothing.
//!
//! They are saved with the machine, ahead of what is done: no master that comes later tells a lower one.

use gin_shared::control::Phase;
use serde::{Deserialize, Serialize};

use super::action::{Action, KillReason, Report, WorkerReport};

/// Numbers that only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Ends of upgrades. The first generation of a master counts as one, too, as in the history.
    pub upgrades: Upgrades,
    /// Workers that ended, and whose slots were given other ones for that.
    pub respawns: u64,
    /// Workers that were sent SIGKILL.
    pub kills: Kills,
}

/// Ends of upgrades.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Upgrades {
    /// The new generation serves.
    pub done: u64,
    /// It was not fit to serve.
    pub failed: u64,
    /// Somebody called it off, or its master died.
    pub cancelled: u64,
}

/// Workers that were sent SIGKILL, by reason: see [`KillReason`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Kills {
    /// [`KillReason::DrainTimeout`]
    pub drain_timeout: u64,
    /// [`KillReason::Hangs`]
    pub hangs: u64,
    /// [`KillReason::NotStarted`]
    pub not_started: u64,
    /// [`KillReason::FastStop`]
    pub fast_stop: u64,
}

impl Counts {
    /// Counts what the machine has decided.
    pub(super) fn count(&mut self, actions: &[Action]) {
        for action in actions {
            let Action::Report(report) = action else { continue };
            match report {
                Report::Phase { phase: Phase::Current, .. } => self.upgrades.done += 1,
                Report::Withdrawn { failure, .. } if failure.is_cancelled() => self.upgrades.cancelled += 1,
                Report::Withdrawn { .. } => self.upgrades.failed += 1,
                Report::Worker { what, .. } => self.count_worker(what),
                Report::Waiting { .. }
                | Report::Candidate { .. }
                | Report::Phase { .. }
                | Report::Replaced { .. }
                | Report::Gone { .. }
                | Report::Stopping(_)
                | Report::Scaled { .. }
                | Report::Ignored(_) => {}
            }
        }
    }

    fn count_worker(&mut self, what: &WorkerReport) {
        match what {
            WorkerReport::Respawn(_) => self.respawns += 1,
            WorkerReport::Killed(KillReason::DrainTimeout) => self.kills.drain_timeout += 1,
            WorkerReport::Killed(KillReason::Hangs) => self.kills.hangs += 1,
            WorkerReport::Killed(KillReason::NotStarted) => self.kills.not_started += 1,
            WorkerReport::Killed(KillReason::FastStop) => self.kills.fast_stop += 1,
            WorkerReport::Spawned
            | WorkerReport::Started
            | WorkerReport::Ready
            | WorkerReport::WarmedUp
            | WorkerReport::Probed(_)
            | WorkerReport::Serving
            | WorkerReport::Draining
            | WorkerReport::Stopping
            | WorkerReport::Unfit(_)
            | WorkerReport::Aborted
            | WorkerReport::Exited(_)
            | WorkerReport::Failed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gin_shared::generation::{Generation, Slot, WorkerId};

    use super::super::failure::Failure;
    use super::super::{Machine, snapshot};
    use super::*;

    fn worker(what: WorkerReport) -> Action {
        let worker = WorkerId { generation: Generation(1), slot: Slot(0), attempt: 0 };
        Action::Report(Report::Worker { worker, pid: None, what, took: Duration::ZERO })
    }

    fn withdrawn(failure: Failure) -> Action {
        Action::Report(Report::Withdrawn { generation: Generation(2), phase: Phase::Ready, failure, worker: None })
    }

    #[test]
    fn what_is_reported_is_counted_and_outlives_the_master() {
        let mut machine = Machine::new(4);
        let became = |phase| Report::Phase { generation: Generation(1), phase, workers: 1, took: Duration::ZERO };
        machine.counts.count(&[
            Action::Report(became(Phase::Ready)),
            Action::Report(became(Phase::Current)),
            withdrawn(Failure::Exec("no".to_owned())),
            withdrawn(Failure::Cancelled("by shop".to_owned())),
            withdrawn(Failure::Spawn("no".to_owned())),
            worker(WorkerReport::Respawn(Duration::ZERO)),
            worker(WorkerReport::Serving),
            worker(WorkerReport::Killed(KillReason::DrainTimeout)),
            worker(WorkerReport::Killed(KillReason::FastStop)),
        ]);
        let kills = Kills { drain_timeout: 1, fast_stop: 1, ..Kills::default() };
        let upgrades = Upgrades { done: 1, failed: 2, cancelled: 1 };
        assert_eq!(machine.counts, Counts { upgrades, respawns: 1, kills });
        let bytes = snapshot::write(&machine, "boot").unwrap();
        assert_eq!(snapshot::read::<Machine>(&bytes, "boot").unwrap().counts, machine.counts);
    }

    #[test]
    fn a_state_of_an_older_build_counts_from_nothing() {
        let mut state = serde_json::to_value(Machine::new(4)).unwrap();
        state.as_object_mut().unwrap().remove("counts");
        assert_eq!(serde_json::from_value::<Machine>(state).unwrap().counts, Counts::default());
        let newer: Counts = serde_json::from_str(r#"{"respawns":3,"kills":{"hangs":1,"boredom":2}}"#).unwrap();
        assert_eq!(newer, Counts { respawns: 3, kills: Kills { hangs: 1, ..Kills::default() }, ..Counts::default() });
    }
}
