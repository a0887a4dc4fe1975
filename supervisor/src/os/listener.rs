//! The sockets that clients connect to: bound once, held as long as the master lives, passed to every worker.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gin_shared::inherit::set_nonblocking;
use gin_shared::listen::Address;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, listen, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, Uid};

use super::proc_net;

/// The kernel's own limit for backlogs.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// What to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSpec {
    /// Its name, for LISTEN_FDNAMES and people.
    pub name: String,
    /// Where.
    pub address: Address,
    /// How many connections may wait.
    pub backlog: u32,
    /// For Unix sockets: the file's mode.
    pub mode: Option<u32>,
    /// For Unix sockets: the file's owner.
    pub owner: Option<Uid>,
    /// For Unix sockets: the file's group.
    pub group: Option<Gid>,
    /// O_NONBLOCK, which all that share the socket share.
    pub nonblocking: bool,
}

/// A bound socket. A Unix socket's file goes with it.
#[derive(Debug)]
pub struct Listener {
    /// What was asked for; port 0 replaced by the one chosen.
    pub spec: ListenerSpec,
    /// The backlog that the kernel grants.
    pub backlog: u32,
    fd: OwnedFd,
    file: Option<PathBuf>,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there.
    #[error("cannot listen on {address}: address in use by {holder}")]
    InUse {
        /// Where.
        address: Address,
        /// Who, as far as can be seen.
        holder: String,
    },
    /// Something lies at the path that is no socket.
    #[error("cannot listen on unix:{0}: a file that is not a socket lies there; move it away")]
    NotASocket(PathBuf),
    /// The kernel said no.
    #[error("cannot listen on {address}: {step}: {error}")]
    System {
        /// Where.
        address: Address,
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        error: Errno,
    },
}

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// See [`ListenError`]. Nothing is left behind.
    pub fn bind(mut spec: ListenerSpec) -> Result<Self, ListenError> {
        let address = spec.address.clone();
        let failed = |step| {
            let address = address.clone();
            move |error| ListenError::System { address, step, error }
        };
        let family = match &spec.address {
            Address::Tcp(SocketAddr::V4(_)) => AddressFamily::Inet,
            Address::Tcp(SocketAddr::V6(_)) => AddressFamily::Inet6,
            Address::Unix(_) => AddressFamily::Unix,
        };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(failed("socket"))?;
        let mut file = None;
        match &mut spec.address {
            Address::Tcp(tcp) => {
                setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(failed("SO_REUSEADDR"))?;
                if tcp.is_ipv6() {
                    // [::] means IPv6; an IPv4 listener on the same port may stand beside it.
                    setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(failed("IPV6_V6ONLY"))?;
                }
                bind(fd.as_raw_fd(), &SockaddrStorage::from(*tcp)).map_err(|error| in_use(&address, error))?;
                let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(failed("getsockname"))?;
                let v4 = bound.as_sockaddr_in().map(SockaddrIn::port);
                tcp.set_port(v4.or(bound.as_sockaddr_in6().map(SockaddrIn6::port)).unwrap_or(0));
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let unix = UnixAddr::new(path.as_path()).map_err(failed("address"))?;
                bind(fd.as_raw_fd(), &unix).map_err(|error| in_use(&address, error))?;
                file = Some(path.clone());
            }
        }
        let backlog = spec.backlog.min(somaxconn());
        let mut listener = Self { spec, backlog, fd, file };
        listener.set_permissions().map_err(failed("mode and owner"))?;
        let length = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX)).map_err(failed("backlog"))?;
        listen(&listener.fd, length).map_err(|error| in_use(&address, error))?;
        listener.set_nonblocking(listener.spec.nonblocking).map_err(failed("O_NONBLOCK"))?;
        Ok(listener)
    }

    fn set_permissions(&mut self) -> nix::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        if self.spec.owner.is_some() || self.spec.group.is_some() {
            nix::unistd::chown(path.as_path(), self.spec.owner, self.spec.group)?;
        }
        if let Some(mode) = self.spec.mode {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, permissions).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
        }
        Ok(())
    }

    fn set_nonblocking(&mut self, nonblocking: bool) -> nix::Result<()> {
        set_nonblocking(&self.fd, nonblocking).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
    }

    /// To be passed on.
    #[must_use]
    pub fn fd(&self) -> impl AsFd {
        self.fd.as_fd()
    }

    /// How many connections wait to be accepted; unknown for Unix sockets.
    #[must_use]
    pub fn queue(&self) -> Option<u32> {
        match self.spec.address {
            Address::Tcp(address) => proc_net::accept_queue(address),
            Address::Unix(_) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.file {
            let _ = std::fs::remove_file(path);
        }
    }
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
