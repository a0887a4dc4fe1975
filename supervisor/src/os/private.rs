//! A worker's own listener: how the master, and the operator's commands, ask just this worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, listen, socket};
use nix::unistd::{Gid, Uid};

use super::fault;
use super::notify::SocketFile;

/// Connections that wait.
const BACKLOG: i32 = 64;

/// A Unix stream socket that one worker listens on. Its file goes with it.
#[derive(Debug)]
pub struct PrivateListener {
    fd: Option<OwnedFd>,
    file: SocketFile,
}

impl PrivateListener {
    /// Makes it, for `owner` (and root) alone to connect to.
    ///
    /// # Errors
    /// Those of `bind(2)` and `listen(2)`.
    pub fn bind(path: &Path, owner: Option<(Uid, Gid)>, nonblocking: bool) -> io::Result<Self> {
        fault::at("private.socket")?;
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let file = super::notify::bind_at(&fd, path, owner)?;
        listen(&fd, Backlog::new(BACKLOG)?)?;
        gin_shared::inherit::set_nonblocking(&fd, nonblocking)?;
        Ok(Self { fd: Some(fd), file })
    }

    /// The one that a worker of a master before this one has.
    #[must_use]
    pub fn resume(path: &Path) -> Self {
        Self { fd: None, file: SocketFile(path.to_owned()) }
    }

    /// To be passed on; with the worker alone, after a succession.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.0
    }
}
