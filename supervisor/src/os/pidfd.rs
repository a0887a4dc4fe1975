//! A process by descriptor: its end is an event, and no other process can be mistaken for it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::PidfdFlags;
use tokio::io::unix::AsyncFd;

use super::fault;
use crate::exit_status::Exit;
use gin_shared::state::ProcessId;

/// A worker's process: a child of ours, or one that a master before us has left.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
    /// From then on its PID may be another's. One that is not our child is reaped by whoever is its parent now.
    reaped: Cell<bool>,
    adopted: bool,
}

/// Opens a process that a state names, unless it is gone: first the pidfd, then its start, and then whether it still lives,
/// so that no later process of its PID is taken for it.
///
/// # Errors
/// Those of `pidfd_open(2)`, but that it is gone.
pub fn open_left(process: ProcessId, stored: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    fault::at("adopt.pidfd_open")?;
    let Some(pid) = rustix::process::Pid::from_raw(process.pid) else { return Ok(None) };
    let fd = match stored {
        // It has been the same process all the time.
        Some(fd) => fd,
        None => match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        },
    };
    let same = ProcessId::read(process.pid)? == Some(process);
    Ok((same && lives(&fd)).then_some(fd))
}

/// SIGKILL to a process that lives, and to its group.
pub fn kill_with_group(pid: i32, fd: impl AsFd) {
    if signal_group(fd.as_fd(), Signal::SIGKILL) == Err(Errno::EINVAL) && lives(fd.as_fd()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = rustix::process::pidfd_send_signal(fd.as_fd(), rustix::process::Signal::KILL);
}

/// Whether its process has not exited yet.
#[must_use]
pub fn lives(fd: impl AsFd) -> bool {
    !has_ended(fd, Duration::ZERO)
}

/// Waits until its process has exited, for `patience` at most.
#[must_use]
pub fn has_ended(fd: impl AsFd, patience: Duration) -> bool {
    let patience = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut ended = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut ended, Some(&patience)) == Ok(1)
}

impl Child {
    /// Opens it. It must not have been reaped: then its PID cannot be another's.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)`.
    pub fn open(pid: Pid) -> io::Result<Self> {
        let raw = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidInput)?;
        fault::at("pidfd.open")?;
        let fd = rustix::process::pidfd_open(raw, PidfdFlags::NONBLOCK)?;
        Ok(Self { pid, fd: super::watch::readable(fd)?, reaped: Cell::new(false), adopted: false })
    }

    /// Takes over one that a master before us has started. `child`: it is ours still, for that master has become us.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn adopt(pid: i32, fd: OwnedFd, child: bool) -> io::Result<Self> {
        let fd = super::watch::readable(fd)?;
        Ok(Self { pid: Pid::from_raw(pid), fd, reaped: Cell::new(false), adopted: !child })
    }

    /// Whether it is not our child: then its orphans do not fall to us, and its exit status stays unknown.
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
        fault::at("pidfd.signal")?;
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
        if self.adopted {
            return self.kill_adopted_group();
        }
        match killpg(self.pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid.as_raw(), "cannot end the process group: {}", error.desc()),
        }
        self.signal(Signal::SIGKILL)
    }

    /// The group by pidfd (Linux 6.9), for the number of one that is gone may be another's; else while it lives.
    fn kill_adopted_group(&self) -> io::Result<()> {
        match signal_group(self.fd(), Signal::SIGKILL) {
            Err(Errno::EINVAL) if lives(self.fd()) => {
                let _ = killpg(self.pid, Signal::SIGKILL);
            }
            Ok(()) | Err(_) => {}
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

/// SIGKILL and the like to a process's group, by pidfd: rustix has the call without its flags.
#[allow(unsafe_code, reason = "a system call that no crate has")]
fn signal_group(fd: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
    // SAFETY: three integers and a null pointer, which the call takes for "no siginfo" (pidfd_send_signal(2)).
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            signal as i32,
            std::ptr::null::<nix::libc::siginfo_t>(),
            PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    Errno::result(result).map(drop)
}
