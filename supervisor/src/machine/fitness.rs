//! Workers that serve and should not for much longer: they hang, are too large or too old. Each is replaced, one slot at a
//! time. A worker that somebody else has told to end is replaced at once.

use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::generation::{Slot, WorkerId};

use super::action::{Action, Report, WorkerReport};
use super::backoff;
use super::failure::{Failure, Unfit};
use super::generation::{Run, Stage};
use super::plan::Plan;
use super::slot::{Occupant, SlotRun};
use super::worker::Worker;
use crate::moment::Moment;

/// A worker that is too large sooner than this is likely so by its nature: the next one is given longer.
const QUICK: Duration = Duration::from_secs(60);

impl Run {
    /// A worker that serves should not for much longer.
    pub(super) fn settle_unfit(
        &mut self,
        now: Moment,
        index: usize,
        unfit: Unfit,
        out: &mut Vec<Action>,
    ) -> Option<(WorkerId, Failure)> {
        let current = self.stage == Stage::Current;
        let slot = &mut self.slots[index];
        let id = slot.worker()?.id;
        match unfit {
            // A candidate that hangs is not fit to serve.
            Unfit::Hangs(silence) if !current => {
                let plan = &self.plan;
                slot.occupant.worker_mut()?.abort(now, plan, silence, out);
                let pid = slot.worker()?.pid;
                return Some((id, Failure::Hangs { pid, silence }));
            }
            Unfit::Memory(_) | Unfit::Age(_) if !current || slot.unfit.is_some() => {}
            Unfit::Hangs(_) | Unfit::Memory(_) | Unfit::Age(_) => {
                let pid = slot.worker()?.pid;
                slot.unfit = Some(unfit);
                let what = WorkerReport::Unfit(unfit);
                out.push(Action::Report(Report::Worker { worker: id, pid, what, took: Duration::ZERO }));
            }
        }
        None
    }

    /// A successor that serves takes its place, and the one before it drains.
    pub(super) fn settle_successor(&mut self, now: Moment, index: usize, out: &mut Vec<Action>) {
        let slot = &mut self.slots[index];
        if !slot.successor.worker().is_some_and(Worker::is_serving) {
            return;
        }
        // Told to end by a stranger before it served, it takes nobody's place.
        if slot.successor.worker().is_some_and(|worker| worker.stopping) {
            slot.failures += 1;
            let again = Occupant::Backoff(now + backoff::delay(slot.failures + 1, 0));
            if let Occupant::Worker(mut successor) = std::mem::replace(&mut slot.successor, again) {
                successor.drain(now, &self.plan, DrainReason::Upgrade, out);
                self.retiring.push(successor);
            }
            return;
        }
        let before = std::mem::replace(&mut slot.occupant, std::mem::take(&mut slot.successor));
        slot.unfit = None;
        slot.failures = 0;
        if let Occupant::Worker(mut before) = before {
            before.drain(now, &self.plan, DrainReason::Upgrade, out);
            self.retiring.push(before);
        }
    }

    /// Workers that somebody else has told to end drain like any other, and others take their places at once. So it is in each
    /// generation that is to serve on; a candidate is withdrawn.
    pub(super) fn settle_stopping(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !matches!(self.stage, Stage::Current | Stage::Standby) {
            return;
        }
        let stops = |slot: &SlotRun| slot.worker().is_some_and(|worker| worker.is_serving() && worker.stopping);
        for slot in self.slots.iter_mut().filter(|slot| stops(slot)) {
            let Occupant::Worker(mut worker) = std::mem::take(&mut slot.occupant) else { continue };
            worker.drain(now, &self.plan, DrainReason::Upgrade, out);
            slot.unfit = None;
            // Told to end again and again soon after it was started, it is waited for as if it had crashed.
            slot.failures = if worker.is_stable(now) { 1 } else { slot.failures + 1 };
            slot.occupant = std::mem::take(&mut slot.successor);
            if slot.occupant == Occupant::Vacant {
                let wait = backoff::delay(slot.failures, 0);
                let (worker, pid, what) = (worker.id, worker.pid, WorkerReport::Respawn(wait));
                out.push(Action::Report(Report::Worker { worker, pid, what, took: Duration::ZERO }));
                slot.spawn_after(now, wait, self.id, out);
            }
            self.retiring.push(worker);
        }
    }

    /// Replaces workers that are unfit, one slot at a time. One that hangs serves nobody, so it waits for no other slot but
    /// one that is being aborted. One that is too large or too old waits until all others serve, for an upgrade, which
    /// replaces it anyway, and for the worker before it to be gone.
    pub fn settle_fitness(&mut self, now: Moment, upgrading: bool, out: &mut Vec<Action>) {
        if self.stage != Stage::Current {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.unfit.is_none()) {
            if let Some(worker) = slot.occupant.worker_mut().filter(|w| w.is_serving() && w.old_at.is_none()) {
                worker.grow_old(now, &self.plan);
            }
        }
        let aborting = |slot: &SlotRun| slot.worker().is_some_and(Worker::is_aborting);
        let hangs = |slot: &SlotRun| matches!(slot.unfit, Some(Unfit::Hangs(_)));
        if !self.slots.iter().any(aborting)
            && let Some(slot) = self.slots.iter_mut().find(|slot| hangs(slot))
            && let (Some(Unfit::Hangs(silence)), Occupant::Worker(worker)) = (slot.unfit, &mut slot.occupant)
        {
            slot.unfit = None;
            worker.abort(now, &self.plan, silence, out);
        }
        let busy = |slot: &SlotRun| {
            !slot.yielded && (slot.successor != Occupant::Vacant || !slot.worker().is_some_and(Worker::is_serving))
        };
        if upgrading || self.slots.iter().any(busy) {
            return;
        }
        let retiring: Vec<Slot> = self.retiring.iter().map(|worker| worker.id.slot).collect();
        let due = |slot: &&mut SlotRun| {
            // What is too large is told again and again, so that this is looked at again, too.
            let rested = slot.worker().is_some_and(|worker| now.since(worker.born) >= slot.rest());
            let rested = rested || !matches!(slot.unfit, Some(Unfit::Memory(_)));
            slot.unfit.is_some() && !hangs(slot) && rested && !retiring.contains(&slot.slot)
        };
        if let Some(slot) = self.slots.iter_mut().find(due) {
            let quick = slot.worker().is_some_and(|worker| now.since(worker.born) < QUICK);
            let large = matches!(slot.unfit, Some(Unfit::Memory(_)));
            slot.quick = if quick && large { slot.quick + 1 } else { 0 };
            if slot.worker().is_some_and(|worker| worker.is_stable(now)) {
                // Failures before it are forgotten: its successor starts with a clean record.
                slot.failures = 0;
            }
            slot.spawn_successor(now, self.id, out);
        }
    }
}

impl Worker {
    /// From now on it may become too old.
    pub(super) fn grow_old(&mut self, now: Moment, plan: &Plan) {
        // One that is too old already comes due at once.
        let soonest = now + Duration::from_millis(1);
        self.old_at = plan.age_of(self.id.slot.0).map(|age| (self.born + age).max(soonest));
    }
}
