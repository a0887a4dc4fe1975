//! Connections to a receiver.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::task::{Context, Poll};
use std::thread::Builder;

use futures_util::future::BoxFuture;
use gin_shared::trace_endpoint::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

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
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            if endpoint.is_tls {
                let text = "this program has no TLS for receivers of spans; write an http:// endpoint";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            Ok(Box::new(open_socket(endpoint).await?) as Box<dyn Stream>)
        })
    }
}

/// Connects a socket to an endpoint. The name of the host is resolved each time.
///
/// # Errors
/// If the name has no address, or none of its addresses answers.
pub async fn open_socket(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let addresses = match endpoint.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::from((address, endpoint.port))],
        Err(_) => resolved(endpoint.host.clone(), endpoint.port).await?,
    };
    let socket = TcpStream::connect(&addresses[..]).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Resolves a name on a thread that nobody waits for. A runtime waits at its end for the threads that it resolves names on itself, and a
/// server of names that is away takes half a minute: that would hold up the end of a process.
async fn resolved(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (give, found) = oneshot::channel();
    let resolve = move || drop(give.send((host.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    Builder::new().name("resolve".to_owned()).spawn(resolve)?;
    found.await.map_err(io::Error::other)?
}

/// The half of a connection that reads and writes. It runs beside each exchange, and between two of them.
pub(crate) struct Driver {
    connection: BoxFuture<'static, ()>,
    has_ended: bool,
}

impl Driver {
    pub(crate) fn new(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { connection: Box::pin(connection), has_ended: false }
    }

    /// Runs the connection beside an exchange. When the connection ends, what has arrived before is still read. None if the exchange
    /// cannot go on without it.
    pub(crate) async fn beside<T>(&mut self, exchange: impl Future<Output = T>) -> Option<T> {
        let mut exchange = pin!(exchange);
        poll_fn(|context| {
            self.poll(context);
            match exchange.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if self.has_ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Runs the connection until it ends.
    pub(crate) async fn until_end(&mut self) {
        poll_fn(|context| {
            self.poll(context);
            if self.has_ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if !self.has_ended {
            self.has_ended = self.connection.as_mut().poll(context).is_ready();
        }
    }
}
