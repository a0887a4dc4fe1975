//! CPU and memory of the workers, with the children in their sessions.

use std::collections::BTreeMap;

use gin_shared::generation::Generation;
use gin_shared::metrics::Family;

use super::{Outside, Samples, WorkerSample};
use crate::os::sessions::ticks_per_second;

/// A slot of a generation.
type Place = (Generation, u32);

/// The families.
pub(super) fn families(samples: &Samples, outside: &Outside) -> Vec<Family> {
    let cpu: Vec<(Place, f64)> =
        outside.cpu.iter().map(|(place, ticks)| (*place, *ticks as f64 / ticks_per_second() as f64)).collect();
    let mut memory: BTreeMap<Place, f64> = BTreeMap::new();
    for worker in &samples.workers {
        if let Some(session) = outside.sessions.get(&worker.pid) {
            *memory.entry(place(worker)).or_default() += session.resident as f64;
        }
    }
    let started =
        newest(&samples.workers).into_iter().map(|(place, worker)| (place, outside.clock.seconds_at(worker.born)));
    vec![
        by_slot(
            Family::counter(
                "gin_worker_cpu_seconds",
                "Time on CPUs of all workers that a slot has had, with the processes of their sessions.",
            ),
            cpu,
        ),
        by_slot(
            Family::gauge(
                "gin_worker_resident_memory_bytes",
                "Resident memory of the workers in a slot, with the processes of their sessions. Shared pages count for each.",
            ),
            memory,
        ),
        by_slot(
            Family::gauge(
                "gin_worker_start_time_seconds",
                "Start of the newest worker in a slot, in seconds since 1970.",
            ),
            started,
        ),
    ]
}

fn newest(workers: &[WorkerSample]) -> BTreeMap<Place, &WorkerSample> {
    let mut newest: BTreeMap<Place, &WorkerSample> = BTreeMap::new();
    for worker in workers {
        let place = newest.entry(place(worker)).or_insert(worker);
        if worker.id.attempt > place.id.attempt {
            *place = worker;
        }
    }
    newest
}

fn place(worker: &WorkerSample) -> Place {
    (worker.id.generation, worker.id.slot.0)
}

fn by_slot(family: Family, values: impl IntoIterator<Item = (Place, f64)>) -> Family {
    values.into_iter().fold(family, |family, ((generation, slot), value)| {
        let (generation, slot) = (generation.to_string(), slot.to_string());
        family.with(&[("generation", generation.as_str()), ("slot", slot.as_str())], value)
    })
}
