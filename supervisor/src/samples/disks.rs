//! The disks that the instance uses.
//!
//! sysinfo's list of disks asks every file system that is mounted. So only the file systems are asked that the instance itself
//! lies on. Even one of these may not answer, when its server is gone: a thread of its own waits for that, and no scrape does.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Time that a scrape waits for the disks.
const PATIENCE: Duration = Duration::from_millis(500);

/// Looks at the disks, one at a time.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// A look that has not ended has a copy of it.
    under_way: Arc<()>,
}

impl Looks {
    /// The disks that `places` lie on. None while one of them does not answer.
    pub(super) fn look(&self, places: &[PathBuf]) -> Vec<Disk> {
        let places = places.to_vec();
        self.look_with(PATIENCE, move || disks(&places))
    }

    fn look_with(&self, patience: Duration, disks: impl FnOnce() -> Vec<Disk> + Send + 'static) -> Vec<Disk> {
        if self.has_one() {
            return Vec::new();
        }
        let (sender, seen) = mpsc::channel();
        let under_way = Arc::clone(&self.under_way);
        let look = move || {
            let disks = disks();
            // Before the scrape goes on: the next one finds no look under way.
            drop(under_way);
            let _ = sender.send(disks);
        };
        if std::thread::Builder::new().name("disks".to_owned()).spawn(look).is_err() {
            return Vec::new();
        }
        let seen = seen.recv_timeout(patience);
        if seen == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("a disk that the instance uses does not answer; the metrics tell of no disk until it does");
        }
        seen.unwrap_or_default()
    }

    /// True while a look has not ended.
    pub(super) fn has_one(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }
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
    fn a_disk_that_does_not_answer_holds_up_one_scrape_for_a_moment() {
        let looks = Looks::default();
        let disk = || vec![Disk { mount: "/".into(), total: 2, available: 1 }];
        assert_eq!(looks.look_with(Duration::MAX, disk), disk());
        assert!(!looks.has_one());
        let (answer, hangs) = mpsc::channel::<()>();
        let seen = looks.look_with(Duration::from_millis(1), move || {
            let _ = hangs.recv();
            disk()
        });
        assert_eq!(seen, []);
        assert!(looks.has_one());
        assert_eq!(looks.look_with(Duration::MAX, || panic!("one thread is enough")), []);
        drop(answer);
        while looks.has_one() {
            std::thread::yield_now();
        }
        assert_eq!(looks.look_with(Duration::MAX, disk), disk());
    }
}
