//! The channel's sockets: the listening one that a worker inherits, and the connection to it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket, socketpair};
use nix::unistd::{Gid, Uid};
use tokio::io::unix::AsyncFd;

use super::closer::{Closer, OpenToOthers};
use super::fault;
use super::notify::{BEHIND, SocketFile};
use super::packet::{self, Packet};
use gin_shared::channel::{FromMaster, FromWorker, MESSAGE_MAX, decode, encode};
use gin_shared::descriptors::{self, refuse_descriptors};

/// A socket from one worker to another, for connections to pass through.
///
/// # Errors
/// The errors of `socketpair(2)`.
pub fn between_workers() -> io::Result<(OwnedFd, OwnedFd)> {
    fault::at("handover.socketpair")?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// The socket that the worker inherits. Its file goes with it.
#[derive(Debug)]
pub struct ChannelListener {
    /// To be passed on; with the worker alone, after a succession.
    pub fd: Option<OwnedFd>,
    file: SocketFile,
}

impl ChannelListener {
    /// Makes it.
    ///
    /// # Errors
    /// Those of `bind(2)`.
    pub fn bind(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        fault::at("channel.socket")?;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        let file = super::notify::bind_at(&fd, path, owner)?;
        fault::at("channel.listen")?;
        listen(&fd, Backlog::new(4)?)?;
        Ok(Self { fd: Some(fd), file })
    }

    /// The one that a worker of a master before this one has.
    #[must_use]
    pub fn resume(path: &Path) -> Self {
        Self { fd: None, file: SocketFile(path.to_owned()) }
    }

    /// Connects to it and says hello. The worker need not run yet: the connection waits in the queue.
    ///
    /// # Errors
    /// Those of `connect(2)`.
    pub fn connect(&self) -> io::Result<Channel> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        fault::at("channel.connect")?;
        refuse_descriptors(&fd);
        connect(fd.as_raw_fd(), &UnixAddr::new(&self.file.0)?)?;
        let channel = Channel::new(fd)?;
        channel.send(&FromMaster::Hello { version: gin_shared::channel::VERSION }, &[])?;
        Ok(channel)
    }
}

/// The master's end.
#[derive(Debug)]
pub struct Channel {
    fd: AsyncFd<OpenToOthers>,
    /// A worker has no descriptor to send here. It may send some all the same.
    closer: Closer,
}

impl Channel {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let closer = Closer::default();
        Ok(Self { fd: super::watch::readable(OpenToOthers::new(fd, closer.clone()))?, closer })
    }

    /// Sends a message, and copies of descriptors with it; a few fit even if the worker reads none.
    ///
    /// # Errors
    /// The errors of `sendmsg(2)`: the worker is gone, or does not read.
    pub fn send(&self, message: &FromMaster, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        fault::at("channel.send")?;
        if !fds.is_empty() {
            fault::at("handover.send")?;
        }
        descriptors::send(self.fd.get_ref(), &encode(message), fds)
    }

    /// True if the worker has received everything that was sent: no descriptor of ours waits in its queue.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    pub fn is_read(&self) -> io::Result<bool> {
        unread(self.fd.get_ref()).map(|bytes| bytes == 0)
    }

    /// One that has come already; `None` if there is none.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn try_receive(&self) -> io::Result<Option<FromWorker>> {
        let mut bytes = vec![0; MESSAGE_MAX];
        match self.read(&mut bytes) {
            Ok(0) | Err(Errno::EAGAIN) => Ok(None),
            Ok(length) => Ok(Some(decode(&bytes[..length])?)),
            Err(error) => Err(error.into()),
        }
    }

    /// The next message; `None` once the worker has closed its end.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`, and a message that is none.
    pub async fn receive(&self) -> io::Result<Option<FromWorker>> {
        let mut bytes = vec![0; MESSAGE_MAX];
        loop {
            while self.closer.is_behind() {
                tokio::time::sleep(BEHIND).await;
            }
            let mut guard = self.fd.readable().await?;
            match self.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(length) => return Ok(Some(decode(&bytes[..length])?)),
                Err(Errno::EAGAIN) => guard.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads a packet; gives its length. Nothing is read while descriptors that came before take long to close.
    fn read(&self, bytes: &mut [u8]) -> nix::Result<usize> {
        if self.closer.is_behind() {
            return Err(Errno::EAGAIN);
        }
        let Packet { length, descriptors, .. } = match packet::receive(self.fd.get_ref(), bytes) {
            // Said once of a worker that ended before it read everything. What it has said itself comes behind.
            Err(Errno::ECONNRESET) => packet::receive(self.fd.get_ref(), bytes)?,
            received => received?,
        };
        self.closer.close(descriptors);
        Ok(length)
    }
}

/// Memory that what was sent and not received takes, in bytes (SIOCOUTQ of unix(7)).
#[allow(unsafe_code, reason = "nix has no such request")]
fn unread(socket: &impl AsRawFd) -> io::Result<libc::c_int> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request (SIOCOUTQ is another name of TIOCOUTQ) writes one int, which outlives the call; the descriptor is open.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::os::closer::tests::lingering;

    #[tokio::test]
    async fn a_worker_that_does_not_read_is_known_by_its_queue() {
        let (ours, theirs) = between_workers().unwrap();
        let channel = Channel::new(ours).unwrap();
        assert!(channel.is_read().unwrap());
        let (one, other) = between_workers().unwrap();
        channel.send(&FromMaster::Relieve, &[one.as_fd(), other.as_fd()]).unwrap();
        assert!(!channel.is_read().unwrap());
        let (_, received) = descriptors::receive(&theirs, &mut [0; MESSAGE_MAX], descriptors::Waiting::No).unwrap();
        assert_eq!(received.len(), 2);
        assert!(channel.is_read().unwrap());
    }

    #[tokio::test]
    async fn the_last_words_of_a_worker_that_did_not_read_are_read() {
        for at_once in [true, false] {
            let (ours, theirs) = between_workers().unwrap();
            let channel = Channel::new(ours).unwrap();
            channel.send(&FromMaster::Go, &[]).unwrap();
            descriptors::send(&theirs, &encode(&FromWorker::Room), &[]).unwrap();
            drop(theirs);
            let next = async || if at_once { channel.try_receive() } else { channel.receive().await };
            assert_eq!(next().await.unwrap(), Some(FromWorker::Room));
            assert_eq!(next().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_descriptor_that_comes_with_a_message_holds_up_nobody() {
        let (ours, theirs) = between_workers().unwrap();
        let channel = Channel::new(ours).unwrap();
        let (slow, _peer) = lingering();
        descriptors::send(&theirs, &encode(&FromWorker::Room), &[slow.as_fd()]).unwrap();
        drop(slow);
        let began = Instant::now();
        assert_eq!(channel.receive().await.unwrap(), Some(FromWorker::Room));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}
