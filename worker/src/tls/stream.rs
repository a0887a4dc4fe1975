//! A connection over TLS.

#![allow(dead_code, reason = "not every part of it is used yet")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::context::TlsContext;
use crate::tls::keys::Keys;

/// A connection over TLS.
pub(crate) struct TlsStream(s2n_tls_tokio::TlsStream<TcpStream>);

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl TlsStream {
    /// Goes on from keys.
    pub(crate) fn open(_: TcpStream, _: Keys, _: &TlsContext) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The socket, for a look at it.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Gives the socket and the keys. Gives the stream back if that cannot be done now.
    pub(crate) fn into_keys(self) -> Result<(TcpStream, Keys), Self> {
        Err(self)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
