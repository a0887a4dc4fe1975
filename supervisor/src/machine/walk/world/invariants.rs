//! What holds in every state of the walk.

use std::collections::{BTreeSet, HashSet};

use super::super::super::action::{WorkerAction, WorkerReport};
use super::super::super::generation::Stage;
use super::super::super::worker::{Worker, WorkerState};
use super::super::super::*;
use super::{Process, World};

impl World {
    /// What served goes on serving: an adoption ends nobody of the current generation, nor the last who serve at all.
    pub(super) fn check_adopted(&self, before: &Machine, actions: &[Action]) {
        let told = |id: &WorkerId| {
            let told = |action: &Action| matches!(action, Action::Worker(who, WorkerAction::Drain(_) | WorkerAction::Kill | WorkerAction::Abort) if who == id);
            actions.iter().any(told)
        };
        let serving = |run: &Run| {
            let lives = |worker: &&Worker| worker.is_serving() && self.processes.contains_key(&worker.id);
            run.workers().filter(lives).map(|worker| worker.id).collect::<Vec<_>>()
        };
        let current = before.current().map(serving).unwrap_or_default();
        if current.is_empty() {
            let candidate = before.candidate().and_then(|c| c.run.as_ref()).map(serving).unwrap_or_default();
            assert!(!candidate.iter().any(told), "the last who serve were told to end: {candidate:?}");
        } else {
            let (was, is) = (before.current().map(|run| run.id), self.machine.current().map(|run| run.id));
            assert_eq!(is, was, "what served is current no more");
            assert!(!current.iter().any(told), "{current:?} served, and were told to end");
        }
    }

    /// No drain for an upgrade, or for another worker's sake, leaves fewer that serve than before.
    pub(super) fn check_drain(&self, before: &Machine, id: WorkerId, reason: DrainReason) {
        let Some(run) = before.current().filter(|run| run.id == id.generation && reason == DrainReason::Upgrade) else {
            return;
        };
        if !run.workers().any(|worker| worker.id == id && worker.is_serving()) {
            return;
        }
        // One that hangs is aborted on its own account, maybe in the same step.
        let hangs = |run: &Run| {
            let aborted = |worker: &&Worker| matches!(worker.state, WorkerState::Aborting(_));
            u32::try_from(run.workers().filter(aborted).count()).unwrap()
        };
        let counts = |run: &Run| run.serving() + hangs(run);
        let serve = |machine: &Machine| machine.runs().filter(|r| r.stage != Stage::Leaving).map(counts).sum::<u32>();
        let now = self.machine.current().expect("an upgrade leaves a current generation");
        // Beside the current generation's, those of a candidate count only where they have taken a place.
        let wanted = run.serving().min(now.plan.workers);
        assert!(serve(&self.machine) >= wanted, "{id} was told to drain, and too few serve");
    }

    /// Connections of a worker that drains go to workers that serve, in whichever generation, for as long as there is one; and to
    /// others of them if the first ones do not take.
    fn check_takers(&self) {
        let accepts = |id: &WorkerId| {
            self.processes.get(id).is_some_and(|life| life.process == Process::Accepting && !life.told_to_end)
        };
        let workers = || self.machine.runs().flat_map(Run::workers);
        let serve: HashSet<WorkerId> =
            workers().filter(|worker| worker.is_serving() && accepts(&worker.id)).map(|worker| worker.id).collect();
        for leaver in workers().filter(|worker| matches!(worker.state, WorkerState::Draining(_))) {
            let takers = self.machine.takers(leaver.id, accepts);
            assert!(takers.iter().all(|taker| serve.contains(taker)), "{} gives to {takers:?}", leaver.id);
            assert_eq!(takers.is_empty(), serve.is_empty(), "{} has no takers, and {serve:?} serve", leaver.id);
            let others = self.machine.takers(leaver.id, |id| accepts(id) && !takers.contains(id));
            assert_eq!(others.is_empty(), serve.len() == takers.len(), "{} has no other takers", leaver.id);
        }
    }

    /// A worker without room serves, and gives to others that serve in its stead: none that is on its way in or out.
    pub(super) fn check_relief(&self, id: WorkerId) {
        let accepts = |id: &WorkerId| self.processes.get(id).is_some_and(|life| life.process == Process::Accepting);
        assert!(accepts(&id), "{id} has no connections");
        let current = self.machine.current().map(|run| run.id);
        for other in self.machine.relievers(id, accepts) {
            assert!(other != id && Some(other.generation) == current, "{id} gives to {other}");
        }
    }

    /// Where nothing goes wrong, nobody is told to have failed.
    pub(super) fn check_spotless(actions: &[Action]) {
        let is_blame = |action: &&Action| match action {
            Action::Report(Report::Worker { what, .. }) => {
                matches!(what, WorkerReport::Failed(_) | WorkerReport::Unfit(_) | WorkerReport::Aborted)
            }
            Action::Report(report) => matches!(report, Report::Withdrawn { .. }),
            Action::Worker(..) | Action::Generation(..) | Action::Master(_) | Action::Answer(..) => false,
        };
        let blames: Vec<&Action> = actions.iter().filter(is_blame).collect();
        assert!(blames.is_empty(), "somebody was blamed for nothing: {blames:?}");
    }

    pub(super) fn check(&self) {
        let machine = &self.machine;
        assert!(self.late || machine.deadline().is_none_or(|at| at > self.now), "a deadline has passed");
        self.check_takers();
        let ends = |worker: &&Worker| worker.is_serving() && worker.stopping;
        let ends = machine.runs().flat_map(Run::workers).find(ends);
        assert!(ends.is_none(), "a worker that ends by itself is left to itself: {ends:?}");
        let known: Vec<WorkerId> = machine.runs().flat_map(Run::workers).map(|w| w.id).collect();
        let alive: Vec<WorkerId> = self.processes.keys().copied().collect();
        assert_eq!(
            known.iter().collect::<HashSet<_>>(),
            alive.iter().collect::<HashSet<_>>(),
            "watched and alive differ"
        );
        let fronts = machine.runs().filter(|run| !matches!(run.stage, Stage::Leaving | Stage::Standby)).count();
        assert!(fronts <= 2, "{fronts} generations that are not on their way out");
        if let Some(run) = machine.current() {
            let kept = run.slots.iter().filter(|slot| !slot.surplus).count();
            assert_eq!(kept, run.plan.workers as usize, "another number of slots than was asked for: {:?}", run.slots);
            let numbers: HashSet<u32> = run.slots.iter().map(|slot| slot.slot.0).collect();
            assert_eq!(numbers.len(), run.slots.len(), "two slots of one number: {:?}", run.slots);
            assert!(self.frozen.contains(&run.id), "what serves was forgotten");
        }
        let candidate = machine.candidate().map(|candidate| candidate.generation);
        let known: BTreeSet<Generation> =
            machine.runs().map(|run| run.id).chain(candidate).chain(machine.good.iter().copied()).collect();
        let prepared = |generation: &Generation| Some(*generation) != candidate || self.preparing.is_none();
        let known: BTreeSet<Generation> = known.into_iter().filter(prepared).collect();
        let frozen: BTreeSet<Generation> = self.frozen.iter().copied().filter(prepared).collect();
        assert!(known.is_subset(&self.frozen), "forgotten too early: {known:?} {:?}", self.frozen);
        assert!(self.exited || frozen == known, "never forgotten: {frozen:?} {known:?}");
        assert!(machine.good.len() <= rollback::KEPT);
    }

    pub(in super::super) fn check_snapshot(&self) {
        let back: Machine = snapshot::read(&snapshot::write(&self.machine, "walk").unwrap(), "walk").unwrap();
        assert_eq!(back, self.machine, "snapshot and back");
    }
}
