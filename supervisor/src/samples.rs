//! The supervisor's own metrics, as families of samples.
//!
//! The loop gathers what it knows ([`Samples`]), which is cheap. The rest is read from `/proc` and the file systems in
//! [`Samples::families`], on a thread of its own, once a scrape.
//!
//! | families of | come from |
//! |---|---|
//! | the fleet: generations, workers, queues, start times (`fleet.rs`) | the status, and what the machine remembers of failures |
//! | counts (`counts.rs`) | [`Counts`], which the state keeps, and the course of connections |
//! | certificates (`certificates.rs`) | [`Certificates`](crate::certificates::Certificates) |
//! | workers: CPU, memory (`usage.rs`) | `/proc`, by session; [`Meter`] remembers what was told |
//! | the machine that all this runs on (`host.rs`) | sysinfo; its disks (`disks.rs`): the file systems that the instance uses |
//!
//! Nothing that rises ever goes back while its labels stay: not by the end of a worker, or of one of its children, and not by
//! the next master. All series have the label `instance`.

mod certificates;
mod counts;
mod disks;
mod fleet;
mod host;
mod meter;
mod usage;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use gin_shared::generation::{Generation, WorkerId};
use gin_shared::metrics::Family;
use gin_shared::status::{CertificateStatus, Status};

use crate::machine::counts::Counts;
use crate::moment::Moment;
use crate::os::sessions::{self, Session};
use crate::os::time;
use meter::Clock;
pub use meter::{Meter, MeterRecord};

/// Everything that the loop knows for a scrape.
#[derive(Debug)]
pub struct Samples {
    /// The status.
    pub status: Status,
    /// The counts of what has happened.
    pub counts: Counts,
    /// The state of the fleet, beyond the status.
    pub fleet: Fleet,
    /// The moments that are told.
    pub times: Times,
    /// The workers that have a process.
    pub workers: Vec<WorkerSample>,
    /// The certificates that are in use.
    pub certificates: Vec<CertificateStatus>,
    /// Directories and files on the disks that the instance uses.
    pub places: Vec<PathBuf>,
    /// The samples that were told before.
    pub meter: Arc<Meter>,
}

/// The state of the fleet, beyond the status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fleet {
    /// True if no worker serves but those between two crashes.
    pub down: bool,
    /// The number of slots that wait before their next worker.
    pub in_backoff: usize,
    /// The number of restarts that wait for their turn.
    pub restarts_waiting: usize,
}

/// The moments that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The start of the master's process.
    pub started: Moment,
    /// The start of the instance's first master; `None`: it was an older build.
    pub first_started: Option<Moment>,
    /// The end of the last upgrade.
    pub upgraded: Option<Moment>,
}

/// A worker that has a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSample {
    /// The worker.
    pub id: WorkerId,
    /// Its process, which leads its session.
    pub pid: i32,
    /// The moment when its program was started.
    pub born: Moment,
}

/// Everything that is read for a scrape, beside the loop.
struct Outside {
    clock: Clock,
    /// Milliseconds since 1970.
    wall_ms: u64,
    /// Time on CPUs in ticks, by slot: of all workers that it has had.
    cpu: Vec<((Generation, u32), u64)>,
    sessions: HashMap<i32, Session>,
    host: host::Host,
}

impl Samples {
    /// All families, with the label `instance`. Reads `/proc` and asks file systems for their size: not for the loop.
    #[must_use]
    pub fn families(self) -> Vec<Family> {
        let cpu = self.meter.look(&self.workers, &self.generations(), sessions::all);
        let outside = Outside {
            clock: self.meter.clock(time::now(), time::wall_ms()),
            wall_ms: time::wall_ms(),
            cpu: cpu.by_slot,
            sessions: cpu.sessions,
            host: host::Host::look(&self.meter, &self.places),
        };
        self.families_with(&outside)
    }

    fn families_with(&self, outside: &Outside) -> Vec<Family> {
        let fleet = fleet::families(self, outside.clock);
        let counts = counts::families(&self.counts, &self.status.connections);
        let certificates = certificates::families(&self.certificates, outside.wall_ms);
        let usage = usage::families(self, outside);
        let all = fleet.into_iter().chain(counts).chain(certificates).chain(usage).chain(outside.host.families());
        all.filter(|family| !family.series.is_empty()).map(|family| self.of_instance(family)).collect()
    }

    fn of_instance(&self, mut family: Family) -> Family {
        for series in &mut family.series {
            series.labels.insert(0, ("instance".to_owned(), self.status.instance.clone()));
        }
        family
    }

    /// The generations that have workers.
    fn generations(&self) -> Vec<Generation> {
        self.status.generations.iter().map(|generation| generation.generation).collect()
    }
}

#[cfg(test)]
mod tests;
