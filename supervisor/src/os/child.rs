//! A worker's or command's process: its end is an event, and no other process can be mistaken for it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::fault;
use crate::exit_status::Exit;
use gin_shared::process::{Pidfd, ProcessId, is_readable};

/// A worker's process: a child of ours, or one that a master before us has left.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
    /// From then on its PID may be another's. One that is not our child is reaped by whoever is its parent now.
    reaped: Cell<bool>,
    adopted: bool,
}

/// Opens a process that a state names, unless it is gone. `kept` is its pidfd, if one was kept.
///
/// # Errors
/// The errors of `pidfd_open(2)`, but that it is gone.
pub fn open_left(process: ProcessId, kept: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    fault::at("adopt.pidfd_open")?;
    Ok(Pidfd::open_same(process, kept)?.map(OwnedFd::from))
}

/// Kills a process and its group.
pub fn kill_with_group(pid: i32, process: &Pidfd) {
    kill_group_of(Pid::from_raw(pid), process.as_fd());
    process.kill();
}

/// Kills the group of a process that may not be our child: by pidfd (Linux 6.9), because the number of a group that is gone
/// may be another's; on older kernels by number, while the process lives.
fn kill_group_of(pid: Pid, process: BorrowedFd<'_>) {
    if signal_group(process, Signal::SIGKILL) == Err(Errno::EINVAL) && !is_readable(process, Duration::ZERO) {
        let _ = killpg(pid, Signal::SIGKILL);
    }
}

impl Child {
    /// Opens it. It must not have been reaped: then its PID cannot be another's.
    ///
    /// # Errors
    /// The errors of `pidfd_open(2)`.
    pub fn open(pid: Pid) -> io::Result<Self> {
        fault::at("pidfd.open")?;
        let pidfd = Pidfd::open(pid.as_raw())?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, fd: super::watch::readable(OwnedFd::from(pidfd))?, reaped: Cell::new(false), adopted: false })
    }

    /// Takes over one that a master before us has started. `child`: it is ours still, for that master has become us.
    ///
    /// # Errors
    /// The errors of `epoll_ctl(2)`.
    pub fn adopt(pid: i32, fd: OwnedFd, child: bool) -> io::Result<Self> {
        let fd = super::watch::readable(fd)?;
        Ok(Self { pid: Pid::from_raw(pid), fd, reaped: Cell::new(false), adopted: !child })
    }

    /// True if it is not our child: then its orphans do not fall to us, and its exit status stays unknown.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// To keep it known to a successor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Until it has exited. It stays a zombie, and its PID its own, until [`Self::reap`].
    ///
    /// # Errors
    /// The errors of `epoll`; none is known to happen.
    pub async fn exited(&self) -> io::Result<()> {
        self.fd.readable().await?.retain_ready();
        Ok(())
    }

    /// True if it has exited, which is looked up: [`Self::exited`] may not have heard of it yet.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        is_readable(self.fd(), Duration::ZERO)
    }

    /// Sends it a signal. One that has exited already is not an error.
    ///
    /// # Errors
    /// EPERM, after the worker has changed to a user that we may not signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        fault::at("pidfd.signal")?;
        match signal_by_pidfd(self.fd(), signal, 0) {
            Err(Errno::ESRCH) | Ok(()) => Ok(()),
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
        if self.adopted {
            kill_group_of(self.pid, self.fd());
            return self.signal(Signal::SIGKILL);
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

/// Sends a signal to a process's group, by pidfd.
fn signal_group(fd: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
    signal_by_pidfd(fd, signal, PIDFD_SIGNAL_PROCESS_GROUP)
}

/// `pidfd_send_signal(2)`: rustix has the call without its flags.
#[allow(unsafe_code, reason = "a system call that no crate has")]
fn signal_by_pidfd(fd: BorrowedFd<'_>, signal: Signal, flags: u32) -> nix::Result<()> {
    // SAFETY: three integers and a null pointer, which the call takes for "no siginfo" (pidfd_send_signal(2)).
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            signal as i32,
            std::ptr::null::<nix::libc::siginfo_t>(),
            flags,
        )
    };
    Errno::result(result).map(drop)
}
