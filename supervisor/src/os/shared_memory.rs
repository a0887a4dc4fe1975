//! Memory that all workers of an instance share, whatever becomes of each, or of a master: sealed memfds, one for the rate limit and one
//! for metrics. Their contents are the workers' business (`worker/src/shared_memory.rs`, [`gin_shared::metrics`]); pages that nobody
//! writes cost nothing.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::adopt_error::AdoptError;
use super::succession;
use crate::descriptor_name;

/// The name of the memory of the rate limit.
pub const RATE_LIMIT: &str = "gin-memory";
/// The name of the memory in which workers count their metrics.
pub const METRICS: &str = "gin-metrics";
/// Before the buckets of the rate limit, in bytes.
const HEADER: u64 = 32;
/// For each client, in bytes.
const BUCKET: u64 = 16;

/// Length of the rate limit's memory for so many clients, in bytes.
#[must_use]
pub fn rate_limit_length(clients: u32) -> u64 {
    HEADER + u64::from(clients) * BUCKET
}

/// The memories of one instance.
#[derive(Debug)]
pub struct Memories {
    /// The buckets of the rate limit.
    pub rate_limit: SharedMemory,
    /// The counts of workers.
    pub metrics: SharedMemory,
}

impl Memories {
    /// The descriptors that a successor needs, by name.
    #[must_use]
    pub fn descriptors(&self) -> [(String, BorrowedFd<'_>); 2] {
        [
            (descriptor_name::MEMORY.to_owned(), self.rate_limit.as_fd()),
            (descriptor_name::METRICS.to_owned(), self.metrics.as_fd()),
        ]
    }
}

/// A memory of an instance, which all its workers share.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    inode: u64,
}

impl SharedMemory {
    /// New, with so many bytes. Nobody can change its size.
    ///
    /// # Errors
    /// The errors of `memfd_create(2)` and `ftruncate(2)`; EFBIG above RLIMIT_FSIZE.
    pub fn create(name: &str, length: u64) -> io::Result<Self> {
        // The kernel would send SIGXFSZ, which ends a process without a word.
        if getrlimit(Resource::Fsize).current.is_some_and(|most| most < length) {
            return Err(Errno::FBIG.into());
        }
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, length)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::resume(fd)
    }

    /// That of a master before this one.
    ///
    /// # Errors
    /// The errors of `fstat(2)`.
    pub fn resume(fd: OwnedFd) -> io::Result<Self> {
        let inode = succession::inode(&fd)?;
        Ok(Self { fd, inode })
    }

    /// Takes the memory of this name from a worker that has it. `None` if it has not.
    ///
    /// # Errors
    /// Which condition is not met.
    pub fn of_worker(name: &str, pid: i32, process: &OwnedFd, inode: u64) -> Result<Option<Self>, AdoptError> {
        let link = format!("/memfd:{name} (deleted)");
        let fd = succession::take_open(pid, process, OsStr::new(&link), inode)?;
        fd.map(|fd| Self::resume(fd).map_err(|error| AdoptError::of(&error))).transpose()
    }

    /// True if it has just so many bytes.
    #[must_use]
    pub fn has_length(&self, length: u64) -> bool {
        nix::sys::stat::fstat(&self.fd).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(length))
    }

    /// Names it in the whole system.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_memory_keeps_its_name_its_length_and_its_inode() {
        let made = SharedMemory::create(METRICS, 4096).unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", made.as_fd().as_raw_fd())).unwrap();
        assert_eq!(link.as_os_str(), "/memfd:gin-metrics (deleted)");
        assert!(made.has_length(4096) && !made.has_length(4097));
        assert!(ftruncate(&made.fd, 8192).is_err(), "its size is sealed");
        let inode = made.inode();
        assert_eq!(SharedMemory::resume(made.fd).unwrap().inode(), inode);
        assert_eq!(rate_limit_length(1024), 32 + 1024 * 16);
    }
}
