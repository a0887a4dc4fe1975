//! The machine that all this runs on: CPU, memory, load, and the disks that the instance uses.

use std::path::PathBuf;

use gin_shared::metrics::Family;
use sysinfo::{LoadAvg, System};

use super::Meter;
use super::disks::Disk;

/// Figures of the machine; those that cannot be read are absent.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The part of all CPUs that was used: 0 to 1.
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<Memory>,
    /// The load of 1, 5 and 15 minutes.
    pub(super) load: Option<[f64; 3]>,
    pub(super) disks: Vec<Disk>,
}

/// Memory, in bytes.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
    pub(super) swap_used: u64,
}

impl Host {
    /// Reads it. `places` lie on the disks that are told.
    pub(super) fn look(meter: &Meter, places: &[PathBuf]) -> Self {
        let load = System::load_average().ok().map(|LoadAvg { one, five, fifteen }| [one, five, fifteen]);
        Self { cpu: meter.cpu_usage(), memory: Memory::look(), load, disks: meter.disks().look(places) }
    }

    /// The families.
    pub(super) fn families(&self) -> Vec<Family> {
        let gauge = |name: &str, help: &str, value: Option<f64>| {
            let family = Family::gauge(name, help);
            match value {
                Some(value) => family.with(&[], value),
                None => family,
            }
        };
        let memory = |of: fn(&Memory) -> u64| self.memory.as_ref().map(|memory| of(memory) as f64);
        let load = |index: usize| self.load.map(|load| load[index]);
        vec![
            gauge(
                "gin_machine_cpu_usage_ratio",
                "The part of all CPUs of the machine that was used since the scrape before.",
                self.cpu,
            ),
            gauge("gin_machine_memory_bytes", "Memory of the machine.", memory(|memory| memory.total)),
            gauge(
                "gin_machine_memory_available_bytes",
                "Memory of the machine that programs can have without swapping.",
                memory(|memory| memory.available),
            ),
            gauge(
                "gin_machine_swap_used_bytes",
                "Swap of the machine that is used.",
                memory(|memory| memory.swap_used),
            ),
            gauge("gin_machine_load1", "Load of the machine over 1 minute.", load(0)),
            gauge("gin_machine_load5", "Load of the machine over 5 minutes.", load(1)),
            gauge("gin_machine_load15", "Load of the machine over 15 minutes.", load(2)),
            self.of_disks("gin_machine_disk_bytes", "Size of a file system that the instance uses.", |disk| disk.total),
            self.of_disks(
                "gin_machine_disk_available_bytes",
                "Room on a file system that the instance uses, for programs that are not root's.",
                |disk| disk.available,
            ),
        ]
    }

    fn of_disks(&self, name: &str, help: &str, value: impl Fn(&Disk) -> u64) -> Family {
        self.disks.iter().fold(Family::gauge(name, help), |family, disk| {
            family.with(&[("mount", &*disk.mount.to_string_lossy())], value(disk) as f64)
        })
    }
}

impl Memory {
    fn look() -> Option<Self> {
        let mut system = System::new().ok()?;
        system.refresh_memory();
        let memory =
            Self { total: system.total_memory(), available: system.available_memory(), swap_used: system.used_swap() };
        (memory.total > 0).then_some(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read() {
        let host = Host::look(&Meter::default(), &[PathBuf::from("/")]);
        assert!(host.families().iter().all(|family| family.series.len() == 1), "{host:?}");
    }
}
