//! The PID file, and the locks that keep a second master out.
//!
//! Locking a file that is renamed into place locks nothing, for the next one is another file. So the lock has a file of
//! its own that is never renamed nor removed, and no worker inherits it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::Uid;

use super::fault;

/// Why this master cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another one runs.
    #[error("already running as pid {pid}: {} is locked; gin-ctl status shows it", path.display())]
    Running {
        /// Whose.
        pid: String,
        /// The lock.
        path: PathBuf,
    },
    /// Anybody could plant a link there.
    #[error("{} is not safe for a PID file: {why}; choose a directory that only its owner can write", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system said no.
    #[error("cannot write {}: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A lock that ends with the process.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Lock {
    /// Goes on with one that the program before this one took.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    pub fn resume(fd: OwnedFd) -> io::Result<Self> {
        match Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Takes the lock at `path`; `pid_file` tells who has it, if somebody else does.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn take(path: &Path, pid_file: &Path) -> Result<Self, PidFileError> {
        check_directory(path)?;
        let failed = |error| PidFileError::Io { path: path.to_owned(), error };
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        fault::at("lock.open").map_err(|error| failed(error.into()))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, Errno::EAGAIN)) => {
                let pid = read(pid_file).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                Err(PidFileError::Running { pid, path: path.to_owned() })
            }
            Err((_, error)) => Err(failed(error.into())),
        }
    }
}

/// The PID file: written by a temporary file renamed into place, removed on exit if it still is the one we wrote.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Kept open, so that its inode number cannot become another file's.
    file: File,
    lock: Lock,
}

impl PidFile {
    /// Locks, then writes our PID. A stale file is taken over.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn create(path: &Path) -> Result<Self, PidFileError> {
        let lock = Lock::take(&beside(path, "lock"), path)?;
        let failed = |error| PidFileError::Io { path: path.to_owned(), error };
        let temporary = beside(path, "new");
        // Left by a master that was killed between the two steps; we hold the lock, so it is nobody's.
        let _ = fs::remove_file(&temporary);
        fault::at("pid.open").map_err(|error| failed(error.into()))?;
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o644)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&temporary)
            .map_err(failed)?;
        let written = fault::at("pid.write").map_err(io::Error::from);
        let written =
            written.and_then(|()| writeln!(file, "{}", std::process::id())).and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            failed(error)
        })?;
        Ok(Self { path: path.to_owned(), file, lock })
    }
}

impl PidFile {
    /// Goes on with one that the program before this one wrote.
    #[must_use]
    pub fn resume(path: &Path, file: OwnedFd, lock: Lock) -> Self {
        Self { path: path.to_owned(), file: File::from(file), lock }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file and its lock, for a successor.
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.file.as_fd(), self.lock.as_fd()]
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let (Ok(there), Ok(ours)) = (fs::symlink_metadata(&self.path), self.file.metadata())
            && (there.dev(), there.ino()) == (ours.dev(), ours.ino())
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The PID in a file.
#[must_use]
pub fn read(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// The directory must be root's or ours, and writable by nobody else (the sticky bit does: then links of others stay theirs).
fn check_directory(file: &Path) -> Result<(), PidFileError> {
    let path = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let metadata = fs::metadata(&path).map_err(|error| PidFileError::Io { path: path.clone(), error })?;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    let why = if !metadata.is_dir() {
        "it is not a directory".to_owned()
    } else if owner != 0 && owner != Uid::effective().as_raw() {
        format!("it belongs to uid {owner}")
    } else if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        format!("its mode is {:04o}", mode & 0o7777)
    } else {
        return Ok(());
    };
    Err(PidFileError::Unsafe { path, why })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("pid"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        let file = PidFile::create(&path).unwrap();
        assert_eq!(read(&path), i32::try_from(std::process::id()).ok());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_one_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let _first = PidFile::create(&path).unwrap();
        let error = PidFile::create(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("already running as pid {}", std::process::id())), "{error}");
    }

    #[test]
    fn a_file_that_is_no_longer_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(PidFile::create(&dir.path().join("pid")), Err(PidFileError::Unsafe { .. })));
    }
}
