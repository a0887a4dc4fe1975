//! In place of `tls`, without the feature `tls`: no listener speaks TLS, and no connection has keys.

#![allow(dead_code, reason = "the rest uses what it needs of the names of `tls`")]

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use gin_shared::handover::Malformed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Keys of a connection: there are none.
#[derive(Debug)]
pub(crate) struct Keys(Infallible);

impl Keys {
    pub(crate) const MAX: usize = 0;

    /// Refuses the keys of another worker's connection.
    pub(crate) fn received(_: &[u8]) -> Result<Self, Malformed> {
        Err(Malformed::Unexpected("keys of TLS, for a program without the feature \"tls\""))
    }

    pub(crate) fn len(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn write_to(&self, _: &mut Vec<u8>) {
        match self.0 {}
    }
}

/// A connection over TLS: there is none.
#[derive(Debug)]
pub(crate) struct TlsStream(Infallible);

impl TlsStream {
    pub(crate) fn open(_: TcpStream, keys: Keys, _: &TlsContext) -> io::Result<Self> {
        match keys.0 {}
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self.0 {}
    }

    pub(crate) fn into_keys(self) -> Result<(TcpStream, Keys), Self> {
        match self.0 {}
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

/// Settings of TLS of a worker: it has none.
#[derive(Debug)]
pub(crate) struct TlsContext(());

impl TlsContext {
    pub(crate) const fn none() -> Self {
        Self(())
    }
}

/// Settings of TLS of one listener: no listener has any.
#[derive(Debug, Clone)]
pub(crate) struct Profile(Infallible);

/// Facts that a handshake has settled: there was none.
#[derive(Debug, Clone)]
pub(crate) struct TlsFacts(Infallible);
