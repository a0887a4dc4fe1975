//! Signals as events: blocked in every thread, read from a signalfd, so that none is lost across an exec.

#![allow(
    unsafe_code,
    reason = "nix leaves sigaction unsafe, and knows no real-time signals; no handler is installed here"
)]

use std::ffi::c_int;
use std::fmt;
use std::io::{self, IsTerminal};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Ready;
use tokio::io::unix::AsyncFd;

use super::fault;
use super::identity::user_name;

/// A signal, and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// The sender's PID; 0 for the kernel, and for a process outside of this PID namespace.
    pub pid: u32,
    /// The sender's UID.
    pub uid: u32,
    /// True if the kernel has sent it, for a key at the terminal (Ctrl-C).
    pub is_the_kernels: bool,
}

impl Received {
    fn of(info: &libc::signalfd_siginfo) -> io::Result<Self> {
        let number = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
        let (signal, is_the_kernels) = (Signal::try_from(number)?, info.ssi_code == libc::SI_KERNEL);
        Ok(Self { signal, pid: info.ssi_pid, uid: info.ssi_uid, is_the_kernels })
    }

    /// True if somebody has typed Ctrl-C at the terminal of this process.
    #[must_use]
    pub fn is_ctrl_c(self) -> bool {
        self.signal == Signal::SIGINT && self.is_the_kernels && io::stderr().is_terminal()
    }
}

impl fmt::Display for Received {
    /// With its sender, for the history.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, pid, uid, is_the_kernels } = *self;
        match pid {
            0 if is_the_kernels => write!(f, "{signal} from the terminal"),
            0 => write!(f, "{signal} from outside of this PID namespace"),
            pid => write!(f, "{signal} from {} (pid {pid})", user_name(uid)),
        }
    }
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

/// Blocks them, and no others: before any thread is made, for threads inherit the mask. The mask that this process has
/// inherited does not count.
///
/// # Errors
/// Those of `sigprocmask(2)`.
pub fn block() -> io::Result<()> {
    // A file that may not grow is an error of the write that tried (EFBIG), not the end.
    let set: SigSet = TAKEN.iter().copied().chain([Signal::SIGXFSZ]).collect();
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?)
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
                Some(info) => return Received::of(&info),
                None => guard.clear_ready_matching(Ready::READABLE),
            }
        }
    }
}

/// Gives every signal that is ignored its default action, but SIGPIPE, which Rust programs ignore.
///
/// Whoever starts the master may ignore signals (`nohup`, a program that ignores SIGCHLD), and execve keeps that. With SIGCHLD
/// ignored the kernel keeps no exit status. A signal that is not ignored is left alone: to set it would drop one that waits
/// over an upgrade in place.
pub fn forget_ignored() {
    all().filter(|signal| *signal != libc::SIGPIPE && is_ignored(*signal)).for_each(set_default);
}

/// Gives every signal its default action and unblocks all: for a process about to become another program.
///
/// Handlers go at execve by themselves, but ignored signals stay ignored and the mask survives (signal(7)).
///
/// # Errors
/// Those of `sigprocmask(2)`.
pub fn reset() -> io::Result<()> {
    all().for_each(set_default);
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// The numbers of all signals whose action can be set, real-time signals too. The C library keeps some for itself.
fn all() -> impl Iterator<Item = c_int> {
    let usual = (1..32).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal));
    usual.chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
}

fn is_ignored(signal: c_int) -> bool {
    // SAFETY: a structure of integers and pointers, for which zeros are fine.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the present one, to a structure that lives here.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn set_default(signal: c_int) {
    // SAFETY: as above; zeros are SIG_DFL, no flags and an empty mask.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: SIG_DFL installs no handler, so no code of ours can run in a signal's context. No signal of `all` is refused.
    let _ = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_outside_of_the_pid_namespace_is_not_the_terminal() {
        // SAFETY: a structure of integers, for which zeros are fine.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        info.ssi_signo = libc::SIGINT.unsigned_abs();
        let sent = Received::of(&info).unwrap();
        assert!(!sent.is_the_kernels);
        assert_eq!(sent.to_string(), "SIGINT from outside of this PID namespace");
        info.ssi_code = libc::SI_KERNEL;
        let typed = Received::of(&info).unwrap();
        assert!(typed.is_the_kernels);
        assert_eq!(typed.to_string(), "SIGINT from the terminal");
    }

    #[test]
    fn what_is_ignored_is_found_and_forgotten() {
        let signal = libc::SIGRTMAX();
        assert!(!is_ignored(signal) && all().any(|one| one == signal));
        // SAFETY: see `set_default`; SIG_IGN installs no handler, either.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
        assert!(is_ignored(signal));
        forget_ignored();
        assert!(!is_ignored(signal));
        assert!(is_ignored(libc::SIGPIPE), "a Rust program hears of a closed pipe by EPIPE");
    }
}
