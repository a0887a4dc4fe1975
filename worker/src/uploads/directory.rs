//! The directory of the files. All workers and all releases of a service share it.
//!
//! | below it | is |
//! |---|---|
//! | `{stem}_{16 hexadecimal digits}.{ending}` | a stored file, whole |
//! | `.lock` | locked while the files are counted and one is added |
//! | `.incoming/` | files on their way, where the file system has none without a name |
//! | `.tus/` | uploads that can be resumed |

use std::ffi::OsStr;
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fsync, openat};
use rustix::io::retry_on_intr;

use super::error::UploadError;
use super::{quota, tus};

/// An open descriptor of the directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    /// False in a test of file systems that have no files without a name.
    #[cfg(test)]
    pub(super) has_unnamed: bool,
}

/// The lock of a directory. Dropped, it is let go; so it is when its process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: OwnedFd,
}

impl Directory {
    /// # Errors
    /// If there is no such directory, or it cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
            #[cfg(test)]
            has_unnamed: true,
        })
    }

    /// Makes the directory, if it is not there, for the worker's user alone.
    ///
    /// # Errors
    /// As [`Self::open`]; if it cannot be made.
    pub(super) fn made(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// If the file of the lock cannot be made.
    pub(crate) fn locked(&self) -> io::Result<Lock> {
        // Opened anew: threads of one process exclude each other, too.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(&self.fd, ".lock", flags, Mode::from_raw_mode(0o600))?;
        retry_on_intr(|| flock(&held, FlockOperation::LockExclusive))?;
        Ok(Lock { _held: held })
    }

    /// Looks whether there is room for so many bytes more. A quota of 0 is no limit.
    ///
    /// # Errors
    /// [`UploadError::Quota`] if there is not; if the directory cannot be read.
    pub(crate) fn room(&self, _: &Lock, quota: u64, wanted: u64) -> Result<(), UploadError> {
        if quota == 0 {
            return Ok(());
        }
        let used = quota::of_files(self)?.saturating_add(tus::bytes(self)?);
        if quota::has_room(quota, used, wanted) { Ok(()) } else { Err(UploadError::Quota) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was added or removed last outlast a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| fsync(&self.fd))?)
    }

    /// Gives `f` each stored file. Names that begin with a dot are none.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn each(&self, mut f: impl FnMut(&OsStr, &Metadata)) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match entry.metadata() {
                Ok(meta) if meta.is_file() => f(&name, &meta),
                Ok(_) => {}
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
