//! The socket at which one worker speaks `sd_notify(3)`: by path, so that who speaks is known without trusting PIDs.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid};
use tokio::io::unix::AsyncFd;

use super::fault;
use gin_shared::notify::{MESSAGE_MAX, Notice, parse};

/// Messages read before other sources get their turn.
const BURST: usize = 32;
/// Descriptors taken from one message, to be closed; the kernel drops what exceeds them.
const FDS_MAX: usize = 16;

/// The file of a Unix socket, which goes with it.
#[derive(Debug)]
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One worker's socket.
#[derive(Debug)]
pub struct NotifySocket {
    fd: AsyncFd<OwnedFd>,
    file: SocketFile,
    /// Whether somebody else has written to it: that is told once.
    trespassed: Cell<bool>,
}

impl NotifySocket {
    /// Makes it, for `owner` alone to write to.
    ///
    /// # Errors
    /// Those of `bind(2)` and `chown(2)`.
    pub fn bind(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        fault::at("notify.socket")?;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::PassCred, &true)?;
        let file = bind_at(&fd, path, owner)?;
        Self::new(fd, file)
    }

    /// Takes over the one that a master before this one made; without it, makes another in its place.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn resume(fd: Option<OwnedFd>, path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        match fd {
            Some(fd) => Self::new(fd, SocketFile(path.to_owned())),
            None => Self::bind(path, owner),
        }
    }

    fn new(fd: OwnedFd, file: SocketFile) -> io::Result<Self> {
        Ok(Self { fd: super::watch::readable(fd)?, file, trespassed: Cell::new(false) })
    }

    /// To keep it for a successor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.0
    }

    /// The next messages, in order; those alone of processes for which `is_of` holds: workers of one user could write to each
    /// other's sockets.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub async fn receive(&self, is_of: impl Fn(i32) -> bool) -> io::Result<Vec<Notice>> {
        loop {
            let mut guard = self.fd.readable().await?;
            let notices = self.drain(&is_of)?;
            match notices {
                Some(notices) => return Ok(notices),
                None => guard.clear_ready(),
            }
        }
    }

    /// What has come so far, at most a burst of it; `None` if nothing has.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub fn drain(&self, is_of: &impl Fn(i32) -> bool) -> io::Result<Option<Vec<Notice>>> {
        let mut notices = Vec::new();
        for count in 0..BURST {
            let mut bytes = [0; MESSAGE_MAX];
            match receive_one(self.fd.get_ref(), &mut bytes) {
                Ok((length, Some(pid))) if is_of(pid) => notices.extend(parse(&bytes[..length])),
                Ok((_, pid)) => self.tell_of_trespasser(pid.unwrap_or_default()),
                Err(Errno::EAGAIN) if count == 0 => return Ok(None),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(notices))
    }

    fn tell_of_trespasser(&self, pid: i32) {
        let path = self.file.0.display();
        if self.trespassed.replace(true) {
            tracing::debug!("{path}: another message of process {pid} is passed over");
        } else {
            tracing::warn!(
                "{path}: a message of process {pid}, which is none of the worker's (or is gone), is passed over; further \
                 ones are told at level debug"
            );
        }
    }
}

/// Binds a Unix socket that only `owner` may connect to, never open to others for a moment.
pub(super) fn bind_at(fd: &impl AsRawFd, path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<SocketFile> {
    use nix::sys::stat::{Mode, umask};
    // Left by a master that was killed: we hold the instance's lock, so it is nobody's.
    let _ = std::fs::remove_file(path);
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = fault::at("unix.bind").and_then(|()| bind(fd.as_raw_fd(), &UnixAddr::new(path)?));
    umask(before);
    bound?;
    let file = SocketFile(path.to_owned());
    if let Some((uid, gid)) = owner {
        fault::at("unix.chown")?;
        nix::unistd::chown(path, Some(uid), Some(gid))?;
    }
    Ok(file)
}

/// Reads one datagram, and who sent it. Descriptors that came along are closed: for BARRIER=1 that is the answer, others are not wanted.
#[allow(unsafe_code, reason = "received descriptors are plain numbers until they are owned")]
fn receive_one(fd: &OwnedFd, bytes: &mut [u8]) -> nix::Result<(usize, Option<i32>)> {
    let mut space = cmsg_space!([RawFd; FDS_MAX], UnixCredentials);
    let mut sender = None;
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    if let Ok(controls) = message.cmsgs() {
        for control in controls {
            match control {
                ControlMessageOwned::ScmRights(fds) => {
                    for fd in fds {
                        // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
                        drop(unsafe { OwnedFd::from_raw_fd(fd) });
                    }
                }
                // By the kernel's word.
                ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials.pid()),
                _ => {}
            }
        }
    }
    Ok((message.bytes, sender))
}
