//! The PID file, and the locks that keep a second master out.
//!
//! Locking a file that is renamed into place locks nothing, for the next one is another file. So the lock has a file of
//! its own that is never renamed nor removed, and no worker inherits it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gin_shared::directory::{Directory, Doubt, Why};
use gin_shared::process::{self, ProcessId};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

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
    /// It is held by a command that ends what a master has left.
    #[error("{} is locked by pid {pid} ({name}), which ends what a supervisor has left; try again when it is done", path.display())]
    Held {
        /// Whose.
        pid: i32,
        /// The name of its program.
        name: String,
        /// The lock.
        path: PathBuf,
    },
    /// Others could plant a file there, or write another PID.
    #[error("{} is not safe for a PID file: {why}; choose a directory that root or this user owns and nobody else can write",
        path.display())]
    Unsafe {
        /// The directory, or one above it.
        path: PathBuf,
        /// What is wrong with it.
        why: Why,
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

impl From<Doubt> for PidFileError {
    fn from(Doubt { path, why }: Doubt) -> Self {
        match why {
            Why::Io(error) => Self::Io { path, error },
            why => Self::Unsafe { path, why },
        }
    }
}

/// Looks whether a PID file could be written safely: nobody but root and this user may be able to put a file in its place, or a
/// lock beside it. A worker's user is no exception: what the PID file names is killed by root's scripts. A directory that is not
/// there yet is none's.
///
/// # Errors
/// [`PidFileError::Unsafe`].
pub fn check(path: &Path) -> Result<(), PidFileError> {
    match directory(path) {
        Err(error @ PidFileError::Unsafe { .. }) => Err(error),
        Ok(_) | Err(PidFileError::Io { .. } | PidFileError::Running { .. } | PidFileError::Held { .. }) => Ok(()),
    }
}

/// The directory of a file, and the file's name.
fn directory(path: &Path) -> Result<(Directory, OsString), PidFileError> {
    let (directory, name) = Directory::of_file(path)?;
    Ok((directory.ours()?, name))
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
        let (directory, name) = directory(path)?;
        let failed = |error| PidFileError::Io { path: path.to_owned(), error };
        fault::at("lock.open").map_err(|error| failed(error.into()))?;
        let lock = loop {
            let file = directory.create(&name, 0o600).map_err(failed)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // It may have been removed in between: then it locks nothing.
                Ok(lock) if is_at(&directory, &name, &lock).map_err(failed)? => break Self(lock),
                Ok(_) => {}
                Err((file, Errno::EAGAIN)) => return Err(held(&file, path, pid_file)),
                Err((_, error)) => return Err(failed(error.into())),
            }
        };
        // A lock that was removed is held still.
        match holder_of_removed(path, &lock.0) {
            Some(pid) => Err(PidFileError::Running { pid: pid.to_string(), path: path.to_owned() }),
            None => Ok(lock),
        }
    }

    /// Takes the lock anew if somebody has removed its file, or put another one in its place.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn renew(&mut self, path: &Path, pid_file: &Path) -> Result<(), PidFileError> {
        let (directory, name) = directory(path)?;
        if !is_at(&directory, &name, &self.0).map_err(|error| PidFileError::Io { path: path.to_owned(), error })? {
            *self = Self::take(path, pid_file)?;
        }
        Ok(())
    }
}

/// The PID file: written by a temporary file renamed into place, removed on exit if it still is the one we wrote.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Kept open, so that its inode number cannot become another file's.
    file: File,
    lock: Lock,
    /// Its directory and its name there, if the directory can be believed.
    place: Option<(Directory, OsString)>,
}

impl PidFile {
    /// Locks, then writes our PID. A stale file is taken over.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn create(path: &Path) -> Result<Self, PidFileError> {
        let (directory, name) = directory(path)?;
        let lock = Lock::take(&beside(path, "lock"), path)?;
        let file = Self::write(path, &directory, &name)?;
        Ok(Self { path: path.to_owned(), file, lock, place: Some((directory, name)) })
    }

    /// Writes our PID into a new file at `path`.
    fn write(path: &Path, directory: &Directory, name: &OsStr) -> Result<File, PidFileError> {
        let failed = |error| PidFileError::Io { path: path.to_owned(), error };
        let mut temporary = name.to_owned();
        temporary.push(".new");
        // Left by a master that was killed between the two steps; we hold the lock, so it is nobody's.
        let _ = directory.remove(&temporary);
        fault::at("pid.open").map_err(|error| failed(error.into()))?;
        let mut file = directory.create_new(&temporary, 0o644).map_err(failed)?;
        write(&mut file).and_then(|()| directory.rename(&temporary, name)).map_err(|error| {
            let _ = directory.remove(&temporary);
            failed(error)
        })?;
        Ok(file)
    }

    /// Writes the file anew if somebody has removed or replaced it; gives whether it was so.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn renew(&mut self) -> Result<bool, PidFileError> {
        self.lock.renew(&beside(&self.path, "lock"), &self.path)?;
        if self.is_there() {
            return Ok(false);
        }
        let (directory, name) = directory(&self.path)?;
        self.file = Self::write(&self.path, &directory, &name)?;
        self.place = Some((directory, name));
        Ok(true)
    }

    fn is_there(&self) -> bool {
        let here = |(directory, name): &(Directory, OsString)| is_at(directory, name, &self.file).unwrap_or(false);
        self.place.as_ref().is_some_and(here)
    }
}

fn write(file: &mut File) -> io::Result<()> {
    fault::at("pid.write")?;
    writeln!(file, "{}", std::process::id())
}

impl PidFile {
    /// Goes on with one that the program before this one wrote.
    #[must_use]
    pub fn resume(path: &Path, file: OwnedFd, lock: Lock) -> Self {
        Self { path: path.to_owned(), file: File::from(file), lock, place: directory(path).ok() }
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
        if self.is_there()
            && let Some((directory, name)) = &self.place
        {
            let _ = directory.remove(name);
        }
    }
}

/// The PID in a file.
#[must_use]
pub fn read(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// True if an open file is the one of this name.
///
/// # Errors
/// If that cannot be seen: for want of a descriptor, say.
fn is_at(directory: &Directory, name: &OsStr, file: &File) -> io::Result<bool> {
    match directory.look(name).and_then(|there| there.metadata()) {
        Ok(there) => Ok(is_same(&there, &file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says who holds the lock in `file`. The PID file may be a dead master's.
fn held(file: &File, path: &Path, pid_file: &Path) -> PidFileError {
    let (known, lock, path) = (read(pid_file), file.metadata(), path.to_owned());
    let has_it = |pid: &i32| lock.as_ref().is_ok_and(|lock| has_open(*pid, lock));
    let holder = known.filter(has_it).or_else(|| others().find(has_it));
    // What cannot be looked into is another user's.
    let pid = holder.or(known.filter(|pid| ProcessId::of(*pid).is_some()));
    match pid.map(|pid| (pid, process::name(pid))) {
        Some((pid, name)) if name.starts_with("gin-ctl") => PidFileError::Held { pid, name, path },
        Some((pid, _)) => PidFileError::Running { pid: pid.to_string(), path },
        None => PidFileError::Running { pid: "unknown".to_owned(), path },
    }
}

/// The process that holds a lock whose file was removed from `path`, as far as it can be seen. `lock`: the file that is there now.
fn holder_of_removed(path: &Path, lock: &File) -> Option<i32> {
    let (path, device) = (fs::canonicalize(path).ok()?, lock.metadata().ok()?.dev());
    let mut removed = path.into_os_string();
    removed.push(" (deleted)");
    // In a container another file system may have the same path.
    let is_here =
        |pid: i32, number: i32| fs::metadata(format!("/proc/{pid}/fd/{number}")).is_ok_and(|file| file.dev() == device);
    let has_it = |pid: &i32| {
        process::open_files(*pid)
            .is_ok_and(|mut files| files.any(|file| file.target.as_os_str() == removed && is_here(*pid, file.number)))
    };
    others().find(has_it)
}

fn has_open(pid: i32, wanted: &Metadata) -> bool {
    let is_it =
        |number: i32| fs::metadata(format!("/proc/{pid}/fd/{number}")).is_ok_and(|there| is_same(&there, wanted));
    process::open_files(pid).is_ok_and(|mut files| files.any(|file| is_it(file.number)))
}

/// All processes but this one.
fn others() -> impl Iterator<Item = i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    process::all().filter(move |pid| *pid != own)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
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
    fn a_dead_master_does_not_hold_the_lock() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        let dir = tempfile::tempdir().unwrap();
        let (lock, pid_file) = (dir.path().join("instance.lock"), dir.path().join("pid"));
        // Greater than any PID that the kernel gives.
        fs::write(&pid_file, "4194305\n").unwrap();
        let mut holder = Command::new("flock");
        holder.arg(&lock).args(["sh", "-c", "echo locked; read end"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let error = Lock::take(&lock, &pid_file).unwrap_err().to_string();
        assert!(!error.contains("4194305") && !error.contains("unknown"), "{error}");
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert!(Lock::take(&lock, &pid_file).is_ok());
    }

    #[test]
    fn a_file_that_was_removed_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut file = PidFile::create(&path).unwrap();
        assert!(!file.renew().unwrap());
        for entry in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(file.renew().unwrap());
        assert_eq!(read(&path), i32::try_from(std::process::id()).ok());
        assert!(PidFile::create(&path).is_err(), "it is locked again");
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
        let path = dir.path().join("pid");
        for mode in [0o777, 0o1777, 0o775] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            // A lock that somebody planted there is not even looked at.
            let _planted = Flock::lock(File::create(beside(&path, "lock")).unwrap(), FlockArg::LockExclusive).unwrap();
            assert!(matches!(PidFile::create(&path), Err(PidFileError::Unsafe { .. })));
            assert!(matches!(check(&path), Err(PidFileError::Unsafe { .. })));
        }
        check(&dir.path().join("not there/pid")).unwrap_err();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        check(&path).unwrap();
        check(&dir.path().join("not there/pid")).unwrap();
    }
}
