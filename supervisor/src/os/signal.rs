//! Signals as events: blocked in every thread, read from a signalfd, so that none is lost across an exec.

#![allow(unsafe_code, reason = "nix leaves sigaction unsafe, for a handler could do anything; here there is none")]

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Ready;
use tokio::io::unix::AsyncFd;

use super::fault;

/// A signal, and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// The sender's PID; 0 for the kernel (Ctrl-C).
    pub pid: u32,
    /// The sender's UID.
    pub uid: u32,
}

/// The signals that the master takes.
pub const TAKEN: &[Signal] = &[
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
    Signal::SIGWINCH,
];

/// Blocks them: before any thread is made, for threads inherit the mask.
///
/// # Errors
/// Those of `sigprocmask(2)`.
pub fn block() -> io::Result<()> {
    // A file that may not grow is an error of the write that tried (EFBIG), not the end.
    let set: SigSet = TAKEN.iter().copied().chain([Signal::SIGXFSZ]).collect();
    Ok(sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?)
}

/// The blocked signals, to be awaited.
#[derive(Debug)]
pub struct Signals(AsyncFd<SignalFd>);

impl Signals {
    /// Begins to read them.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn new() -> io::Result<Self> {
        let set: SigSet = TAKEN.iter().copied().collect();
        fault::at("signal.signalfd")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self(super::watch::readable(fd)?))
    }

    /// The next one.
    ///
    /// # Errors
    /// Those of `read(2)`; none is known to happen.
    pub async fn next(&self) -> io::Result<Received> {
        loop {
            let mut guard = self.0.readable().await?;
            match guard.get_inner().read_signal()? {
                Some(info) => {
                    let number = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
                    let signal = Signal::try_from(number)?;
                    return Ok(Received { signal, pid: info.ssi_pid, uid: info.ssi_uid });
                }
                None => guard.clear_ready_matching(Ready::READABLE),
            }
        }
    }
}

/// Gives every signal its default action and unblocks all: for a process about to become another program.
///
/// Handlers go at execve by themselves, but ignored signals stay ignored and the mask survives (signal(7)).
///
/// # Errors
/// Those of `sigprocmask(2)`.
pub fn reset() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: SIG_DFL installs no handler, so no code of ours can run in a signal's context.
        unsafe { sigaction(signal, &default) }?;
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}
