//! Memory that all workers of an instance share, whatever becomes of each, or of a master: a sealed memfd. What is in it is the
//! workers' business (`worker/src/shared_memory.rs`); pages that nobody writes cost nothing.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::adopt_error::AdoptError;
use super::succession;

const NAME: &str = "gin-memory";
/// Before the buckets, in bytes.
const HEADER: u64 = 32;
/// For each client, in bytes.
const BUCKET: u64 = 16;

/// The memory of one instance.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    inode: u64,
}

impl SharedMemory {
    /// New, with room for so many clients. Nobody can change its size.
    ///
    /// # Errors
    /// The errors of `memfd_create(2)` and `ftruncate(2)`.
    pub fn create(clients: u32) -> io::Result<Self> {
        let fd = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, HEADER + u64::from(clients) * BUCKET)?;
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

    /// Takes it from a worker that has it. `None` if it has not.
    ///
    /// # Errors
    /// Which condition is not met.
    pub fn of_worker(pid: i32, process: &OwnedFd, inode: u64) -> Result<Option<Self>, AdoptError> {
        let link = format!("/memfd:{NAME} (deleted)");
        let fd = succession::take_open(pid, process, OsStr::new(&link), inode)?;
        fd.map(|fd| Self::resume(fd).map_err(|error| AdoptError::of(&error))).transpose()
    }

    /// True if it was made for so many clients.
    #[must_use]
    pub fn has_room_for(&self, clients: u32) -> bool {
        let length = nix::sys::stat::fstat(&self.fd).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        length == HEADER + u64::from(clients) * BUCKET
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
