//! Connections to a receiver.

use std::io;

use futures_util::future::BoxFuture;
use gin_shared::trace_endpoint::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes to a receiver and from it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Makes connections. The exporter limits their time; ALPN is the business of the one that connects.
pub trait Connect: Send + Sync + 'static {
    /// Connects to an endpoint.
    ///
    /// # Errors
    /// If there is no connection.
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// Connects without TLS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cleartext;

impl Connect for Cleartext {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::Error::from(io::ErrorKind::Unsupported)) })
    }
}
