//! A candidate that takes the old generation's place slot by slot, and what the old one does meanwhile.

use gin_shared::channel::DrainReason;
use gin_shared::generation::Slot;

use super::action::{Action, Report};
use super::generation::{Advance, Run, Stage};
use super::slot::{Occupant, SlotRun};
use crate::moment::Moment;

impl Run {
    /// A slot serves and has soaked: the next one has its turn, if there is one.
    pub(super) fn next_slot(&mut self, now: Moment, done: u32, out: &mut Vec<Action>) -> Advance {
        let (next, workers) = (done + 1, self.plan.workers);
        let took = now.since(self.phase_at);
        self.phase_at = now;
        out.push(Action::Report(Report::Replaced { generation: self.id, slots: next, workers, took }));
        if next >= workers {
            return Advance::Whole;
        }
        self.stage = Stage::Rolling { slot: next, until: None };
        if let Some(slot) = self.slots.get_mut(next as usize) {
            slot.spawn(now, self.id, out);
        }
        Advance::Slot(Slot(done))
    }

    /// A rolling candidate serves in this slot: the worker here drains and is not replaced. If there is no slot of that number,
    /// the highest one yields.
    pub fn yield_slot(&mut self, now: Moment, number: Slot, out: &mut Vec<Action>) {
        let same = self.slots.iter().position(|slot| slot.slot == number && slot.is_wanted());
        if let Some(index) = same.or_else(|| self.slots.iter().rposition(SlotRun::is_wanted)) {
            self.slots[index].yielded = true;
            self.vacate(now, index, out);
        }
    }

    /// The rolling candidate has failed: every slot is wanted again.
    pub fn reclaim(&mut self, now: Moment, out: &mut Vec<Action>) {
        for slot in self.slots.iter_mut().filter(|slot| slot.yielded) {
            slot.yielded = false;
            if slot.surplus {
                continue;
            }
            if let Occupant::Worker(worker) = std::mem::take(&mut slot.occupant) {
                // It drains.
                self.retiring.push(worker);
            }
            slot.spawn(now, self.id, out);
        }
    }

    /// Withdrawn: what serves goes on until [`Self::leave`], for the old one's slots are not filled again yet.
    pub fn stand_by(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.stage = Stage::Standby;
        self.since = now;
        self.each_worker(|worker, plan| {
            if !worker.is_serving() {
                worker.drain(now, plan, DrainReason::Upgrade, out);
            }
        });
    }
}
