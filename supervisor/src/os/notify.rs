//! The socket at which one worker speaks `sd_notify(3)`: by path, so that who speaks is known without trusting PIDs.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt};
use nix::unistd::{Gid, Uid};
use tokio::io::unix::AsyncFd;

use super::fault;
use super::runtime::remove_file;
use gin_shared::notify::{MESSAGE_MAX, Notice, parse};

/// Messages read before other sources get their turn.
pub const BURST: usize = 32;
/// How long a process that is none of the worker's counts as such without being looked at again.
const STRANGE: Duration = Duration::from_millis(100);

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
    fd: AsyncFd<OwnedFd>,
    file: SocketFile,
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
        Ok(Self::new(super::watch::readable(fd)?, file))
    }

    /// Takes over the one that a master before this one made; without it, makes another in its place.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn resume(fd: Option<OwnedFd>, path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        match fd {
            // The file stays if this fails: the next try needs it.
            Some(fd) => Ok(Self::new(super::watch::readable(fd)?, SocketFile(path.to_owned()))),
            None => Self::bind(path, owner),
        }
    }

    fn new(fd: AsyncFd<OwnedFd>, file: SocketFile) -> Self {
        Self { fd, file, trespassed: Cell::new(false), stranger: Cell::new(None) }
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
            let mut guard = self.fd.readable().await?;
            match self.drain(&is_of, &is_main)? {
                Some(heard) => return Ok(heard),
                None => guard.clear_ready(),
            }
        }
    }

    /// Messages that have come so far, at most a burst of them; `None` if nothing has. STOPPING=1 and an announcement count from the main
    /// process alone.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub fn drain(&self, is_of: &impl Fn(i32) -> bool, is_main: &impl Fn(i32) -> bool) -> io::Result<Option<Heard>> {
        let mut heard = Heard::default();
        for count in 0..BURST {
            let mut bytes = [0; MESSAGE_MAX];
            match receive_one(self.fd.get_ref(), &mut bytes) {
                Ok(Datagram { length, sender: Some(pid), descriptor }) if self.is_known(pid, is_of) => {
                    // A helper of the worker's says it of itself, if at all: it may have inherited NOTIFY_SOCKET.
                    let counts =
                        |notice: &Notice| !matches!(notice, Notice::Stopping | Notice::Announced) || is_main(pid);
                    let notices: Vec<Notice> = parse(&bytes[..length]).into_iter().filter(counts).collect();
                    if notices.contains(&Notice::Announced) {
                        heard.announced = descriptor.or(heard.announced);
                    }
                    heard.notices.extend(notices);
                }
                Ok(Datagram { sender, .. }) => self.tell_of_trespasser(sender.unwrap_or_default()),
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

/// Room for what may come along: descriptors, as many as one message can carry, and who sends it. Aligned as its headers are.
#[repr(align(8))]
struct Controls([u8; 2048]);

/// A datagram.
struct Datagram {
    length: usize,
    /// The process that sent it, by the kernel's word.
    sender: Option<i32>,
    /// The first descriptor that came along.
    descriptor: Option<OwnedFd>,
}

/// Reads one datagram. Of the descriptors that came along the first is kept, and only an announcement has a use for it: for BARRIER=1 its
/// closing is the answer.
///
/// By hand, for nix gives nothing of a message whose descriptors did not all find room, though some of them are ours then.
#[allow(unsafe_code, reason = "control messages are read where the kernel has put them")]
fn receive_one(fd: &OwnedFd, bytes: &mut [u8]) -> nix::Result<Datagram> {
    use nix::libc;
    let mut controls = Controls([0; 2048]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: integers and pointers, for which zeros are fine.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = ((&raw mut controls.0).cast(), size_of::<Controls>());
    // SAFETY: the buffers that it points to are as long as it says, and live until it is dropped.
    let length =
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) };
    let length = usize::try_from(Errno::result(length)?).map_err(|_| Errno::EIO)?;
    let (mut sender, mut descriptor) = (None, None);
    // SAFETY: the kernel has filled in `message`; each header that these macros give lies in `controls` (cmsg(3)).
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !control.is_null() {
        // SAFETY: see above; its data are as long as its header says, and may lie anyhow.
        unsafe {
            let (header, data) = (&*control, libc::CMSG_DATA(control));
            let size = header.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..size / size_of::<RawFd>() {
                        // The kernel has just made this descriptor for us, and nothing else knows its number.
                        let received = OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned());
                        descriptor = descriptor.or(Some(received));
                    }
                }
                // By the kernel's word.
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if size >= size_of::<libc::ucred>() => {
                    sender = Some(data.cast::<libc::ucred>().read_unaligned().pid);
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(&raw const message, control);
        }
    }
    Ok(Datagram { length, sender, descriptor })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use gin_shared::descriptors::send;
    use nix::sys::socket::socketpair;

    use super::*;

    #[tokio::test]
    async fn the_socket_of_an_announcement_is_kept_and_other_descriptors_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("notify");
        let notify = NotifySocket::bind(&place, None).unwrap();
        let worker = UnixDatagram::unbound().unwrap();
        worker.connect(&place).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let hear = |line: &[u8], is_main: bool| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
            send(&worker, line, &[there.as_fd()]).unwrap();
            drop(there);
            let heard = notify.drain(&|pid| pid == own, &|_| is_main).unwrap().unwrap();
            let is_kept = heard.announced.is_some();
            let is_open = send(&here, b"x", &[]).is_ok();
            assert_eq!(is_kept, is_open, "what is not kept is closed");
            (is_kept, heard.notices)
        };
        assert_eq!(hear(b"X_GIN_ANNOUNCE=1\n", true), (true, vec![Notice::Announced]));
        // A helper that has inherited the variables is not the worker.
        assert_eq!(hear(b"X_GIN_ANNOUNCE=1\n", false), (false, Vec::new()));
        assert_eq!(hear(b"BARRIER=1", true), (false, vec![Notice::Barrier]));
    }
}
