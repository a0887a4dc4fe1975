//! Transports that carry a connection: TCP and Unix sockets.
//!
//! This is the only file that knows which transports there are. A further one (TLS, say) is one more variant of the three
//! enums here, and has to provide:
//!
//! | what | where |
//! |---|---|
//! | a listener from a descriptor, its address for people, the next connection | `Acceptor` |
//! | reading, writing, closing the write side | `AsyncRead` and `AsyncWrite` of `Stream` |
//! | the client's address, if there is one | `Stream::peer`, `RawStream::peer` |
//! | a form that no task watches, for parking and handover, and the way back | `Stream::into_raw`, `RawStream::into_stream` |
//! | a descriptor that turns readable when bytes come | `AsFd` of `RawStream` |
//! | a look whether bytes have come that nobody has read | `Probe` |
//! | a connection from a descriptor that another worker had | `RawStream::adopt` |
//!
//! A transport with a state of its own between two bytes, as TLS has it, needs more:
//!
//! | what | where |
//! |---|---|
//! | its state on the way to another worker | `gin_shared::handover::Carried`. It must not refuse `into_raw`: a refusal closes the connection. A connection that must stay in its task is one for which `Activity::idle` gives `None`, and `Activity::due` never gives `Park`: after a `Park` without an `idle`, `protocol` closes the connection, or `http1` looks again without end. No WebSocket handler may give it back |
//! | the time of its handshake | a handshake counts as `Fresh`; `Activity::due` must give it a deadline of its own |
//! | bytes that it still holds to send | not there yet: `Io::poll_flush` must call `poll_flush` of `Stream`, and `Io::poll_closer` flush the close frame |
//! | bytes that it has decrypted and nobody has read | not there yet: `Probe` is a descriptor, and looks at the socket alone |
//!
//! Not here: bytes that were read ahead and the orderly close (`io`), protocols, time.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use gin_shared::descriptors::refuse_descriptors;
use gin_shared::inherit::set_nonblocking;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, recv, setsockopt,
    sockopt,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that may wait to be accepted; capped by `net.core.somaxconn`. As the supervisor's default.
const BACKLOG: u32 = 4096;
/// Questions of TCP without an answer after which the client is taken for gone.
const QUESTIONS: u32 = 4;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection that a task reads and writes.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted connection that no task watches: nothing but a descriptor.
#[derive(Debug)]
pub(crate) enum RawStream {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
}

impl Acceptor {
    /// Adopts a listening descriptor. `name` is for the error.
    pub(crate) fn adopt(fd: OwnedFd, name: &str) -> io::Result<Self> {
        // The flag is shared with other workers, which all want it so.
        set_nonblocking(&fd, true)?;
        match family(&fd)? {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => Self::tcp(StdTcpListener::from(fd)),
            Some(AddressFamily::Unix) => {
                // Clients have none to send.
                refuse_descriptors(&fd);
                Ok(Self::Unix(UnixListener::from_std(StdUnixListener::from(fd))?))
            }
            _ => Err(io::Error::other(format!("listener {name} is neither TCP nor a Unix socket"))),
        }
    }

    /// Binds a TCP address.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self::Tcp(socket.listen(BACKLOG)?))
    }

    /// Has TCP ask whether a client is there from which nothing has come for so long. Linux gives an accepted connection the options of
    /// its listener (tcp(7)).
    pub(crate) fn keep_alive(&self, silence: Duration) -> io::Result<()> {
        let Self::Tcp(listener) = self else { return Ok(()) };
        setsockopt(listener, sockopt::KeepAlive, &!silence.is_zero())?;
        if !silence.is_zero() {
            let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).clamp(1, 32_767);
            setsockopt(listener, sockopt::TcpKeepIdle, &seconds(silence))?;
            setsockopt(listener, sockopt::TcpKeepInterval, &seconds(silence / QUESTIONS))?;
            setsockopt(listener, sockopt::TcpKeepCount, &QUESTIONS)?;
        }
        Ok(())
    }

    fn tcp(listener: StdTcpListener) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// The address, for people.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(|path| path.display().to_string());
                format!("unix:{}", path.unwrap_or_default())
            }
        })
    }

    /// True if a connection waits to be accepted.
    pub(crate) fn has_waiting(&self) -> bool {
        let fd = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Accepts the next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Responses are written whole: waiting for more would only delay them.
                // Fails only if the client is gone already, which its first read will tell.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl Stream {
    /// Stops watching the socket.
    pub(crate) fn into_raw(self) -> io::Result<RawStream> {
        Ok(match self {
            Self::Tcp(stream) => RawStream::Tcp(stream.into_std()?),
            Self::Unix(stream) => RawStream::Unix(stream.into_std()?),
        })
    }

    /// The client's address. A Unix socket has none.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// A look at the socket for whoever has given the stream away. It must not outlive the stream.
    pub(crate) fn probe(&self) -> Probe {
        Probe(match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        })
    }
}

impl RawStream {
    /// Adopts a descriptor that another process had.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        if getsockopt(&fd, sockopt::SockType)? != SockType::Stream {
            return Err(io::Error::other("no stream"));
        }
        // O_NONBLOCK is as the sender had it.
        set_nonblocking(&fd, true)?;
        match family(&fd)? {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Self::Tcp(fd.into())),
            Some(AddressFamily::Unix) => Ok(Self::Unix(fd.into())),
            _ => Err(io::Error::other("neither TCP nor a Unix socket")),
        }
    }

    /// The client's address, as [`Stream::peer`].
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Has the runtime watch the socket again.
    pub(crate) fn into_stream(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }

    /// A look at the socket.
    pub(crate) fn probe(&self) -> Probe {
        Probe(self.as_fd().as_raw_fd())
    }
}

impl AsFd for RawStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A look whether bytes have come, for as long as the connection lives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe(RawFd);

impl Probe {
    /// True if bytes have come that nobody has read yet.
    pub(crate) fn has_bytes(self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.0, &mut [0], flags).is_ok_and(|count| count > 0)
    }
}

/// True if a descriptor is a socket for connections. A UDP socket is for workers that speak it.
pub(crate) fn takes_connections(fd: &OwnedFd) -> bool {
    getsockopt(fd, sockopt::SockType) != Ok(SockType::Datagram)
}

fn family(fd: &OwnedFd) -> io::Result<Option<AddressFamily>> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    Ok(address.family())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have no buffer of their own to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
