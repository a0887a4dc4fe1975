//! What a worker accepts from: inherited, or bound when it runs alone.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;

use gin_shared::inherit::{Inherited, set_nonblocking};
use gin_shared::listen::Address;
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use tokio::net::{TcpListener, UnixListener};

use crate::connections::io::Stream;
use crate::{StartError, config};

/// A listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where, in words.
    pub(crate) address: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds `server.host` and `server.port`.
    pub(crate) fn bind(config: &config::Server) -> Result<Self, StartError> {
        let text = format!("{}:{}", config.host, config.port);
        let failed = |error| StartError::Listen { address: text.clone(), error };
        let invalid = |error| failed(io::Error::new(io::ErrorKind::InvalidInput, error));
        let Address::Tcp(address) = Address::from_host_port(&config.host, config.port).map_err(invalid)? else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let listener = bind_tcp(address).map_err(failed)?;
        Self::tcp("http".to_owned(), listener).map_err(failed)
    }

    /// Takes over one that was passed.
    pub(crate) fn adopt(inherited: Inherited) -> io::Result<Self> {
        let Inherited { name, fd } = inherited;
        // Shared with workers like this one, which all want it so.
        set_nonblocking(&fd, true)?;
        match family(&fd)? {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => Self::tcp(name, StdTcpListener::from(fd)),
            Some(AddressFamily::Unix) => {
                let listener = UnixListener::from_std(StdUnixListener::from(fd))?;
                let path = listener.local_addr()?.as_pathname().map(|path| path.display().to_string());
                let address = format!("unix:{}", path.unwrap_or_default());
                Ok(Self { name, address, kind: Kind::Unix(listener) })
            }
            _ => Err(io::Error::other(format!("listener {name} is neither TCP nor a Unix socket"))),
        }
    }

    fn tcp(name: String, listener: StdTcpListener) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { name, address, kind: Kind::Tcp(listener) })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Responses are written whole: waiting for more would only delay them.
                // Fails only if the client is gone already, which its first read will tell.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Kind::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// Whether it is one for connections. A UDP socket is for workers that speak it.
pub(crate) fn is_stream(inherited: &Inherited) -> bool {
    let kind = getsockopt(&inherited.fd, sockopt::SockType);
    kind != Ok(SockType::Datagram)
}

fn family(fd: &OwnedFd) -> io::Result<Option<AddressFamily>> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    Ok(address.family())
}

fn bind_tcp(address: SocketAddr) -> io::Result<StdTcpListener> {
    // std sets SO_REUSEADDR; its backlog is the system's largest on Linux.
    let listener = StdTcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
