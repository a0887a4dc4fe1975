//! A worker's own listener: how the master, and the operator's commands, ask just this worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, listen, socket};
use nix::unistd::{Gid, Uid};

/// Connections that wait.
const BACKLOG: i32 = 64;

/// A Unix stream socket that one worker listens on. Its file goes with it.
#[derive(Debug)]
pub struct PrivateListener {
    fd: OwnedFd,
    path: PathBuf,
}

impl PrivateListener {
    /// Makes it, for `owner` (and root) alone to connect to.
    ///
    /// # Errors
    /// Those of `bind(2)` and `listen(2)`.
    pub fn bind(path: &Path, owner: Option<(Uid, Gid)>, nonblocking: bool) -> io::Result<Self> {
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        super::notify::bind_at(&fd, path, owner)?;
        let listener = Self { fd, path: path.to_owned() };
        listen(&listener.fd, Backlog::new(BACKLOG)?)?;
        gin_shared::inherit::set_nonblocking(&listener.fd, nonblocking)?;
        Ok(listener)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for PrivateListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for PrivateListener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
