//! The number of slots of a generation: more, fewer, and which ones go.

use std::cmp::Reverse;

use gin_shared::channel::DrainReason;
use gin_shared::generation::Slot;

use super::action::Action;
use super::generation::{Run, Stage};
use super::slot::{Occupant, SlotRun};
use crate::moment::Moment;

impl Run {
    /// Changes the number of slots of the current generation. Fewer: the slots go first that serve least, and of equal ones
    /// those with the highest numbers. More: the lowest numbers that are free.
    pub fn scale(&mut self, now: Moment, workers: u32, out: &mut Vec<Action>) {
        self.plan.workers = workers;
        while self.kept() > workers
            && let Some(index) = self.least()
        {
            self.slots[index].surplus = true;
            self.vacate(now, index, out);
        }
        self.trim();
        while self.kept() < workers {
            self.add_slot(now, out);
        }
        self.slots.sort_by_key(|slot| slot.slot);
    }

    /// The number of slots that belong to it for longer.
    fn kept(&self) -> u32 {
        u32::try_from(self.slots.iter().filter(|slot| !slot.surplus).count()).unwrap_or(u32::MAX)
    }

    /// The slot that serves least.
    fn least(&self) -> Option<usize> {
        let kept = self.slots.iter().enumerate().filter(|(_, slot)| !slot.surplus);
        kept.min_by_key(|(_, slot)| (slot.service(), Reverse(slot.slot))).map(|(index, _)| index)
    }

    /// Adds a slot with the lowest free number, and orders a worker for it. A surplus slot's worker may still drain.
    fn add_slot(&mut self, now: Moment, out: &mut Vec<Action>) {
        let is_free = |number: &Slot| !self.slots.iter().any(|slot| slot.slot == *number && !slot.surplus);
        let Some(number) = (0..u32::MAX).map(Slot).find(is_free) else { return };
        let index = self.slots.iter().position(|slot| slot.slot == number).unwrap_or_else(|| {
            self.slots.push(SlotRun::new(number));
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.surplus = false;
        if let Occupant::Worker(before) = std::mem::take(&mut slot.occupant) {
            self.retiring.push(before);
        }
        slot.spawn(now, self.id, out);
    }

    /// Marks what an earlier build, which knows no surplus slots, has left of a change to fewer workers: the highest numbers.
    pub(super) fn mark_surplus(&mut self) {
        let more = self.kept().saturating_sub(self.plan.workers);
        let highest = self.slots.iter_mut().rev().filter(|slot| !slot.surplus);
        highest.take(more as usize).for_each(|slot| slot.surplus = true);
    }

    /// Tells whoever is in a slot to end, and wants nobody in it.
    pub(super) fn vacate(&mut self, now: Moment, index: usize, out: &mut Vec<Action>) {
        let (plan, slot) = (&self.plan, &mut self.slots[index]);
        slot.unfit = None;
        if let Occupant::Worker(mut worker) = std::mem::take(&mut slot.successor) {
            worker.drain(now, plan, DrainReason::Upgrade, out);
            self.retiring.push(worker);
        }
        match &mut slot.occupant {
            Occupant::Worker(worker) => worker.drain(now, plan, DrainReason::Upgrade, out),
            Occupant::Backoff(_) => slot.occupant = Occupant::Vacant,
            Occupant::Vacant => {}
        }
    }

    /// Drops surplus slots that nobody is in, or has left and not ended: the next one of that number would begin to count its
    /// workers anew.
    pub(super) fn trim(&mut self) {
        if self.stage == Stage::Current {
            let retiring = &self.retiring;
            let is_left = |slot: &SlotRun| retiring.iter().all(|worker| worker.id.slot != slot.slot);
            self.slots.retain(|slot| !(slot.surplus && slot.is_empty() && is_left(slot)));
        }
    }
}
