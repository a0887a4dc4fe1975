//! Transports that carry a connection: TCP and Unix sockets, and TLS over TCP.
//!
//! This is the only file that knows which transports there are. A further one is one more variant of the enums here, and has to
//! provide:
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
//! | its state between two owners | a value beside the raw stream, as [`Keys`] are: on the way to another worker in `gin_shared::handover::Carried` |
//! | a moment at which it cannot be taken apart | `into_raw` gives the stream back as [`NotRaw::NotNow`], and the connection is served on for a while |
//! | the time of its handshake | a handshake counts as `Fresh`; `Activity::due` must give it a deadline of its own |
//! | bytes that it still holds to send | `poll_flush` of `Stream`; a stream that holds some refuses `into_raw` |
//! | bytes that it has decrypted and nobody has read | none may be left when `into_raw` succeeds: `Probe` looks at the socket alone |
//!
//! Not here: bytes that were read ahead and the orderly close (`io`), protocols, time.

mod acceptor;

use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use gin_shared::inherit::set_nonblocking;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, recv, sockopt,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::{Keys, TlsContext, TlsStream};
pub(crate) use acceptor::{Acceptor, takes_connections};

/// An accepted connection that a task reads and writes.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

/// An accepted connection that no task watches: nothing but a descriptor. One over TLS is a socket whose keys are kept beside it.
#[derive(Debug)]
pub(crate) enum RawStream {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
}

/// A reason why a stream is not given as a raw one.
#[derive(Debug)]
pub(crate) enum NotRaw {
    /// Half a record is read, or bytes are still to be sent. The stream is as it was.
    NotNow(Stream),
    /// The socket cannot be taken out of the runtime, and is closed.
    Failed(io::Error),
}

impl From<io::Error> for NotRaw {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Stream {
    /// Stops watching the socket, and gives the keys of a connection over TLS.
    pub(crate) fn into_raw(self) -> Result<(RawStream, Option<Keys>), NotRaw> {
        Ok(match self {
            Self::Tcp(stream) => (RawStream::Tcp(stream.into_std()?), None),
            Self::Unix(stream) => (RawStream::Unix(stream.into_std()?), None),
            Self::Tls(stream) => {
                let not_now = |stream| NotRaw::NotNow(Self::Tls(stream));
                let (socket, keys) = stream.into_keys().map_err(not_now)?;
                (RawStream::Tcp(socket.into_std()?), Some(keys))
            }
        })
    }

    /// The client's address. A Unix socket has none.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.socket().peer_addr().ok(),
        }
    }

    /// A look at the socket for whoever has given the stream away. It must not outlive the stream.
    pub(crate) fn probe(&self) -> Probe {
        Probe(match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => stream.socket().as_raw_fd(),
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

    /// Has the runtime watch the socket again. With keys it goes on with TLS.
    pub(crate) fn into_stream(self, keys: Option<Keys>, tls: &TlsContext) -> io::Result<Stream> {
        Ok(match (self, keys) {
            (Self::Tcp(stream), None) => Stream::Tcp(TcpStream::from_std(stream)?),
            (Self::Unix(stream), None) => Stream::Unix(UnixStream::from_std(stream)?),
            (Self::Tcp(stream), Some(keys)) => {
                Stream::Tls(Box::new(TlsStream::open(TcpStream::from_std(stream)?, keys, tls)?))
            }
            (Self::Unix(_), Some(_)) => return Err(io::Error::other("keys of TLS for a Unix socket")),
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

fn family(fd: &OwnedFd) -> io::Result<Option<AddressFamily>> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    Ok(address.family())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
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
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    /// False over TLS: head and body are then written as one, into one record.
    fn is_write_vectored(&self) -> bool {
        !matches!(self, Self::Tls(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Sockets have no buffer of their own to flush.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
