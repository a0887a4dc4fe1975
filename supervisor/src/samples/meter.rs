//! Figures that the metrics remember from one scrape to the next, and from one master to the next.
//!
//! Time on CPUs: the kernel tells it of each process. When a process ends, its parent has it, if that waits for it; else
//! nobody has, and the sum over a session goes back. So the meter adds up how much a session's sum has risen since the
//! look before. A sum that went back is looked at once more, as a process may have ended amid the look; if it is lower
//! still, the meter goes on from there, and only what the lost process had used since the look before is missed.
//!
//! Several workers may be in a slot, one after the other, or for a while beside one another. The slot's number counts all of
//! them, until its generation is gone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gin_shared::generation::{Generation, Slot};
use serde::{Deserialize, Serialize};
use sysinfo::System;

use super::WorkerSample;
use super::disks::Looks;
use crate::moment::Moment;
use crate::os::sessions::{Session, Sessions};

/// A difference between the clocks that is told anew, in milliseconds: somebody has set the wall clock. A smaller one is
/// rounding, and a start time must not change from scrape to scrape.
const SET: u64 = 1000;

/// The memory of the metrics.
#[derive(Debug, Default)]
pub struct Meter {
    told: Mutex<MeterRecord>,
    /// The machine's CPU at the scrape before. The loop never waits for this one.
    system: Mutex<Option<System>>,
    disks: Looks,
}

/// The part of it that a later master goes on with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeterRecord {
    /// The clock that start times are told by.
    clock: Option<Clock>,
    /// Time on CPUs, by slot.
    cpu: Vec<SlotCpu>,
}

/// The wall clock at the moment 0, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clock(u64);

/// Time on CPUs of the workers of a slot, in ticks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SlotCpu {
    generation: Generation,
    slot: Slot,
    /// The sum that was told.
    total: u64,
    /// The sum of each session at the last look, by the PID of its leader.
    seen: Vec<(i32, u64)>,
}

/// The figures of a look.
#[derive(Debug)]
pub struct Look {
    /// Time on CPUs in ticks, by slot.
    pub by_slot: Vec<((Generation, u32), u64)>,
    /// The sessions.
    pub sessions: HashMap<i32, Session>,
}

impl Clock {
    /// The time of a moment, in seconds since 1970.
    #[must_use]
    pub fn seconds_at(self, moment: Moment) -> f64 {
        (self.0 + moment.0 / 1_000_000) as f64 / 1000.0
    }
}

impl Meter {
    /// A meter that goes on from what a master before this one has told.
    #[must_use]
    pub fn resume(record: MeterRecord) -> Self {
        Self { told: Mutex::new(record), ..Self::default() }
    }

    /// Everything that a later master needs.
    #[must_use]
    pub fn record(&self) -> MeterRecord {
        lock(&self.told).clone()
    }

    /// The looks at disks.
    pub(super) fn disks(&self) -> &Looks {
        &self.disks
    }

    /// True while a thread waits for a disk that does not answer. Another program that is executed here (execve(2)) may have to wait
    /// for that thread.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        self.disks.has_one()
    }

    /// The clock to tell start times by. `now` and `wall_ms` are the same time by both clocks.
    pub(super) fn clock(&self, now: Moment, wall_ms: u64) -> Clock {
        let mut told = lock(&self.told);
        let fresh = Clock(wall_ms.saturating_sub(now.0 / 1_000_000));
        let clock = told.clock.filter(|clock| clock.0.abs_diff(fresh.0) < SET).unwrap_or(fresh);
        told.clock = Some(clock);
        clock
    }

    /// The part of the machine's CPU that was used since the call before, of all: 0 to 1. At the first call, since the boot.
    pub(super) fn cpu_usage(&self) -> Option<f64> {
        let mut system = lock(&self.system);
        if system.is_none() {
            *system = System::new().ok();
        }
        let system = system.as_mut()?;
        system.refresh_cpu_usage();
        Some(f64::from(system.global_cpu_usage()) / 100.0)
    }

    /// Looks at the sessions of the workers. Slots of other generations than `generations` are forgotten.
    ///
    /// `sessions` takes a while, so nothing is locked meanwhile: the loop saves what was told.
    pub(super) fn look(
        &self,
        workers: &[WorkerSample],
        generations: &[Generation],
        sessions: impl Fn() -> Sessions,
    ) -> Look {
        let mut seen = sessions();
        if lock(&self.told).has_gone_back(workers, &seen.by_leader) {
            seen = sessions();
        }
        let mut told = lock(&self.told);
        // What is missing now would count once more when it is seen again.
        if !seen.is_partial {
            told.add(workers, &seen.by_leader);
        }
        told.forget(workers, generations);
        let by_slot = told.cpu.iter().map(|slot| ((slot.generation, slot.slot.0), slot.total)).collect();
        Look { by_slot, sessions: seen.by_leader }
    }
}

impl MeterRecord {
    fn slot(&self, worker: &WorkerSample) -> Option<&SlotCpu> {
        self.cpu.iter().find(|slot| slot.is_of(worker))
    }

    fn has_gone_back(&self, workers: &[WorkerSample], sessions: &HashMap<i32, Session>) -> bool {
        workers.iter().any(|worker| {
            let seen = self.slot(worker).map_or(0, |slot| slot.seen_of(worker.pid));
            sessions.get(&worker.pid).is_some_and(|session| session.cpu < seen)
        })
    }

    /// Adds what each session has used since it was seen.
    fn add(&mut self, workers: &[WorkerSample], sessions: &HashMap<i32, Session>) {
        for worker in workers {
            // It leads no session yet, or is gone.
            let Some(session) = sessions.get(&worker.pid) else { continue };
            if self.slot(worker).is_none() {
                let (generation, slot) = (worker.id.generation, worker.id.slot);
                self.cpu.push(SlotCpu { generation, slot, total: 0, seen: Vec::new() });
            }
            let slot = self.cpu.iter_mut().find(|slot| slot.is_of(worker));
            let slot = slot.expect("it is there, or was put there above");
            slot.total = slot.total.saturating_add(session.cpu.saturating_sub(slot.seen_of(worker.pid)));
            slot.seen.retain(|(pid, _)| *pid != worker.pid);
            slot.seen.push((worker.pid, session.cpu));
        }
    }

    /// Forgets generations that are gone, and sessions of workers that are.
    fn forget(&mut self, workers: &[WorkerSample], generations: &[Generation]) {
        self.cpu.retain(|slot| generations.contains(&slot.generation));
        for slot in &mut self.cpu {
            let (generation, number) = (slot.generation, slot.slot);
            let in_slot = |worker: &&WorkerSample| (worker.id.generation, worker.id.slot) == (generation, number);
            let lives = |pid: i32| workers.iter().filter(in_slot).any(|worker| worker.pid == pid);
            slot.seen.retain(|(pid, _)| lives(*pid));
        }
    }
}

impl SlotCpu {
    fn is_of(&self, worker: &WorkerSample) -> bool {
        (self.generation, self.slot) == (worker.id.generation, worker.id.slot)
    }

    fn seen_of(&self, pid: i32) -> u64 {
        self.seen.iter().find(|(seen, _)| *seen == pid).map_or(0, |(_, cpu)| *cpu)
    }
}

/// A panic of another scrape has left nothing half done that would matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use gin_shared::generation::WorkerId;

    use super::*;

    const G: Generation = Generation(1);

    fn worker(slot: u32, attempt: u32, pid: i32) -> WorkerSample {
        WorkerSample { id: WorkerId { generation: G, slot: Slot(slot), attempt }, pid, born: Moment(0) }
    }

    /// All sessions, with these sums.
    fn whole(sums: &[(i32, u64)]) -> Sessions {
        let by_leader = sums.iter().map(|(pid, cpu)| (*pid, Session { resident: 0, cpu: *cpu })).collect();
        Sessions { by_leader, is_partial: false }
    }

    /// The number of the only slot, if the sessions are these, look for look.
    fn total(meter: &Meter, workers: &[WorkerSample], looks: &[&[(i32, u64)]]) -> u64 {
        let looks = RefCell::new(looks.iter());
        let sessions = || {
            let sums = looks.borrow_mut().next().expect("it looks no more often");
            whole(sums)
        };
        let by_slot = meter.look(workers, &[G], sessions).by_slot;
        assert_eq!(looks.borrow().len(), 0, "it looks as often");
        assert_eq!(by_slot.len(), 1);
        by_slot[0].1
    }

    #[test]
    fn a_child_that_nobody_waits_for_takes_nothing_away() {
        let (meter, workers) = (Meter::default(), [worker(0, 0, 7)]);
        assert_eq!(total(&meter, &workers, &[&[(7, 100)]]), 100);
        assert_eq!(total(&meter, &workers, &[&[(7, 130)]]), 130);
        // 60 are gone for good; what comes after it counts.
        assert_eq!(total(&meter, &workers, &[&[(7, 70)], &[(7, 70)]]), 130);
        assert_eq!(total(&meter, &workers, &[&[(7, 75)]]), 135);
    }

    #[test]
    fn a_look_without_descriptors_takes_nothing_away_and_adds_nothing_later() {
        let (meter, workers) = (Meter::default(), [worker(0, 0, 7)]);
        assert_eq!(total(&meter, &workers, &[&[(7, 100)]]), 100);
        let partial = || Sessions { is_partial: true, ..whole(&[(7, 10)]) };
        assert_eq!(meter.look(&workers, &[G], partial).by_slot, [((G, 0), 100)]);
        assert_eq!(total(&meter, &workers, &[&[(7, 101)]]), 101);
    }

    #[test]
    fn a_child_that_ends_amid_a_look_is_not_counted_twice() {
        let (meter, workers) = (Meter::default(), [worker(0, 0, 7)]);
        assert_eq!(total(&meter, &workers, &[&[(7, 100)]]), 100);
        assert_eq!(total(&meter, &workers, &[&[(7, 40)], &[(7, 104)]]), 104);
        assert_eq!(total(&meter, &workers, &[&[(7, 105)]]), 105);
    }

    #[test]
    fn a_slot_counts_all_its_workers() {
        let meter = Meter::default();
        assert_eq!(total(&meter, &[worker(0, 0, 7)], &[&[(7, 100)]]), 100);
        // The next one serves beside it, then alone; another session is nobody's here.
        assert_eq!(total(&meter, &[worker(0, 0, 7), worker(0, 1, 8)], &[&[(7, 110), (8, 5), (9, 1000)]]), 115);
        assert_eq!(total(&meter, &[worker(0, 1, 8)], &[&[(8, 9)]]), 119);
        // In backoff.
        assert_eq!(total(&meter, &[], &[&[]]), 119);
        assert_eq!(total(&meter, &[worker(0, 2, 7)], &[&[(7, 1)]]), 120);
        // A worker that leads no session yet has no number.
        assert_eq!(total(&meter, &[worker(0, 2, 7), worker(1, 0, 11)], &[&[(7, 2)]]), 121);
        assert!(meter.look(&[], &[Generation(2)], Sessions::default).by_slot.is_empty());
    }

    #[test]
    fn a_later_master_goes_on_from_what_was_told() {
        let (meter, workers) = (Meter::default(), [worker(0, 0, 7)]);
        assert_eq!(total(&meter, &workers, &[&[(7, 100)]]), 100);
        assert_eq!(total(&meter, &workers, &[&[(7, 30)], &[(7, 30)]]), 100);
        let bytes = serde_json::to_vec(&meter.record()).unwrap();
        let later = Meter::resume(serde_json::from_slice(&bytes).unwrap());
        assert_eq!(later.record(), meter.record());
        assert_eq!(total(&later, &workers, &[&[(7, 31)]]), 101);
        assert_eq!(serde_json::from_str::<MeterRecord>("{}").unwrap(), MeterRecord::default());
    }

    #[test]
    fn a_start_time_changes_only_if_the_clock_was_set() {
        let meter = Meter::default();
        let started = Moment(5_000_000_000);
        let at = |now: Moment, wall: u64| meter.clock(now, wall).seconds_at(started);
        assert_eq!(at(Moment(10_000_000_000), 1_700_000_010_000), 1_700_000_005.0);
        // Rounding.
        assert_eq!(at(Moment(20_000_900_000), 1_700_000_020_001), 1_700_000_005.0);
        assert_eq!(at(Moment(30_000_000_000), 1_700_000_029_990), 1_700_000_005.0);
        assert_eq!(at(Moment(40_000_000_000), 1_700_003_640_000), 1_700_003_605.0);
    }

    #[test]
    fn the_cpu_of_the_machine_is_a_part_of_all() {
        let usage = Meter::default().cpu_usage().unwrap();
        assert!((0.0..=1.0).contains(&usage), "{usage}");
    }
}
