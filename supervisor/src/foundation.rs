//! What a master stands on, from its start to its end and over an upgrade in place: the runtime directory, the locks, the PID
//! file, and the sockets of the control API.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gin_shared::runtime_dir::{self, Surroundings};

use crate::Stop;
use crate::config::Config;
use crate::os;
use crate::os::control_socket::{ControlSocket, ControlSocketError};
use crate::os::pidfile::{Lock, PidFile};
use crate::os::succession::Descriptors;
use crate::state::{Paths, State};

const INSTANCE_LOCK: &str = "lock/instance";
const PID_LOCK: &str = "lock/pid";
const PID_FILE: &str = "pid";
const SOCKETS: [&str; 2] = ["control", "status"];

/// Held for as long as the master lives.
#[derive(Debug)]
pub struct Foundation {
    instance: Lock,
    pid_file: PidFile,
    /// Copies: the API serves the originals.
    sockets: [OwnedFd; 2],
}

/// Where the files of an instance are to be.
///
/// # Errors
/// If the runtime directory cannot be made, or is not safe.
pub fn paths(config: &Config) -> Result<Paths, Stop> {
    let runtime = os::runtime::prepare(&config.instance, &Surroundings::from_env()).map_err(Stop::usage)?;
    let fixed = &config.fixed;
    Ok(Paths {
        pid_file: fixed.pid_file.clone().unwrap_or_else(|| runtime.join(runtime_dir::PID_FILE)),
        control: fixed.control.clone().unwrap_or_else(|| runtime.join(runtime_dir::CONTROL)),
        status: fixed.status.clone().unwrap_or_else(|| runtime.join(runtime_dir::STATUS)),
        runtime,
    })
}

/// The locks and the PID file: from then on this is the master of the instance.
///
/// # Errors
/// If there is another one, or a place is not safe.
pub fn lock(paths: &Paths) -> Result<(Lock, PidFile), Stop> {
    // Exit code 2 is for what stays wrong until somebody changes it: a service manager does not try that again. Who holds
    // an address or a lock may be gone in a moment.
    let instance = Lock::take(&paths.runtime.join("instance.lock"), &paths.pid_file).map_err(Stop::pid_file)?;
    let pid_file = PidFile::create(&paths.pid_file).map_err(Stop::pid_file)?;
    Ok((instance, pid_file))
}

/// Removes what a dead master has left where this one, started with other flags, puts nothing.
pub fn clear_moved(before: &State<'_>, paths: &Paths) {
    let old = &before.paths;
    if old.pid_file != paths.pid_file && os::pidfile::read(&old.pid_file) == Some(before.master.pid) {
        let _ = std::fs::remove_file(&old.pid_file);
    }
    for (old, new) in [(&old.control, &paths.control), (&old.status, &paths.status)] {
        if old != new {
            // One that somebody listens at stays.
            let _ = os::listener::remove_stale(old);
        }
    }
}

impl Foundation {
    /// The rest of it. Needs a runtime.
    ///
    /// # Errors
    /// If a socket cannot be bound.
    pub fn lay(
        (instance, pid_file): (Lock, PidFile),
        paths: &Paths,
        config: &Config,
    ) -> Result<(Self, [ControlSocket; 2]), Stop> {
        let bind = |path: &std::path::Path, group: &Option<String>| {
            let place = path.display().to_string();
            let failed = |error: ControlSocketError| {
                let exit = match &error {
                    ControlSocketError::Listen(error) => Stop::listen(error).exit,
                    ControlSocketError::Group(_) | ControlSocketError::System(_) => gin_shared::exit::FAILED,
                };
                Stop { text: format!("{place}: {error}"), exit }
            };
            ControlSocket::bind(path, group.as_deref()).map_err(failed)
        };
        let sockets =
            [bind(&paths.control, &config.fixed.control_group)?, bind(&paths.status, &config.fixed.status_group)?];
        Self::with(instance, pid_file, sockets)
    }

    /// The same as the program before this one has left it.
    ///
    /// # Errors
    /// If something of it is missing.
    pub fn resume(
        descriptors: &mut Descriptors,
        paths: &Paths,
        config: &Config,
    ) -> Result<(Self, [ControlSocket; 2]), Stop> {
        let mut take = |name: &str| {
            let missing = || Stop::failed("upgrade in place", format!("the descriptor {name} is missing"));
            descriptors.take(name).ok_or_else(missing)
        };
        let lock = |fd| Lock::resume(fd).map_err(|error| Stop::failed("lock", error));
        let instance = lock(take(INSTANCE_LOCK)?)?;
        let pid_file = PidFile::resume(&paths.pid_file, take(PID_FILE)?, lock(take(PID_LOCK)?)?);
        let [control, status] = SOCKETS;
        let (acts, looks) = (config.fixed.control_group.as_deref(), config.fixed.status_group.as_deref());
        let socket = |fd, path, group| {
            ControlSocket::resume(fd, path, group).map_err(|error| Stop::failed("control socket", error))
        };
        let sockets = [socket(take(control)?, &paths.control, acts)?, socket(take(status)?, &paths.status, looks)?];
        Self::with(instance, pid_file, sockets)
    }

    fn with(
        instance: Lock,
        pid_file: PidFile,
        sockets: [ControlSocket; 2],
    ) -> Result<(Self, [ControlSocket; 2]), Stop> {
        let copy = |socket: &ControlSocket| {
            socket.as_fd().try_clone_to_owned().map_err(|error| Stop::failed("control socket", error))
        };
        let copies = [copy(&sockets[0])?, copy(&sockets[1])?];
        Ok((Self { instance, pid_file, sockets: copies }, sockets))
    }

    /// What a program that takes over needs, by name.
    pub fn descriptors(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let [file, lock] = self.pid_file.fds();
        let fixed = [(INSTANCE_LOCK, self.instance.as_fd()), (PID_FILE, file), (PID_LOCK, lock)];
        let sockets = SOCKETS.into_iter().zip(self.sockets.iter().map(AsFd::as_fd));
        fixed.into_iter().chain(sockets).map(|(name, fd)| (name.to_owned(), fd))
    }
}
