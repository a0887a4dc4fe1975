//! The socket at which one worker speaks `sd_notify(3)`: by path, so that who speaks is known without trusting PIDs.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt};
use nix::unistd::{Gid, Uid};
use tokio::io::unix::AsyncFd;

use super::closer::{Closer, OpenToOthers};
use super::fault;
use super::packet::{self, Packet};
use super::runtime::remove_file;
use gin_shared::descriptors::is_for_packets;
use gin_shared::notify::{MESSAGE_MAX, Notice, parse};

/// Messages read before other sources get their turn.
pub const BURST: usize = 32;
/// How long a process that is none of the worker's counts as such without being looked at again.
const STRANGE: Duration = Duration::from_millis(100);
/// Time between two looks whether enough is closed of what a worker has sent.
pub(super) const BEHIND: Duration = Duration::from_millis(10);

/// The file of a Unix socket, which goes with it.
#[derive(Debug)]
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        remove_file(&self.0);
    }
}

/// One worker's socket.
#[derive(Debug)]
pub struct NotifySocket {
    fd: AsyncFd<OpenToOthers>,
    file: SocketFile,
    closer: Closer,
    /// Whether somebody else has written to it: that is told once.
    trespassed: Cell<bool>,
    /// Who it was, and when it was found out: that costs a look at each process between it and the first.
    stranger: Cell<Option<(i32, Instant)>>,
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
            // The file stays if this fails: the next try needs it.
            Some(fd) => {
                let closer = Closer::default();
                let fd = super::watch::readable(OpenToOthers::new(fd, closer.clone()))?;
                Ok(Self::of(fd, closer, SocketFile(path.to_owned())))
            }
            None => Self::bind(path, owner),
        }
    }

    fn new(fd: OwnedFd, file: SocketFile) -> io::Result<Self> {
        let closer = Closer::default();
        Ok(Self::of(super::watch::readable(OpenToOthers::new(fd, closer.clone()))?, closer, file))
    }

    fn of(fd: AsyncFd<OpenToOthers>, closer: Closer, file: SocketFile) -> Self {
        Self { fd, file, closer, trespassed: Cell::new(false), stranger: Cell::new(None) }
    }

    /// Closes what the worker has sent, without waiting for it.
    pub fn close(&self, descriptor: OwnedFd) {
        self.closer.close([descriptor]);
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
    pub async fn receive(&self, is_of: impl Fn(i32) -> bool, is_main: impl Fn(i32) -> bool) -> io::Result<Heard> {
        loop {
            while self.closer.is_behind() {
                tokio::time::sleep(BEHIND).await;
            }
            let mut guard = self.fd.readable().await?;
            match self.drain(&is_of, &is_main)? {
                Some(heard) => return Ok(heard),
                None => guard.clear_ready(),
            }
        }
    }

    /// Messages that have come so far, at most a burst of them; `None` if nothing has. STOPPING=1 and an announcement count from the main
    /// process alone. Nothing is read while descriptors that came before take long to close.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub fn drain(&self, is_of: &impl Fn(i32) -> bool, is_main: &impl Fn(i32) -> bool) -> io::Result<Option<Heard>> {
        let mut heard = Heard::default();
        for count in 0..BURST {
            if self.closer.is_behind() {
                break;
            }
            let mut bytes = [0; MESSAGE_MAX];
            match packet::receive(self.fd.get_ref(), &mut bytes) {
                Ok(Packet { length, sender, mut descriptors }) => {
                    match sender.filter(|pid| self.is_known(*pid, is_of)) {
                        Some(pid) => heard.add(&bytes[..length], &mut descriptors, is_main(pid)),
                        None => self.tell_of_trespasser(sender.unwrap_or_default()),
                    }
                    self.closer.close(descriptors);
                }
                Err(Errno::EAGAIN) if count == 0 => return Ok(None),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(heard))
    }

    fn is_known(&self, pid: i32, is_of: &impl Fn(i32) -> bool) -> bool {
        let now = Instant::now();
        let strange = |(stranger, since): (i32, Instant)| stranger == pid && now.duration_since(since) < STRANGE;
        if self.stranger.get().is_some_and(strange) {
            return false;
        }
        let known = is_of(pid);
        if !known {
            self.stranger.set(Some((pid, now)));
        }
        known
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

/// Messages that were read.
#[derive(Debug, Default)]
pub struct Heard {
    /// What they say, in order.
    pub notices: Vec<Notice>,
    /// The socket at which the main process waits for an answer to its announcement.
    pub announced: Option<OwnedFd>,
}

impl Heard {
    /// Adds a message. What is kept of its descriptors is taken out; for BARRIER=1 their closing is the answer.
    fn add(&mut self, message: &[u8], descriptors: &mut Vec<OwnedFd>, is_main: bool) {
        // A helper of the worker's says it of itself, if at all: it may have inherited NOTIFY_SOCKET.
        let counts = |notice: &Notice| is_main || !matches!(notice, Notice::Stopping | Notice::Announced);
        let notices: Vec<Notice> = parse(message).into_iter().filter(counts).collect();
        // A socket of another kind could hold up whoever answers at it.
        if notices.contains(&Notice::Announced) && descriptors.first().is_some_and(is_for_packets) {
            let earlier = self.announced.replace(descriptors.remove(0));
            descriptors.extend(earlier);
        }
        self.notices.extend(notices);
    }
}

/// Binds a Unix socket that only `owner` may connect to, never open to others for a moment.
pub(super) fn bind_at(fd: &impl AsRawFd, path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<SocketFile> {
    use nix::sys::stat::{Mode, umask};
    // Left by a master that was killed: we hold the instance's lock, so it is nobody's.
    remove_file(path);
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use gin_shared::descriptors::{Waiting, receive, send};
    use nix::sys::socket::socketpair;
    use tempfile::TempDir;

    use super::*;
    use crate::os::closer::tests::lingering;

    /// The master's end, and a worker's, in a directory of their own.
    fn connected() -> (TempDir, NotifySocket, UnixDatagram) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("notify");
        let notify = NotifySocket::bind(&place, None).unwrap();
        let worker = UnixDatagram::unbound().unwrap();
        worker.connect(&place).unwrap();
        (dir, notify, worker)
    }

    #[tokio::test]
    async fn the_socket_of_an_announcement_is_kept_and_other_descriptors_are_closed() {
        let (_dir, notify, worker) = connected();
        let own = i32::try_from(std::process::id()).unwrap();
        let hear = |line: &[u8], is_main: bool| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
            send(&worker, line, &[there.as_fd()]).unwrap();
            drop(there);
            let heard = notify.drain(&|pid| pid == own, &|_| is_main).unwrap().unwrap();
            let is_kept = heard.announced.is_some();
            if is_kept {
                send(&here, b"x", &[]).expect("what is kept is open");
            } else {
                assert_eq!(receive(&here, &mut [0], Waiting::Yes).unwrap().0, 0, "what is not kept is closed");
            }
            (is_kept, heard.notices)
        };
        assert_eq!(hear(b"X_GIN_ANNOUNCE=1\n", true), (true, vec![Notice::Announced]));
        // A helper that has inherited the variables is not the worker.
        assert_eq!(hear(b"X_GIN_ANNOUNCE=1\n", false), (false, Vec::new()));
        assert_eq!(hear(b"BARRIER=1", true), (false, vec![Notice::Barrier]));
    }

    #[tokio::test]
    async fn a_descriptor_that_takes_long_to_close_holds_up_nobody() {
        let (_dir, notify, worker) = connected();
        let own = i32::try_from(std::process::id()).unwrap();
        let (slow, _peer) = lingering();
        send(&worker, b"X_GIN_ANNOUNCE=1\nBARRIER=1", &[slow.as_fd()]).unwrap();
        // The last copy is in the queue.
        drop(slow);
        let began = Instant::now();
        let heard = notify.drain(&|pid| pid == own, &|_| true).unwrap().unwrap();
        assert!(heard.announced.is_none(), "that is no socket for an answer");
        let (unread, _other_peer) = lingering();
        send(&worker, b"BARRIER=1", &[unread.as_fd()]).unwrap();
        drop(unread);
        drop(notify);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
