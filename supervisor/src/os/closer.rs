//! Closing what another process has sent. Such a descriptor may take as long to close as that process likes: a TCP socket with SO_LINGER,
//! or whose lock somebody holds, a file of FUSE. A thread waits for that, and not the loop.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Descriptors that may wait to be closed. Whoever has sent so many is not heard until there are fewer.
const WAITING_MAX: usize = 64;

/// The descriptors of all senders that are not closed yet.
static UNCLOSED: AtomicUsize = AtomicUsize::new(0);

/// True if everything that was to be closed is. Another program that is executed here (execve(2)) waits for the rest.
#[must_use]
pub fn is_done() -> bool {
    UNCLOSED.load(Ordering::SeqCst) == 0
}

/// Closes the descriptors of one sender. A copy has the same queue.
#[derive(Debug, Clone, Default)]
pub struct Closer(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<OwnedFd>,
    /// True if a thread closes what waits. It ends when nothing does.
    has_thread: bool,
}

impl Closer {
    /// Closes them elsewhere, one after the other.
    pub fn close(&self, descriptors: impl IntoIterator<Item = OwnedFd>) {
        let mut queue = self.lock();
        let before = queue.waiting.len();
        queue.waiting.extend(descriptors);
        UNCLOSED.fetch_add(queue.waiting.len() - before, Ordering::SeqCst);
        if queue.waiting.is_empty() || std::mem::replace(&mut queue.has_thread, true) {
            return;
        }
        drop(queue);
        let own = self.clone();
        if std::thread::Builder::new().name("closing".to_owned()).spawn(move || own.run()).is_err() {
            // There is no thread to be had.
            self.run();
        }
    }

    /// True if nothing more should be taken of the sender for now.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.lock().waiting.len() >= WAITING_MAX
    }

    fn run(&self) {
        while let Some(descriptor) = self.pop() {
            drop(descriptor);
            UNCLOSED.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn pop(&self) -> Option<OwnedFd> {
        let mut queue = self.lock();
        let first = queue.waiting.pop_front();
        queue.has_thread = first.is_some();
        first
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket of ours to which another process may send descriptors. Those that nobody has received close with it, and so it is closed
/// elsewhere, too.
#[derive(Debug)]
pub struct OpenToOthers {
    fd: Option<OwnedFd>,
    closer: Closer,
}

impl OpenToOthers {
    /// Keeps this socket.
    #[must_use]
    pub fn new(fd: OwnedFd, closer: Closer) -> Self {
        Self { fd: Some(fd), closer }
    }

    fn get(&self) -> &OwnedFd {
        self.fd.as_ref().expect("it is taken out when this is dropped")
    }
}

impl AsFd for OpenToOthers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get().as_fd()
    }
}

impl AsRawFd for OpenToOthers {
    fn as_raw_fd(&self) -> RawFd {
        self.get().as_raw_fd()
    }
}

impl Drop for OpenToOthers {
    fn drop(&mut self) {
        self.closer.close(self.fd.take());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use nix::libc::linger;
    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    /// A socket that takes a minute to close, unless the other one, which its peer has, is closed before.
    pub(in crate::os) fn lingering() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let full = loop {
            if let Err(error) = socket.write(&[0; 1 << 16]) {
                break error.kind();
            }
        };
        assert_eq!(full, ErrorKind::WouldBlock);
        setsockopt(&socket, sockopt::Linger, &linger { l_onoff: 1, l_linger: 60 }).unwrap();
        (socket.into(), peer)
    }

    #[test]
    fn what_takes_long_to_close_is_waited_for_elsewhere_and_its_sender_is_not_heard_meanwhile() {
        let closer = Closer::default();
        let (slow, peer) = lingering();
        closer.close([slow]);
        assert!(!closer.is_behind());
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        closer.close(std::iter::repeat_with(|| theirs.try_clone().unwrap().into()).take(WAITING_MAX));
        assert!(closer.is_behind());
        drop((theirs, peer));
        // The last copy is closed.
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        assert!(!closer.is_behind());
    }
}
