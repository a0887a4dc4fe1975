//! In place of `tls`, without the feature `tls`: no listener speaks TLS, and no connection has keys.

#![allow(dead_code, reason = "the rest uses what it needs of the names of `tls`")]

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gin_shared::config::listen::ListenSettings;
use gin_shared::handover::{CarriedTls, Malformed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::ListenerFacts;

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

    pub(crate) fn moved(&mut self) -> Self {
        match self.0 {}
    }
}

/// A connection over TLS: there is none.
#[derive(Debug)]
pub(crate) struct TlsStream(Infallible);

impl TlsStream {
    pub(crate) async fn accept(_: TcpStream, config: &Config) -> Result<(Self, TlsFacts), Infallible> {
        match config.0 {}
    }

    pub(crate) fn open(_: TcpStream, keys: Keys, _: &TlsContext) -> io::Result<Self> {
        match keys.0 {}
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self.0 {}
    }

    pub(crate) fn into_keys(self) -> Result<(TcpStream, Keys), Box<Self>> {
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

    pub(crate) fn of(&self, _: &ListenerFacts) -> Option<Config> {
        None
    }
}

/// A configuration of handshakes: there is none.
#[derive(Debug)]
pub(crate) struct Config(Infallible);

/// Settings of TLS of one listener: no listener has any.
#[derive(Debug, Clone)]
pub(crate) struct Profile(Infallible);

impl Profile {
    /// Nothing: a configuration that asks for TLS is an error.
    pub(crate) fn of(_: &ListenSettings) -> Option<Self> {
        None
    }

    pub(crate) fn requires_certificate(&self) -> bool {
        match self.0 {}
    }
}

/// The source of certificates: there is none.
#[derive(Debug)]
pub(crate) struct Source(Infallible);

/// A reason why certificates cannot be used: there are none.
pub(crate) type TlsError = Infallible;

impl Source {
    /// No listener speaks TLS.
    pub(crate) fn open(
        _: &[Arc<ListenerFacts>],
        _: Option<OwnedFd>,
        _: Option<&Path>,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        Ok(None)
    }

    pub(crate) fn context(&self) -> &Arc<TlsContext> {
        match self.0 {}
    }

    pub(crate) fn number(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn receive(&self, _: OwnedFd) -> Result<u64, TlsError> {
        match self.0 {}
    }

    pub(crate) fn follow(self: &Arc<Self>) -> io::Result<()> {
        match self.0 {}
    }
}

/// There are no keys that a core could have.
pub(crate) fn keep_out_of_cores() {}

/// Facts that a handshake has settled: there was none.
#[derive(Debug, Clone)]
pub(crate) struct TlsFacts(Infallible);

impl TlsFacts {
    pub(crate) fn is_resumed(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn settles_http2(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn carried(&self, _: usize) -> CarriedTls {
        match self.0 {}
    }

    pub(crate) fn of_carried(_: &CarriedTls) -> Result<Self, Malformed> {
        Err(Malformed::Unexpected("a connection over TLS, for a program without the feature \"tls\""))
    }
}
