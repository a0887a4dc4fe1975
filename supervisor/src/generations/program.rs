//! Programs that a generation executes: found, opened, and told apart from others at the same path.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gin_shared::process;

use crate::descriptor_name;
use crate::error_text::without_code;
use crate::os::succession::Descriptors;
use crate::state::ProgramRecord;

/// A program that cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// No directory of PATH has it.
    #[error("command {0}: not found in PATH")]
    NotFound(String),
    /// The path has no file name.
    #[error("command {0}: not a program")]
    NoFileName(String),
    /// Something else lies there.
    #[error("command {}: not a file", .0.display())]
    NotAFile(PathBuf),
    /// Nobody may execute it.
    #[error("command {}: not executable (mode {mode:04o})", path.display())]
    NotExecutable {
        /// The program.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It cannot be found or opened.
    #[error("command {}: {}", path.display(), without_code(error))]
    System {
        /// The program.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The program that ran before is not open any more.
    #[error("{} was replaced while there was no supervisor, and what ran cannot be opened any more; restart", .0.display())]
    Lost(PathBuf),
}

/// A program and its arguments, found and opened.
#[derive(Debug)]
pub struct Program {
    record: ProgramRecord,
    /// Open, unless it was lost with a master before this one.
    executable: Option<OwnedFd>,
}

impl Program {
    /// Finds and opens a program.
    ///
    /// A path in `argv[0]` is resolved like the program's own: a virtualenv's python finds its packages by `argv[0]`, and must
    /// not find those of the next release there once the link has moved. A bare name stays as written.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn find(
        written: &[String],
        directory: Option<&Path>,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, ProgramError> {
        let path = resolve(&written[0], directory, environment)?;
        let executable = open(&path)?;
        let identity = match identity(&executable) {
            Ok(identity) => identity,
            Err(error) => return Err(ProgramError::System { path, error }),
        };
        let mut argv: Vec<OsString> = written.iter().map(OsString::from).collect();
        if written[0].contains('/') {
            argv[0] = path.clone().into();
        }
        let stamp = stamp(&executable);
        Ok(Self { record: ProgramRecord { path, argv, identity, stamp }, executable: Some(executable) })
    }

    /// A program that a state file describes, not opened yet.
    #[must_use]
    pub fn restore(record: ProgramRecord) -> Self {
        Self { record, executable: None }
    }

    /// The program as the state file describes it.
    #[must_use]
    pub fn record(&self) -> &ProgramRecord {
        &self.record
    }

    /// True if it can be executed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.executable.is_some()
    }

    /// The open executable.
    ///
    /// # Errors
    /// If it was lost.
    pub fn executable(&self) -> Result<BorrowedFd<'_>, ProgramError> {
        let lost = || ProgramError::Lost(self.record.path.clone());
        self.executable.as_ref().map(AsFd::as_fd).ok_or_else(lost)
    }

    /// The open executable and its name for a successor.
    #[must_use]
    pub fn descriptor(&self) -> Option<(String, BorrowedFd<'_>)> {
        let fd = self.executable.as_ref()?.as_fd();
        Some((descriptor_name::executable(self.record.identity), fd))
    }

    /// The same program once more, for another generation.
    ///
    /// # Errors
    /// If it was lost, or there is no descriptor to be had.
    pub fn again(&self) -> Result<Self, ProgramError> {
        let system = |error| ProgramError::System { path: self.record.path.clone(), error };
        let executable = Some(self.executable()?.try_clone_to_owned().map_err(system)?);
        Ok(Self { record: self.record.clone(), executable })
    }

    /// Opens it again: by its descriptor; else by its path, or from a process that runs it, if the same file is there.
    pub fn reopen(&mut self, descriptors: &Descriptors, workers: &[i32]) {
        let name = descriptor_name::executable(self.record.identity);
        let running = workers.iter().map(|pid| process::executable(*pid));
        let paths = std::iter::once(self.record.path.clone()).chain(running);
        let mut found = paths.filter_map(|path| open(&path).ok());
        let same = |file: &OwnedFd| {
            let stamped = self.record.stamp.is_none() || stamp(file) == self.record.stamp;
            stamped && identity(file).is_ok_and(|identity| identity == self.record.identity)
        };
        self.executable = descriptors.copy(&name).or_else(|| found.find(same));
    }
}

/// Size, and seconds and nanoseconds of the last change.
fn stamp(file: &OwnedFd) -> Option<(i64, i64, i64)> {
    let metadata = nix::sys::stat::fstat(file).ok()?;
    Some((metadata.st_size, metadata.st_mtime, metadata.st_mtime_nsec))
}

/// Device and inode.
fn identity(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let metadata = nix::sys::stat::fstat(file)?;
    Ok((metadata.st_dev, metadata.st_ino))
}

/// Resolves the directory part and keeps the last: a resolved virtualenv python is another python.
fn resolve(
    name: &str,
    directory: Option<&Path>,
    environment: &[(OsString, OsString)],
) -> Result<PathBuf, ProgramError> {
    let written = Path::new(name);
    let system = |path: &Path, error| ProgramError::System { path: path.to_owned(), error };
    let found = if name.contains('/') {
        match directory {
            Some(directory) => directory.join(written),
            None => std::path::absolute(written).map_err(|error| system(written, error))?,
        }
    } else {
        search(name, environment).ok_or_else(|| ProgramError::NotFound(name.to_owned()))?
    };
    let (Some(parent), Some(last)) = (found.parent(), found.file_name()) else {
        return Err(ProgramError::NoFileName(name.to_owned()));
    };
    Ok(parent.canonicalize().map_err(|error| system(&found, error))?.join(last))
}

fn search(name: &str, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let path = environment.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|program| {
        program.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

fn open(program: &Path) -> Result<OwnedFd, ProgramError> {
    let system = |error| ProgramError::System { path: program.to_owned(), error };
    let metadata = program.metadata().map_err(system)?;
    if !metadata.is_file() {
        return Err(ProgramError::NotAFile(program.to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o111 == 0 {
        return Err(ProgramError::NotExecutable { path: program.to_owned(), mode });
    }
    // A program that may be executed but not read still has a descriptor, of the path alone.
    let path_only = || OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_PATH.bits()).open(program);
    File::open(program).or_else(|_| path_only()).map(OwnedFd::from).map_err(system)
}
