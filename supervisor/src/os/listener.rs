//! The sockets that clients connect to: bound once, held as long as the master lives, passed to every worker.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gin_shared::inherit::set_nonblocking;
use gin_shared::listen::Address;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, getsockopt, listen, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use serde::{Deserialize, Serialize};

use super::socket_file::{self, Access};
use super::{fault, proc_net, succession};
use crate::socket_record::SocketRecord;

/// The kernel's own limit for backlogs.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// A listener as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// Its name, for LISTEN_FDNAMES and people.
    pub name: String,
    /// The address.
    pub address: Address,
    /// The number of connections that may wait.
    pub backlog: u32,
    /// For Unix sockets: the file's mode.
    #[serde(default)]
    pub mode: Option<u32>,
    /// For Unix sockets: the file's owner.
    #[serde(default, with = "ids::uid")]
    pub owner: Option<Uid>,
    /// For Unix sockets: the file's group.
    #[serde(default, with = "ids::gid")]
    pub group: Option<Gid>,
    /// O_NONBLOCK, which all that share the socket share.
    #[serde(default)]
    pub nonblocking: bool,
}

/// Users and groups by number.
mod ids {
    macro_rules! by_number {
        ($module:ident, $id:ident) => {
            pub(super) mod $module {
                use nix::unistd::$id;
                use serde::{Deserialize, Deserializer, Serialize, Serializer};

                pub(in super::super) fn serialize<S: Serializer>(id: &Option<$id>, to: S) -> Result<S::Ok, S::Error> {
                    id.map($id::as_raw).serialize(to)
                }

                pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<$id>, D::Error> {
                    Ok(Option::<u32>::deserialize(from)?.map($id::from_raw))
                }
            }
        };
    }
    by_number!(uid, Uid);
    by_number!(gid, Gid);
}

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

/// The file of a Unix socket that was bound here. It is removed with this value.
#[derive(Debug)]
pub struct BoundFile {
    path: PathBuf,
    /// Its device and inode, for another may lie there by now.
    id: (u64, u64),
}

impl BoundFile {
    fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.id)
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("cannot listen on {address}: address in use by {holder}")]
    InUse {
        /// The address.
        address: Address,
        /// That process, as far as it can be seen.
        holder: String,
    },
    /// Something lies at the path that is no socket.
    #[error("cannot listen on unix:{0}: a file that is not a socket lies there; move it away")]
    NotASocket(PathBuf),
    /// Its owner or mode cannot be set.
    #[error("cannot listen on {address}: owner and mode: {error}")]
    Permissions {
        /// The address.
        address: Address,
        /// The system's error.
        error: io::Error,
    },
    /// The kernel said no.
    #[error("cannot listen on {address}: {step}: {error}{}", hint(address, step, *error))]
    System {
        /// The address.
        address: Address,
        /// The step.
        step: &'static str,
        /// The kernel's error.
        error: Errno,
    },
}

/// Ways to a port that the kernel keeps for root.
fn hint(address: &Address, step: &str, error: Errno) -> &'static str {
    let is_low = matches!(address, Address::Tcp(ip) | Address::Udp(ip) if ip.port() < 1024);
    if is_low && step == "bind" && error == Errno::EACCES {
        "; a port below 1024 takes root, or CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit), or a socket unit (gin-ctl \
         unit NAME --only-socket)"
    } else {
        ""
    }
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
                let id = std::fs::symlink_metadata(&*path).map_or((0, 0), |file| (file.dev(), file.ino()));
                file = Some(BoundFile { path: path.clone(), id });
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
        let path = if let Address::Unix(path) = &socket.address { Some(path.clone()) } else { None };
        let file = path.zip(socket.file).map(|(path, id)| BoundFile { path, id });
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
        self.file.as_ref().is_none_or(BoundFile::is_there)
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
            file: self.file.as_ref().map(|file| file.id),
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
        let Some(BoundFile { path, id }) = &self.file else { return Ok(()) };
        socket_file::permit(path, *id, Access { owner: spec.owner, group: spec.group, mode: spec.mode })
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

    /// True if a client waits to be accepted; never for UDP. [`proc_net::waiting`] knows who.
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

/// A socket as one generation has it: under this name, and with these settings.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The listener as it is configured.
    pub spec: ListenerSpec,
    /// Shared with the generations that have it, too.
    pub socket: Rc<Listener>,
}

/// A socket that there is, and the names that generations have it under.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Shared with them.
    pub socket: Rc<Listener>,
    /// Maybe none yet.
    pub names: Vec<String>,
}

/// A new address may overlap one that is held here: 0.0.0.0 and 127.0.0.1 of one port cannot stand side by side.
fn ours(error: ListenError, existing: &[Existing]) -> ListenError {
    let ListenError::InUse { address: Address::Tcp(wanted), .. } = &error else { return error };
    let overlaps = |held: &&Existing| {
        matches!(&held.socket.address, Address::Tcp(held) if held.port() == wanted.port()
            && (held.ip().is_unspecified() || wanted.ip().is_unspecified()))
    };
    match existing.iter().find(overlaps) {
        Some(held) => {
            let holder = format!(
                "this supervisor's own listener on {}, which it overlaps; take another port, or start the supervisor anew",
                held.socket.address
            );
            ListenError::InUse { address: Address::Tcp(*wanted), holder }
        }
        None => error,
    }
}

/// The sockets that `specs` ask for: those of `existing` where they fit, the others made anew. All or none.
///
/// # Errors
/// See [`ListenError`]; what was made is gone again.
pub fn gather(specs: &[ListenerSpec], existing: &[Existing]) -> Result<Vec<Listening>, ListenError> {
    let mut taken: Vec<Listening> = Vec::new();
    for spec in specs {
        let is = |other: &Rc<Listener>, socket: &Rc<Listener>| Rc::ptr_eq(other, socket);
        let free = |socket: &&Existing| !taken.iter().any(|other| is(&other.socket, &socket.socket));
        // One that clients cannot connect to any more is made anew.
        let serves = |socket: &Listener| {
            socket.reopen();
            socket.is_open() && socket.is_reachable()
        };
        let fits = |socket: &&Existing| socket.socket.asked == spec.address && serves(&socket.socket);
        let mut fitting = existing.iter().filter(free).filter(fits);
        // Two of port 0 differ by name alone.
        let named = fitting.clone().find(|socket| socket.names.contains(&spec.name));
        let socket = match named.or_else(|| fitting.next()) {
            Some(socket) => {
                // One that was passed, and that nobody accepts from yet.
                if socket.names.is_empty() && spec.nonblocking {
                    let failed = |_| ListenError::System {
                        address: spec.address.clone(),
                        step: "O_NONBLOCK",
                        error: Errno::last(),
                    };
                    set_nonblocking(&socket.socket.fd, true).map_err(failed)?;
                }
                Rc::clone(&socket.socket)
            }
            None => Rc::new(Listener::bind(spec).map_err(|error| ours(error, existing))?),
        };
        taken.push(Listening { spec: spec.clone(), socket });
    }
    Ok(taken)
}

fn in_use(address: &Address, error: Errno) -> ListenError {
    let address = address.clone();
    match error {
        Errno::EADDRINUSE => {
            let holder = proc_net::holder(&address)
                .unwrap_or_else(|| "a process that this user cannot see (try: ss -ltnp as root)".to_owned());
            ListenError::InUse { address, holder }
        }
        error => ListenError::System { address, step: "bind", error },
    }
}

/// Removes the socket file that a crash left behind; one that somebody listens on stays.
///
/// # Errors
/// If somebody listens there, or it is no socket.
pub fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let address = Address::Unix(path.to_owned());
    let failed = |step, error| ListenError::System { address: address.clone(), step, error };
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|e| failed("socket", e))?;
    let unix = UnixAddr::new(path).map_err(|e| failed("address", e))?;
    match connect(probe.as_raw_fd(), &unix) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path)
            .map_err(|e| failed("removing the stale socket", Errno::from_raw(e.raw_os_error().unwrap_or(0)))),
        _ => Err(in_use(&address, Errno::EADDRINUSE)),
    }
}

/// The most that the kernel grants.
#[must_use]
pub fn somaxconn() -> u32 {
    std::fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(4096)
}

/// Something to tell about a backlog that is cut.
#[must_use]
pub fn backlog_warning(spec: &ListenerSpec) -> Option<String> {
    let limit = somaxconn();
    (spec.backlog > limit).then(|| {
        format!(
            "listener {}: backlog {} is cut to net.core.somaxconn = {limit}; raise that with sysctl",
            spec.name, spec.backlog
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_that_is_refused_says_what_it_takes() {
        let refused = |address: &str, step| {
            let address = address.parse().unwrap();
            ListenError::System { address, step, error: Errno::EACCES }.to_string()
        };
        assert!(refused("127.0.0.1:80", "bind").contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused("127.0.0.1:8080", "bind").contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused("unix:/run/shop.sock", "bind").contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused("127.0.0.1:80", "listen").contains("CAP_NET_BIND_SERVICE"));
    }

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
