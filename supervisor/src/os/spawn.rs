//! The master's side of starting a worker: a helper process, and the link to it.
//!
//! The helper is this very program under another name, with one end of a socket pair as its stdin. It waits there; the
//! master records its PID and only then sends what to become (a memfd) and the descriptors to pass on. So a worker that
//! nobody recorded cannot come to be: without the message there is only EOF, and the helper exits. What fails on the way
//! comes back over the same link; when the program runs, the link is closed by execve itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use super::child::Child;
use super::sandbox::Sandbox;
use super::{fault, memfd};

/// The helper's `argv[0]`: how the program knows that it is one.
pub const HELPER: &str = "gin-exec-helper";
/// The longest error that comes back, in bytes.
pub const ERROR_MAX: usize = 1024;

/// The orders for a helper: the program that it is to become, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The arguments, the program's name first.
    pub argv: Vec<OsString>,
    /// The program to execute: an absolute path, its directory part resolved.
    pub program: PathBuf,
    /// The directory to run it in.
    pub directory: Option<PathBuf>,
    /// Everything but LISTEN_PID.
    pub environment: Vec<(OsString, OsString)>,
    /// True if listeners or a channel are passed, and so LISTEN_PID is to be set.
    pub passes_descriptors: bool,
    /// True if WATCHDOG_PID is to be set.
    pub watched: bool,
    /// The user whose rights it gets.
    pub user: Option<String>,
    /// The group, instead of the user's own.
    pub group: Option<String>,
    /// File mode mask.
    pub umask: Option<u32>,
    /// Priority, -20 to 19.
    pub nice: Option<i32>,
    /// RLIMIT_NOFILE's soft limit, and whether it was configured: then it is the hard one, too.
    pub nofile: (u64, bool),
    /// RLIMIT_NPROC.
    pub nproc: Option<u64>,
    /// RLIMIT_CORE, in bytes.
    pub core: Option<u64>,
    /// /proc/self/coredump_filter: the kinds of memory that a core dump has in it, as bits.
    #[serde(default)]
    pub core_filter: Option<u32>,
    /// The cores that it runs on.
    pub cores: Option<Vec<usize>>,
    /// /proc/self/oom_score_adj, -1000 to 1000.
    pub oom_score_adjust: Option<i32>,
    /// The capabilities that it keeps, as bits; `None`: what the change of user leaves.
    pub capabilities: Option<u64>,
    /// The steps that contain it.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// True if it is killed when the master dies.
    pub dies_with_master: bool,
    /// The master, to notice that it died before that was arranged.
    pub master: i32,
}

/// A helper that waits for its spec.
#[derive(Debug)]
pub struct Helper {
    /// Its process, which the worker's will be.
    pub child: Child,
    /// The link over which it tells what failed.
    pub link: Link,
}

/// The master's end of the socket pair.
#[derive(Debug)]
pub struct Link(AsyncFd<OwnedFd>);

/// Makes a helper.
///
/// # Errors
/// If there is no process, descriptor or memory to be had. Nothing is left behind.
pub fn start() -> io::Result<Helper> {
    start_with(Stdio::inherit())
}

/// The same; the program's standard output is `output`.
///
/// # Errors
/// As [`start`].
pub fn start_writing_to(output: File) -> io::Result<Helper> {
    start_with(output.into())
}

fn start_with(output: Stdio) -> io::Result<Helper> {
    let flags = SockFlag::SOCK_CLOEXEC;
    fault::at("spawn.socketpair")?;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    gin_shared::inherit::set_nonblocking(&ours, true)?;
    let link = Link(super::watch::readable(ours)?);
    fault::at("spawn.fork")?;
    let mut helper = Command::new("/proc/self/exe");
    helper.arg0(HELPER).env_clear().stdin(Stdio::from(theirs)).stdout(output);
    let process = helper.spawn()?;
    let pid = Pid::from_raw(i32::try_from(process.id()).map_err(io::Error::other)?);
    // On failure the link is dropped: the helper reads EOF and exits, and is reaped as an orphan.
    fault::at("spawn.forked")?;
    let child = Child::open(pid)?;
    Ok(Helper { child, link })
}

impl Link {
    /// Lets the helper go on: `fds` are the executable, the listeners, and the channel if there is one.
    ///
    /// # Errors
    /// If the memfd cannot be made or the helper is gone.
    pub fn send(&self, spec: &Spec, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        fault::at("spawn.memfd")?;
        let file = memfd::with("gin-spec", &serde_json::to_vec(spec)?)?;
        let all: Vec<RawFd> = std::iter::once(file.as_raw_fd()).chain(fds.iter().map(AsRawFd::as_raw_fd)).collect();
        fault::at("spawn.send")?;
        let (byte, rights) = ([IoSlice::new(b"s")], [ControlMessage::ScmRights(&all)]);
        sendmsg::<()>(self.0.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// The step that failed; `None` once the program runs (or the helper was killed, which its exit tells).
    ///
    /// # Errors
    /// The errors of `recv(2)`.
    pub async fn outcome(&self) -> io::Result<Option<String>> {
        loop {
            let mut guard = self.0.readable().await?;
            match self.read() {
                Ok(outcome) => return Ok(outcome),
                Err(Errno::EAGAIN) => guard.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The same without waiting: for when the process is known to have exited.
    ///
    /// # Errors
    /// The errors of `recv(2)`.
    pub fn read(&self) -> nix::Result<Option<String>> {
        let mut bytes = [0; ERROR_MAX];
        let length = recv(self.0.as_fd().as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT)?;
        Ok((length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned()))
    }
}
