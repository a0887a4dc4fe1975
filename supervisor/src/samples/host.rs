//! The machine that all this runs on: CPU, memory, load, and the disks that the instance uses.
//!
//! sysinfo's list of disks asks every file system that is mounted, and waits for one whose server does not answer. So only
//! the file systems are asked that the instance itself lies on.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gin_shared::metrics::Family;
use sysinfo::{LoadAvg, System};

use super::Meter;

/// What was read of the machine; absent is what cannot be read.
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

/// A file system, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// The directory where it is mounted, as far as it can be seen.
    pub(super) mount: PathBuf,
    pub(super) total: u64,
    /// The room for programs that are not root's.
    pub(super) available: u64,
}

impl Host {
    /// Reads it. `places` lie on the disks that are told.
    pub(super) fn look(meter: &Meter, places: &[PathBuf]) -> Self {
        let load = System::load_average().ok().map(|LoadAvg { one, five, fifteen }| [one, five, fifteen]);
        Self { cpu: meter.cpu_usage(), memory: Memory::look(), load, disks: disks(places) }
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

/// The file systems that `places` lie on, each once.
fn disks(places: &[PathBuf]) -> Vec<Disk> {
    let mut disks: Vec<Disk> = Vec::new();
    for mount in places.iter().filter_map(|place| mount_of(place)) {
        if !disks.iter().any(|disk| disk.mount == mount) {
            disks.extend(Disk::look(mount));
        }
    }
    disks
}

impl Disk {
    fn look(mount: PathBuf) -> Option<Self> {
        let stat = rustix::fs::statvfs(mount.as_path()).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        (stat.f_blocks > 0).then(|| Self { mount, total: bytes(stat.f_blocks), available: bytes(stat.f_bavail) })
    }
}

/// The highest directory above `place` on its file system. A file, there or not there yet, counts where its directory lies.
fn mount_of(place: &Path) -> Option<PathBuf> {
    let there = place.ancestors().find_map(|path| path.canonicalize().ok().filter(|path| path.is_dir()))?;
    let device = there.metadata().ok()?.dev();
    let is_on_it = |path: &&Path| path.metadata().is_ok_and(|metadata| metadata.dev() == device);
    there.ancestors().take_while(is_on_it).last().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_told_once_by_the_directory_where_it_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().to_owned(), dir.path().join("not/there/yet.log"), PathBuf::from("/proc/self")];
        let disks = disks(&places);
        // /proc has no blocks.
        let [disk] = disks.as_slice() else { panic!("{disks:?}") };
        assert!(dir.path().canonicalize().unwrap().starts_with(&disk.mount), "{disk:?}");
        assert!(disk.total > 0 && disk.available <= disk.total, "{disk:?}");
        assert_eq!(mount_of(Path::new("/proc/self/")), Some(PathBuf::from("/proc")));
    }

    #[test]
    fn the_machine_is_read() {
        let host = Host::look(&Meter::default(), &[PathBuf::from("/")]);
        assert!(host.families().iter().all(|family| family.series.len() == 1), "{host:?}");
    }
}
