//! The listener for scrapers (`supervisor.metrics`): bound by the master, and passed on over an upgrade in place. No worker has it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gin_shared::listen::Address;
use nix::errno::Errno;

use super::listener::{ListenError, Listener, ListenerSpec};

/// Connections that wait to be accepted, at most.
const BACKLOG: u32 = 128;

/// A TCP socket at which scrapers are answered.
#[derive(Debug)]
pub struct ScrapeListener(TcpListener);

impl ScrapeListener {
    /// Binds and listens.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let address = Address::Tcp(address);
        let spec = ListenerSpec {
            name: "metrics".to_owned(),
            address: address.clone(),
            backlog: BACKLOG,
            mode: None,
            owner: None,
            group: None,
            nonblocking: true,
        };
        let copied = Listener::bind(&spec)?.as_fd().try_clone_to_owned();
        let failed = |error: io::Error| {
            let error = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            ListenError::System { address, step: "dup", error }
        };
        copied.map(|fd| Self(TcpListener::from(fd))).map_err(failed)
    }

    /// Resumes the listener of the program before this one. `None` if it does not listen at `address`.
    #[must_use]
    pub fn resume(fd: OwnedFd, address: SocketAddr) -> Option<Self> {
        let listener = TcpListener::from(fd);
        let bound = listener.local_addr().ok()?;
        let fits = bound.ip() == address.ip() && (address.port() == 0 || bound.port() == address.port());
        fits.then_some(Self(listener))
    }

    /// The address where it listens.
    ///
    /// # Errors
    /// The errors of `getsockname(2)`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// A copy, to accept from.
    ///
    /// # Errors
    /// The errors of `dup(2)`.
    pub fn copy(&self) -> io::Result<TcpListener> {
        self.0.try_clone()
    }
}

impl AsFd for ScrapeListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_listener_is_resumed_where_the_configuration_still_has_it() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = ScrapeListener::bind(any).unwrap();
        let address = listener.address().unwrap();
        let passed_on = || listener.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(ScrapeListener::resume(passed_on(), any).unwrap().address().unwrap(), address);
        assert!(ScrapeListener::resume(passed_on(), address).is_some());
        assert!(ScrapeListener::resume(passed_on(), "127.0.0.2:0".parse().unwrap()).is_none());
        let in_use = ScrapeListener::bind(address).unwrap_err();
        assert!(matches!(in_use, ListenError::InUse { .. }), "{in_use}");
        // Nothing accepts yet: the connection waits, and a copy takes it.
        let _scraper = TcpStream::connect(address).unwrap();
        listener.copy().unwrap().accept().unwrap();
    }
}
