//! What a generation executes: programs that were found, opened, and can be told from others at the same path.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::descriptor_name;
use crate::error_text::without_code;
use crate::os::succession::Descriptors;
use crate::os_text;

/// A program and its arguments, found and opened.
#[derive(Debug, Serialize, Deserialize)]
pub struct Program {
    /// Its directory part resolved.
    #[serde(with = "os_text")]
    pub(super) path: PathBuf,
    #[serde(with = "os_text::list")]
    pub(super) argv: Vec<OsString>,
    /// Device and inode: what it is, whatever lies at its path.
    pub(super) identity: (u64, u64),
    /// Size and time of its last change: a file that is gone may have left its inode to another.
    #[serde(default)]
    stamp: Option<(i64, i64, i64)>,
    /// Open, unless it was lost with a master before this one.
    #[serde(skip)]
    pub(super) executable: Option<OwnedFd>,
}

/// The operator's commands.
#[derive(Debug, Serialize, Deserialize)]
pub struct Commands {
    /// Whether a worker is ready.
    pub check: Option<Program>,
    /// For each ready worker.
    pub warm_up: Option<Program>,
    /// Before the first worker is started.
    pub before_restart: Option<Program>,
    /// When the generation serves.
    pub after_restart: Option<Program>,
    /// When it does not.
    pub on_failure: Option<Program>,
}

impl Commands {
    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = &mut Program> {
        let Self { check, warm_up, before_restart, after_restart, on_failure } = self;
        [check, warm_up, before_restart, after_restart, on_failure].into_iter().filter_map(Option::as_mut)
    }
}

impl Program {
    /// A path in argv[0] is resolved like the program's own: a virtualenv's python finds its packages by argv[0], and must
    /// not find those of the next release there once the link has moved. A bare name stays as written.
    pub(super) fn find(
        written: &[String],
        directory: Option<&Path>,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, String> {
        let path = resolve_program(&written[0], directory, environment)?;
        let executable = open_executable(&path)?;
        let identity = identity(&executable).map_err(|error| format!("command {}: {error}", path.display()))?;
        let mut argv: Vec<OsString> = written.iter().map(OsString::from).collect();
        if written[0].contains('/') {
            argv[0] = path.clone().into();
        }
        let stamp = stamp(&executable);
        Ok(Self { path, argv, identity, stamp, executable: Some(executable) })
    }

    /// Open.
    ///
    /// # Errors
    /// If it was lost.
    pub fn executable(&self) -> io::Result<BorrowedFd<'_>> {
        self.executable.as_ref().map(AsFd::as_fd).ok_or_else(|| {
            let path = self.path.display();
            io::Error::other(format!(
                "{path} was replaced while there was no supervisor, and what ran cannot be opened any more; restart"
            ))
        })
    }

    pub(super) fn again(&self) -> Result<Self, String> {
        let failed = |error: io::Error| without_code(&error);
        let executable = Some(self.executable().map_err(failed)?.try_clone_to_owned().map_err(failed)?);
        Ok(Self {
            path: self.path.clone(),
            argv: self.argv.clone(),
            identity: self.identity,
            stamp: self.stamp,
            executable,
        })
    }

    /// By descriptor; else by its path, or from a process that runs it, if it is the same file there.
    pub(super) fn reopen(&mut self, descriptors: &Descriptors, workers: &[i32]) {
        let name = descriptor_name::executable(self.identity);
        let running = workers.iter().map(|pid| PathBuf::from(format!("/proc/{pid}/exe")));
        let paths = std::iter::once(self.path.clone()).chain(running);
        let mut found = paths.filter_map(|path| open_executable(&path).ok());
        let same = |file: &OwnedFd| {
            let stamped = self.stamp.is_none() || stamp(file) == self.stamp;
            stamped && identity(file).is_ok_and(|identity| identity == self.identity)
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
fn resolve_program(
    name: &str,
    directory: Option<&Path>,
    environment: &[(OsString, OsString)],
) -> Result<PathBuf, String> {
    let written = Path::new(name);
    let found = if name.contains('/') {
        match directory {
            Some(directory) => directory.join(written),
            None => {
                std::path::absolute(written).map_err(|error| format!("command {name}: {}", without_code(&error)))?
            }
        }
    } else {
        search(name, environment).ok_or_else(|| format!("command {name}: not found in PATH"))?
    };
    let failed = |error: io::Error| format!("command {}: {}", found.display(), without_code(&error));
    let (Some(parent), Some(last)) = (found.parent(), found.file_name()) else {
        return Err(format!("command {name}: not a program"));
    };
    Ok(parent.canonicalize().map_err(failed)?.join(last))
}

fn search(name: &str, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let path = environment.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|program| {
        program.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

fn open_executable(program: &Path) -> Result<OwnedFd, String> {
    let failed = |error: &io::Error| format!("command {}: {}", program.display(), without_code(error));
    let metadata = program.metadata().map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(format!("command {}: not a file", program.display()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!(
            "command {}: not executable (mode {:04o})",
            program.display(),
            metadata.permissions().mode() & 0o7777
        ));
    }
    // A program that may be executed but not read still has a descriptor, of the path alone.
    let path_only = || OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_PATH.bits()).open(program);
    File::open(program).or_else(|_| path_only()).map(OwnedFd::from).map_err(|error| failed(&error))
}
