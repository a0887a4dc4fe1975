//! The files of an instance, held from the master's start to its end and over an upgrade in place: the runtime directory, the
//! locks, the PID file, the sockets of the control API, and the listener for scrapers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gin_shared::exit;
use gin_shared::runtime_dir::{self, Surroundings};

use crate::config::Config;
use crate::os;
use crate::os::control_socket::{ControlSocket, ControlSocketError};
use crate::os::listener::ListenError;
use crate::os::pidfile::{Lock, PidFile, PidFileError};
use crate::os::scrape_listener::ScrapeListener;
use crate::os::succession::Descriptors;
use crate::state::{Paths, State};

/// The file of the instance's lock.
const LOCK: &str = "instance.lock";
const INSTANCE_LOCK: &str = "lock/instance";
const PID_LOCK: &str = "lock/pid";
const PID_FILE: &str = "pid";
const SOCKETS: [&str; 2] = ["control", "status"];
/// The name of the listener for scrapers.
pub const SCRAPES: &str = "metrics";

/// A file of the instance that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InstanceFilesError {
    /// The runtime directory cannot be made, or is not safe.
    #[error(transparent)]
    Runtime(io::Error),
    /// Another master holds the instance, or a place is not safe.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// A control socket cannot be bound.
    #[error("{}: {error}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The reason.
        error: ControlSocketError,
    },
    /// The program before this one left a descriptor out.
    #[error("upgrade in place: the descriptor {0} is missing")]
    Missing(String),
    /// A lock or a socket cannot be resumed.
    #[error("{what}: {error}")]
    Resume {
        /// The lock or socket.
        what: &'static str,
        /// The system's error.
        error: io::Error,
    },
}

impl InstanceFilesError {
    /// The exit code of a start that fails for this reason.
    ///
    /// Code 2 is for what stays wrong until somebody changes it: a service manager does not try that again. The holder of an
    /// address or a lock may be gone in a moment.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Runtime(_)
            | Self::PidFile(PidFileError::Unsafe { .. })
            | Self::Socket {
                error:
                    ControlSocketError::Unsafe { .. }
                    | ControlSocketError::Listen(ListenError::NotASocket(_) | ListenError::Doubtful { .. }),
                ..
            } => exit::USAGE,
            Self::PidFile(PidFileError::Io { error, .. }) if error.kind() != io::ErrorKind::StorageFull => exit::USAGE,
            Self::PidFile(_) | Self::Socket { .. } | Self::Missing(_) | Self::Resume { .. } => exit::FAILED,
        }
    }
}

/// The files, held for as long as the master lives.
#[derive(Debug)]
pub struct InstanceFiles {
    instance: Lock,
    pid_file: PidFile,
    /// The API serves copies.
    sockets: [ControlSocket; 2],
    /// Their descriptors, for a program that takes over.
    descriptors: [OwnedFd; 2],
    /// The listener for scrapers, if there is one.
    scrapes: Option<ScrapeListener>,
}

/// Finds the places of an instance's files, and makes the runtime directory.
///
/// # Errors
/// See [`InstanceFilesError`].
pub fn paths(config: &Config) -> Result<Paths, InstanceFilesError> {
    let surroundings = Surroundings::from_env();
    let runtime = os::runtime::prepare(&config.instance, &surroundings).map_err(InstanceFilesError::Runtime)?;
    let fixed = &config.fixed;
    Ok(Paths {
        pid_file: fixed.pid_file.clone().unwrap_or_else(|| runtime.join(runtime_dir::PID_FILE)),
        control: fixed.control.clone().unwrap_or_else(|| runtime.join(runtime_dir::CONTROL)),
        status: fixed.status.clone().unwrap_or_else(|| runtime.join(runtime_dir::STATUS)),
        runtime,
    })
}

/// Takes the locks and writes the PID file: from then on this is the master of the instance.
///
/// # Errors
/// If there is another master, or a place is not safe.
pub fn lock(paths: &Paths) -> Result<(Lock, PidFile), InstanceFilesError> {
    let instance = Lock::take(&paths.runtime.join(LOCK), &paths.pid_file)?;
    let pid_file = PidFile::create(&paths.pid_file)?;
    Ok((instance, pid_file))
}

/// Removes what a dead master has left where this one, started with other flags, puts nothing.
pub fn clear_moved(before: &State<'_>, paths: &Paths) {
    let old = &before.paths;
    if old.pid_file != paths.pid_file && os::pidfile::read(&old.pid_file) == Some(before.master.pid) {
        os::runtime::remove_file(&old.pid_file);
    }
    for (old, new) in [(&old.control, &paths.control), (&old.status, &paths.status)] {
        if old != new {
            // A socket at which a process listens stays.
            let _ = os::listener::remove_stale(old);
        }
    }
}

impl InstanceFiles {
    /// Binds the control sockets, and holds all files. Needs a tokio runtime.
    ///
    /// # Errors
    /// If a socket cannot be bound.
    pub fn create(
        (instance, pid_file): (Lock, PidFile),
        paths: &Paths,
        config: &Config,
        scrapes: Option<ScrapeListener>,
    ) -> Result<(Self, [ControlSocket; 2]), InstanceFilesError> {
        let bind = |path: &Path, group: &Option<String>| {
            let failed = |error| InstanceFilesError::Socket { path: path.to_owned(), error };
            ControlSocket::bind(path, group.as_deref()).map_err(failed)
        };
        let sockets =
            [bind(&paths.control, &config.fixed.control_group)?, bind(&paths.status, &config.fixed.status_group)?];
        Self::with(instance, pid_file, sockets, scrapes)
    }

    /// Resumes the files of the program before this one.
    ///
    /// # Errors
    /// If a descriptor is missing.
    pub fn resume(
        descriptors: &mut Descriptors,
        paths: &Paths,
        config: &Config,
        scrapes: Option<ScrapeListener>,
    ) -> Result<(Self, [ControlSocket; 2]), InstanceFilesError> {
        let mut take = |name: &str| descriptors.take(name).ok_or_else(|| InstanceFilesError::Missing(name.to_owned()));
        let lock = |fd| Lock::resume(fd).map_err(|error| InstanceFilesError::Resume { what: "lock", error });
        let instance = lock(take(INSTANCE_LOCK)?)?;
        let pid_file = PidFile::resume(&paths.pid_file, take(PID_FILE)?, lock(take(PID_LOCK)?)?);
        let [control, status] = SOCKETS;
        let (acts, looks) = (config.fixed.control_group.as_deref(), config.fixed.status_group.as_deref());
        let socket = |fd, path, group| {
            let failed = |error| InstanceFilesError::Resume { what: "control socket", error };
            ControlSocket::resume(fd, path, group).map_err(failed)
        };
        let sockets = [socket(take(control)?, &paths.control, acts)?, socket(take(status)?, &paths.status, looks)?];
        Self::with(instance, pid_file, sockets, scrapes)
    }

    fn with(
        instance: Lock,
        pid_file: PidFile,
        sockets: [ControlSocket; 2],
        scrapes: Option<ScrapeListener>,
    ) -> Result<(Self, [ControlSocket; 2]), InstanceFilesError> {
        let copy = |socket: &ControlSocket| {
            let failed = |error| InstanceFilesError::Resume { what: "control socket", error };
            socket.descriptor().map_err(failed)
        };
        let descriptors = [copy(&sockets[0])?, copy(&sockets[1])?];
        Ok((Self { instance, pid_file, sockets: sockets.clone(), descriptors, scrapes }, sockets))
    }

    /// Makes files anew that somebody has removed: without them nobody finds this master, and another one would start beside
    /// it. What cannot be made is told, and tried again the next time.
    pub fn renew(&mut self, paths: &Paths, config: &Config) {
        if let Err(error) = self.instance.renew(&paths.runtime.join(LOCK), &paths.pid_file) {
            tracing::error!("{error}");
        }
        match self.pid_file.renew() {
            Ok(true) => tracing::warn!("{}: somebody has removed it; it is there again", paths.pid_file.display()),
            Ok(false) => {}
            Err(error) => tracing::error!("{error}"),
        }
        let groups = [&config.fixed.control_group, &config.fixed.status_group];
        for ((socket, kept), group) in self.sockets.iter().zip(&mut self.descriptors).zip(groups) {
            let path = socket.path();
            match socket.renew(group.as_deref()) {
                Ok(Some(descriptor)) => {
                    tracing::warn!("{}: somebody has removed the socket; it is there again", path.display());
                    *kept = descriptor;
                }
                Ok(None) => {}
                Err(error) => tracing::error!("{}: the socket is gone: {error}", path.display()),
            }
        }
    }

    /// The descriptors that a program that takes over needs, by name.
    pub fn descriptors(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let [file, lock] = self.pid_file.fds();
        let fixed = [(INSTANCE_LOCK, self.instance.as_fd()), (PID_FILE, file), (PID_LOCK, lock)];
        let sockets = SOCKETS.into_iter().zip(self.descriptors.iter().map(AsFd::as_fd));
        let scrapes = self.scrapes.iter().map(|listener| (SCRAPES, listener.as_fd()));
        fixed.into_iter().chain(sockets).chain(scrapes).map(|(name, fd)| (name.to_owned(), fd))
    }
}
