//! The socket at which one worker speaks `sd_notify(3)`: by path, so that who speaks is known without trusting PIDs.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, recvmsg, socket,
};
use nix::unistd::{Gid, Uid};
use tokio::io::unix::AsyncFd;

use gin_shared::notify::{MESSAGE_MAX, Notice, parse};

/// Messages read before other sources get their turn.
const BURST: usize = 32;
/// Descriptors taken from one message, to be closed; the kernel drops what exceeds them.
const FDS_MAX: usize = 16;

/// One worker's socket. Its file goes with it.
#[derive(Debug)]
pub struct NotifySocket {
    fd: AsyncFd<OwnedFd>,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes it, for `owner` alone to write to.
    ///
    /// # Errors
    /// Those of `bind(2)` and `chown(2)`.
    pub fn bind(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        bind_at(&fd, path, owner)?;
        Ok(Self { fd: super::watch::readable(fd)?, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next messages, in order.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub async fn receive(&self) -> io::Result<Vec<Notice>> {
        loop {
            let mut guard = self.fd.readable().await?;
            let notices = self.drain()?;
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
    pub fn drain(&self) -> io::Result<Option<Vec<Notice>>> {
        let mut notices = Vec::new();
        for count in 0..BURST {
            let mut bytes = [0; MESSAGE_MAX];
            match receive_one(self.fd.get_ref(), &mut bytes) {
                Ok(length) => notices.extend(parse(&bytes[..length])),
                Err(Errno::EAGAIN) if count == 0 => return Ok(None),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(notices))
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds a Unix socket that only `owner` may connect to, never open to others for a moment.
pub(super) fn bind_at(fd: &impl AsRawFd, path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    use nix::sys::stat::{Mode, umask};
    // Left by a master that was killed: we hold the instance's lock, so it is nobody's.
    let _ = std::fs::remove_file(path);
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = bind(fd.as_raw_fd(), &UnixAddr::new(path)?);
    umask(before);
    bound?;
    if let Some((uid, gid)) = owner {
        nix::unistd::chown(path, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// Reads one datagram. Descriptors that came along are closed: for BARRIER=1 that is the answer, others are not wanted.
#[allow(unsafe_code, reason = "received descriptors are plain numbers until they are owned")]
fn receive_one(fd: &OwnedFd, bytes: &mut [u8]) -> nix::Result<usize> {
    let mut space = cmsg_space!([RawFd; FDS_MAX]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    if let Ok(controls) = message.cmsgs() {
        for control in controls {
            if let ControlMessageOwned::ScmRights(fds) = control {
                for fd in fds {
                    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
                    drop(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
    }
    Ok(message.bytes)
}
