//! The sockets that clients connect to: bound once, held as long as the master lives, passed to every worker.

mod error;
mod gathering;
mod spec;
mod stale;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use gin_shared::inherit::set_nonblocking;
use gin_shared::listen::Address;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, UnixAddr, bind, getsockname,
    getsockopt, listen, setsockopt, socket, sockopt,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::socket_file::{Access, BoundFile};
use super::{fault, succession};
use crate::socket_record::SocketRecord;
pub use error::ListenError;
use error::in_use;
pub use gathering::{Existing, Listening, gather};
pub use spec::{ListenerSpec, backlog_warning, somaxconn};
pub use stale::remove_stale;

/// A socket that clients connect to. The file of a Unix socket goes with it.
#[derive(Debug)]
pub struct Listener {
    /// The configured address: port 0 stays 0.
    pub asked: Address,
    /// The address where it listens.
    pub address: Address,
    backlog: Cell<u32>,
    fd: OwnedFd,
    /// Names it in the whole system.
    inode: u64,
    /// True if the service manager passed it.
    passed: bool,
    file: Option<BoundFile>,
}

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// See [`ListenError`]. Nothing is left behind.
    pub fn bind(spec: &ListenerSpec) -> Result<Self, ListenError> {
        let (asked, mut address) = (spec.address.clone(), spec.address.clone());
        let failed = |step| {
            let address = asked.clone();
            move |error| ListenError::System { address, step, error }
        };
        let family = match &asked {
            Address::Tcp(SocketAddr::V4(_)) | Address::Udp(SocketAddr::V4(_)) => AddressFamily::Inet,
            Address::Tcp(SocketAddr::V6(_)) | Address::Udp(SocketAddr::V6(_)) => AddressFamily::Inet6,
            Address::Unix(_) => AddressFamily::Unix,
        };
        let kind = if matches!(asked, Address::Udp(_)) { SockType::Datagram } else { SockType::Stream };
        fault::at("listener.socket").map_err(failed("socket"))?;
        let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).map_err(failed("socket"))?;
        let mut file = None;
        match &mut address {
            Address::Tcp(ip) | Address::Udp(ip) => {
                // For UDP it would let others bind the same address beside it.
                if kind == SockType::Stream {
                    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(failed("SO_REUSEADDR"))?;
                }
                if ip.is_ipv6() {
                    // [::] means IPv6; an IPv4 listener on the same port may stand beside it.
                    setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(failed("IPV6_V6ONLY"))?;
                }
                fault::at("listener.bind").map_err(failed("bind"))?;
                bind(fd.as_raw_fd(), &SockaddrStorage::from(*ip)).map_err(|error| in_use(&asked, error))?;
                let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(failed("getsockname"))?;
                let v4 = bound.as_sockaddr_in().map(SockaddrIn::port);
                ip.set_port(v4.or(bound.as_sockaddr_in6().map(SockaddrIn6::port)).unwrap_or(0));
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let unix = UnixAddr::new(path.as_path()).map_err(failed("address"))?;
                bind(fd.as_raw_fd(), &unix).map_err(|error| in_use(&asked, error))?;
                file = Some(BoundFile::of_bound(path));
            }
        }
        let inode = succession::inode(&fd).map_err(|_| failed("fstat")(Errno::last()))?;
        let backlog = Cell::new(0);
        let listener = Self { asked: asked.clone(), address, backlog, fd, inode, passed: false, file };
        listener.apply_permissions(spec).map_err(|error| ListenError::Permissions { address: asked.clone(), error })?;
        listener.listen(spec.backlog).map_err(|error| in_use(&asked, error))?;
        if spec.nonblocking {
            set_nonblocking(&listener.fd, true)
                .map_err(|e| failed("O_NONBLOCK")(Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
        }
        Ok(listener)
    }

    /// Takes one that was passed, which `spec` is to mean. It may be any socket that is bound; its file is not ours.
    #[must_use]
    pub fn adopt(fd: OwnedFd, asked: Address, address: Address) -> Self {
        // Its backlog cannot be read: 0 has it set when the first generation serves.
        let inode = succession::inode(&fd).unwrap_or_default();
        Self { asked, address, backlog: Cell::new(0), fd, inode, passed: true, file: None }
    }

    /// Takes one over from a master before this one.
    #[must_use]
    pub fn resume(socket: SocketRecord, fd: OwnedFd) -> Self {
        let file = match (&socket.address, socket.file) {
            (Address::Unix(path), Some(id)) => Some(BoundFile::resume(path, Some(id))),
            _ => None,
        };
        let SocketRecord { inode, asked, address, backlog, passed, .. } = socket;
        Self { asked, address, backlog: Cell::new(backlog), fd, inode, passed, file }
    }

    /// The same, asked for at another address: port 0, say.
    #[must_use]
    pub fn asked_at(mut self, asked: Address) -> Self {
        self.asked = asked;
        self
    }

    /// True if a service manager passed it.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.passed
    }

    /// Closes it. Its file stays for as long as the value that is given: another process may listen there.
    #[must_use]
    pub fn into_file(self) -> Option<BoundFile> {
        self.file
    }

    /// True if clients can connect: the file of a Unix socket may have been removed, or another lies there.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.file.as_ref().is_none_or(|file| file.id().is_none() || file.is_there())
    }

    /// True if it takes connections still: a process that has it may have shut it down, for all that have it (shutdown(2)).
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.address {
            Address::Tcp(_) => getsockopt(&self.fd, sockopt::AcceptConn).unwrap_or(true),
            Address::Unix(_) => {
                let mut shut = [PollFd::new(&self.fd, PollFlags::empty())];
                let polled = poll(&mut shut, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
                polled.is_err() || !shut[0].revents().contains(PollFlags::HUP)
            }
            Address::Udp(_) => true,
        }
    }

    /// Opens it again, if it was shut down; a Unix socket cannot be, and is made anew by the next generation.
    pub fn reopen(&self) {
        if self.is_open() {
            return;
        }
        let address = &self.address;
        let again = match address {
            // One of port 0 has lost its port, too; the others are bound still. A backlog of 0: of one that was passed it is not known.
            Address::Tcp(ip) => match bind(self.fd.as_raw_fd(), &SockaddrStorage::from(*ip)) {
                Ok(()) | Err(Errno::EINVAL) => {
                    self.listen(if self.backlog.get() == 0 { u32::MAX } else { self.backlog.get() })
                }
                Err(error) => Err(error),
            },
            Address::Unix(_) | Address::Udp(_) => Err(Errno::ESHUTDOWN),
        };
        let text = "a worker has shut the listener down, for all (shutdown(2), where it should have closed it)";
        match again {
            Ok(()) => tracing::error!("{address}: {text}; it is open again, and who waited in its queue was refused"),
            Err(error) => {
                tracing::error!("{address}: {text}: {}; gin-ctl restart makes it anew", error.desc());
            }
        }
    }

    /// The listener as the state file describes it.
    #[must_use]
    pub fn record(&self) -> SocketRecord {
        SocketRecord {
            inode: self.inode,
            asked: self.asked.clone(),
            address: self.address.clone(),
            backlog: self.backlog.get(),
            passed: self.passed,
            file: self.file.as_ref().and_then(BoundFile::id),
            closed: false,
        }
    }

    /// Makes it as `spec` wants it: O_NONBLOCK, backlog, and owner and mode of a socket that was bound here.
    ///
    /// # Errors
    /// The errors of `chown(2)` and `listen(2)`.
    pub fn apply(&self, spec: &ListenerSpec) -> io::Result<()> {
        // Never back: many servers set it themselves, and would hang in accept if it were taken from them.
        if spec.nonblocking {
            set_nonblocking(&self.fd, true)?;
        }
        if self.file.is_some() {
            self.apply_permissions(spec)?;
        }
        if self.backlog.get() != spec.backlog.min(somaxconn()) {
            self.listen(spec.backlog)?;
        }
        Ok(())
    }

    fn apply_permissions(&self, spec: &ListenerSpec) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.permit(Access { owner: spec.owner, group: spec.group, mode: spec.mode })
    }

    /// Again with another backlog is allowed, and loses nothing that waits (listen(2)).
    fn listen(&self, backlog: u32) -> nix::Result<()> {
        if matches!(self.address, Address::Udp(_)) {
            return Ok(());
        }
        let backlog = backlog.min(somaxconn());
        fault::at("listener.listen")?;
        listen(&self.fd, Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX))?)?;
        self.backlog.set(backlog);
        Ok(())
    }

    /// The backlog that the kernel grants; 0 for UDP.
    #[must_use]
    pub fn backlog(&self) -> u32 {
        self.backlog.get()
    }

    /// True if a client waits to be accepted; never for UDP. `proc_net::waiting` knows who.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        match self.address {
            Address::Tcp(_) => self.queue().is_some_and(|queue| queue > 0),
            Address::Unix(_) => {
                let mut waiting = [PollFd::new(&self.fd, PollFlags::IN)];
                let polled = poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
                polled.is_ok() && waiting[0].revents().contains(PollFlags::IN)
            }
            Address::Udp(_) => false,
        }
    }

    /// The number of connections that wait to be accepted; unknown for Unix sockets and UDP.
    #[must_use]
    pub fn queue(&self) -> Option<u32> {
        match self.address {
            Address::Tcp(_) => accept_queue(&self.fd),
            Address::Unix(_) | Address::Udp(_) => None,
        }
    }
}

/// Of a TCP socket that listens: `tcpi_unacked` counts what waits to be accepted (tcp(7), the kernel's tcp_get_info).
#[allow(unsafe_code, reason = "nix has no TCP_INFO")]
fn accept_queue(fd: &OwnedFd) -> Option<u32> {
    use nix::libc;
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the kernel writes `length` bytes at most, which `info` has; all of its fields are integers, for which zeros
    // are fine.
    let info = unsafe {
        let option = libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        (option == 0).then(|| info.assume_init())
    };
    info.map(|info| info.tcpi_unacked)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(host) else { continue };
            let address = listener.local_addr().unwrap();
            let fd = OwnedFd::from(listener);
            assert_eq!(accept_queue(&fd), Some(0));
            let _waiting = std::net::TcpStream::connect(address).unwrap();
            assert_eq!(accept_queue(&fd), Some(1));
        }
    }
}
