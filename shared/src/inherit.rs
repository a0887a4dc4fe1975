//! What a worker inherits, as `sd_listen_fds(3)` and the master's own variables say it, and the adopting of it.

#![allow(unsafe_code, reason = "adopting inherited descriptors is the one thing here that the compiler cannot check")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use crate::announcement;
use crate::generation::{Generation, Slot};

/// The first inherited descriptor (`SD_LISTEN_FDS_START`).
pub const FIRST_FD: RawFd = 3;
/// How many are taken at most.
pub const FDS_MAX: usize = 253;

/// The number of listeners passed.
pub const LISTEN_FDS: &str = "LISTEN_FDS";
/// Whom they are for.
pub const LISTEN_PID: &str = "LISTEN_PID";
/// Their names, separated by colons.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// Where to say READY=1.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// How long a worker may be silent, in microseconds.
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// Whose watchdog it is.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// The name of the last listener, if each worker has one of its own: how the master asks just this worker.
pub const PRIVATE: &str = "private";
/// The path of that listener, for the operator's commands.
pub const GIN_PRIVATE_SOCKET: &str = "GIN_PRIVATE_SOCKET";
/// The instance's name.
pub const GIN_INSTANCE: &str = "GIN_INSTANCE";
/// The worker's generation.
pub const GIN_GENERATION: &str = "GIN_GENERATION";
/// The worker's slot.
pub const GIN_SLOT: &str = "GIN_SLOT";
/// How many workers the slot has had before it.
pub const GIN_ATTEMPT: &str = "GIN_ATTEMPT";
/// The release's name: that of the generation's directory; unset without `directory`.
pub const GIN_RELEASE: &str = "GIN_RELEASE";
/// The path of the configuration's snapshot; unset without a file.
pub const GIN_CONFIG: &str = "GIN_CONFIG";
/// The listening SEQPACKET socket of the channel.
pub const GIN_CHANNEL_FD: &str = "GIN_CHANNEL_FD";
/// The version in which the master answers a worker that announces itself; unset if it answers none.
pub const GIN_ANNOUNCE: &str = "GIN_ANNOUNCE";
/// Memory that all workers of the instance share.
pub const GIN_SHARED_MEMORY_FD: &str = "GIN_SHARED_MEMORY_FD";
/// Memory in which all workers of the instance count their metrics.
pub const GIN_METRICS_FD: &str = "GIN_METRICS_FD";
/// Certificates and keys of TLS, in memory that the master has sealed: see [`crate::tls`].
pub const GIN_TLS_FD: &str = "GIN_TLS_FD";
/// The order to migrate the database instead of to serve; see `migration`.
pub const GIN_MIGRATE: &str = "GIN_MIGRATE";

/// The span that the worker's start belongs to, as the header `traceparent` has it: a convention of OpenTelemetry.
pub const TRACEPARENT: &str = "TRACEPARENT";

/// What was meant for the master, or is set anew: a worker never sees the master's values.
pub const STRIPPED: &[&str] = &[
    LISTEN_FDS,
    LISTEN_PID,
    LISTEN_FDNAMES,
    "LISTEN_PIDFDID",
    NOTIFY_SOCKET,
    WATCHDOG_PID,
    WATCHDOG_USEC,
    "FDSTORE",
    "MAINPID",
    "GIN_STATE_FD",
    "GIN_FAULTS",
    "RUNTIME_DIRECTORY",
    GIN_INSTANCE,
    GIN_GENERATION,
    GIN_SLOT,
    GIN_ATTEMPT,
    GIN_RELEASE,
    GIN_CONFIG,
    GIN_CHANNEL_FD,
    GIN_ANNOUNCE,
    GIN_SHARED_MEMORY_FD,
    GIN_METRICS_FD,
    GIN_TLS_FD,
    GIN_MIGRATE,
    TRACEPARENT,
];

/// A listener as it was passed.
#[derive(Debug)]
pub struct Inherited {
    /// From LISTEN_FDNAMES; `unknown` if that is too short, as systemd has it.
    pub name: String,
    /// The listening socket, now close-on-exec.
    pub fd: OwnedFd,
}

/// Everything that this process inherited.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// In the order of their numbers.
    pub listeners: Vec<Inherited>,
    /// This worker's own listener, if the master offers one.
    pub private: Option<OwnedFd>,
    /// The channel, if the master offers one.
    pub channel: Option<OwnedFd>,
    /// Memory that all workers share, if the master offers some.
    pub shared_memory: Option<OwnedFd>,
    /// Memory in which all workers count their metrics, if the master offers some.
    pub metrics: Option<OwnedFd>,
    /// Certificates and keys of TLS, if a listener is to speak it.
    pub tls: Option<OwnedFd>,
}

/// Who this process is, where a supervisor said so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// `GIN_INSTANCE`
    pub instance: String,
    /// `GIN_GENERATION`
    pub generation: Generation,
    /// `GIN_SLOT`
    pub slot: Slot,
    /// `GIN_RELEASE`
    pub release: Option<String>,
}

/// Reads who this process is; `None` without a supervisor.
#[must_use]
pub fn identity() -> Option<Identity> {
    Some(Identity {
        instance: std::env::var(GIN_INSTANCE).ok()?,
        generation: Generation(std::env::var(GIN_GENERATION).ok()?.parse().ok()?),
        slot: Slot(std::env::var(GIN_SLOT).ok()?.parse().ok()?),
        release: std::env::var(GIN_RELEASE).ok(),
    })
}

/// Takes over what was inherited, and what the master gives a worker that announces itself: for that answer this call waits. Gives
/// nothing at the second call: a descriptor has one owner.
///
/// The variables are left as they are; children do not take them for theirs, for LISTEN_PID names this process, and the
/// descriptors are close-on-exec from here on.
///
/// # Errors
/// If a variable that is set names descriptors that are not there, or what the master gives cannot be taken.
pub fn take() -> io::Result<Inheritance> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Inheritance::default());
    }
    let mut inheritance = Inheritance::default();
    let count = listener_count();
    let names = std::env::var(LISTEN_FDNAMES).unwrap_or_default();
    let mut names = names.split(':');
    for number in 0..count {
        let fd = adopt(FIRST_FD + RawFd::try_from(number).expect("at most FDS_MAX"), LISTEN_FDS)?;
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
        match name.as_str() {
            PRIVATE if number + 1 == count => inheritance.private = Some(fd),
            _ => inheritance.listeners.push(Inherited { name, fd }),
        }
    }
    inheritance.channel = named(GIN_CHANNEL_FD)?;
    inheritance.shared_memory = named(GIN_SHARED_MEMORY_FD)?;
    inheritance.metrics = named(GIN_METRICS_FD)?;
    inheritance.tls = named(GIN_TLS_FD)?;
    if inheritance.channel.is_none()
        && let Some(notify) = announces_at()
        && let Some(given) = announcement::announce(&notify)?
    {
        inheritance.channel = given.channel;
        inheritance.private = inheritance.private.or(given.private);
        inheritance.shared_memory = inheritance.shared_memory.or(given.shared_memory);
        inheritance.metrics = inheritance.metrics.or(given.metrics);
        inheritance.tls = inheritance.tls.or(given.tls);
    }
    Ok(inheritance)
}

/// The notify socket of a master that answers an announcement.
fn announces_at() -> Option<PathBuf> {
    std::env::var_os(GIN_ANNOUNCE)?;
    std::env::var_os(NOTIFY_SOCKET).map(PathBuf::from)
}

fn named(variable: &str) -> io::Result<Option<OwnedFd>> {
    let Some(text) = std::env::var(variable).ok().filter(|_| count_is_ours()) else { return Ok(None) };
    let number =
        text.parse().ok().filter(|fd| *fd >= FIRST_FD).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{variable}={text} is not a descriptor"))
        })?;
    adopt(number, variable).map(Some)
}

fn count_is_ours() -> bool {
    std::env::var(LISTEN_PID).is_ok_and(|pid| pid.parse() == Ok(std::process::id()))
}

fn listener_count() -> usize {
    if !count_is_ours() {
        return 0;
    }
    std::env::var(LISTEN_FDS).ok().and_then(|text| text.parse().ok()).map_or(0, |n: usize| n.min(FDS_MAX))
}

fn adopt(number: RawFd, variable: &str) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for the two calls that check that it is open and mark it; F_SETFD on a number that is not
    // open fails with EBADF and touches nothing.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{variable} names descriptor {number}: {}", error.desc()))
    })?;
    // SAFETY: it is open (the call above succeeded), the environment names it as ours, and `take` runs once, so nothing
    // else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets O_NONBLOCK, which belongs to the open file and so to every process that shares it.
///
/// # Errors
/// Those of `fcntl(2)`.
pub fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if flags.contains(OFlag::O_NONBLOCK) != nonblocking {
        flags.set(OFlag::O_NONBLOCK, nonblocking);
        fcntl(fd, FcntlArg::F_SETFL(flags))?;
    }
    Ok(())
}
