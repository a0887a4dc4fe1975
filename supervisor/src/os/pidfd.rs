//! A process by descriptor: its end is an event, and no other process can be mistaken for it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::PidfdFlags;
use tokio::io::unix::AsyncFd;

use crate::machine::failure::Exit;

/// A child of ours.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
    /// From then on its PID may be another's.
    reaped: Cell<bool>,
}

impl Child {
    /// Opens it. It must not have been reaped: then its PID cannot be another's.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)`.
    pub fn open(pid: Pid) -> io::Result<Self> {
        let raw = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = rustix::process::pidfd_open(raw, PidfdFlags::NONBLOCK)?;
        Ok(Self { pid, fd: super::watch::readable(fd)?, reaped: Cell::new(false) })
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Until it has exited. It stays a zombie, and its PID its own, until [`Self::reap`].
    ///
    /// # Errors
    /// Those of `epoll`; none is known to happen.
    pub async fn exited(&self) -> io::Result<()> {
        self.fd.readable().await?.retain_ready();
        Ok(())
    }

    /// Sends it a signal. One that has exited already is not an error.
    ///
    /// # Errors
    /// EPERM, after the worker has changed to a user that we may not signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal as i32).ok_or(io::ErrorKind::InvalidInput)?;
        match rustix::process::pidfd_send_signal(self.fd.get_ref().as_fd(), signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// SIGKILL to its process group, of which it is the leader once the helper has made it so; and to itself.
    ///
    /// # Errors
    /// As [`Self::signal`].
    pub fn kill_group(&self) -> io::Result<()> {
        if self.reaped.get() {
            return Ok(());
        }
        match killpg(self.pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid.as_raw(), "cannot end the process group: {}", error.desc()),
        }
        self.signal(Signal::SIGKILL)
    }

    /// Takes its exit status and lets its PID go.
    #[must_use]
    pub fn reap(&self) -> Exit {
        self.reaped.set(true);
        loop {
            match waitid(Id::PIDFd(self.fd.get_ref().as_fd()), WaitPidFlag::WEXITED) {
                Ok(WaitStatus::Exited(_, code)) => return Exit::Code(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Exit::Signal(signal as i32),
                Err(Errno::EINTR) => {}
                // A real-time signal has no name in nix, which then gives EINVAL with the child reaped.
                Ok(_) | Err(_) => return Exit::Unknown,
            }
        }
    }
}
