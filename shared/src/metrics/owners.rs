//! Owners of regions. A process owns a region of a memfd as long as it has the POSIX record lock (`fcntl_locking(2)`) of one byte: the
//! kernel gives it back when the process ends, however it ends, and anybody can ask whether somebody has it.
//!
//! Such a lock belongs to the process and not to a descriptor. So the kernel refuses nobody the lock that its own process has, and gives
//! back all locks of a file as soon as the process closes any descriptor of it. [`TAKEN`] is the answer to both.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Device and inode.
type FileId = (u64, u64);

/// Regions that this process owns. They stay its own until it ends.
static TAKEN: Mutex<BTreeSet<(FileId, usize)>> = Mutex::new(BTreeSet::new());

fn taken() -> MutexGuard<'static, BTreeSet<(FileId, usize)>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Owners of a memory's regions.
#[derive(Debug)]
pub(super) enum Owners {
    /// This process, as soon as it has claimed the one region.
    Alone(AtomicBool),
    /// Any processes.
    Processes(Locks),
}

impl Owners {
    /// Takes the lowest region that nobody has, of so many.
    pub(super) fn claim(&self, regions: usize) -> Option<usize> {
        match self {
            Self::Alone(is_taken) => (!is_taken.swap(true, Ordering::AcqRel)).then_some(0),
            Self::Processes(locks) => locks.claim(regions),
        }
    }

    /// True if a process that lives has the region.
    pub(super) fn have(&self, region: usize) -> bool {
        match self {
            Self::Alone(is_taken) => is_taken.load(Ordering::Acquire),
            Self::Processes(locks) => locks.are_held(region),
        }
    }

    /// Gives all regions of this process back, as its end would.
    #[cfg(test)]
    pub(super) fn give_back(&self) {
        match self {
            Self::Alone(is_taken) => is_taken.store(false, Ordering::Release),
            Self::Processes(locks) => locks.give_back(),
        }
    }
}

/// Locks of a memfd's bytes, one for each region.
#[derive(Debug)]
pub(super) struct Locks {
    /// There until it is dropped.
    fd: Option<OwnedFd>,
    file: FileId,
}

impl Locks {
    /// # Errors
    /// The errors of `fstat(2)`.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd: Some(fd), file: (stat.st_dev, stat.st_ino) })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("only drop takes it").as_fd()
    }

    fn claim(&self, regions: usize) -> Option<usize> {
        let mut taken = taken();
        let region = (0..regions).find(|region| !taken.contains(&(self.file, *region)) && self.lock(*region))?;
        taken.insert((self.file, region));
        Some(region)
    }

    fn lock(&self, region: usize) -> bool {
        fcntl(self.fd(), FcntlArg::F_SETLK(&byte(region, libc::F_WRLCK))).is_ok()
    }

    fn are_held(&self, region: usize) -> bool {
        if taken().contains(&(self.file, region)) {
            return true;
        }
        let mut lock = byte(region, libc::F_WRLCK);
        let asked = fcntl(self.fd(), FcntlArg::F_GETLK(&mut lock));
        asked.is_ok() && lock.l_type != kind(libc::F_UNLCK)
    }

    #[cfg(test)]
    fn give_back(&self) {
        let mut taken = taken();
        for (_, region) in taken.iter().filter(|(file, _)| *file == self.file) {
            fcntl(self.fd(), FcntlArg::F_SETLK(&byte(*region, libc::F_UNLCK))).unwrap();
        }
        taken.retain(|(file, _)| *file != self.file);
    }
}

/// Keeps the descriptor open if this process owns a region: to close it would give the lock back.
impl Drop for Locks {
    fn drop(&mut self) {
        if taken().iter().any(|(file, _)| *file == self.file) {
            let _ = self.fd.take().map(IntoRawFd::into_raw_fd);
        }
    }
}

/// The byte that stands for a region.
fn byte(region: usize, lock: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind(lock),
        l_whence: kind(libc::SEEK_SET),
        l_start: libc::off_t::try_from(region).unwrap_or(libc::off_t::MAX),
        l_len: 1,
        l_pid: 0,
    }
}

fn kind(constant: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(constant).expect("the constants of fcntl(2) are small")
}
