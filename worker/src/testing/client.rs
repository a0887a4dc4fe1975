//! A connection of HTTP/1.1, and one request after the other on it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use axum::http::{Request as HttpRequest, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::request::Request;

pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, address.to_string()).await
    }

    pub(super) async fn connect_unix(path: &Path) -> io::Result<Self> {
        Self::over(UnixStream::connect(path).await?, "gin".to_owned()).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: String) -> io::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // What goes wrong with it, the next request tells.
        tokio::spawn(connection.with_upgrades());
        Ok(Self { sender, host })
    }

    /// True if it can take one more request: not once its other end has closed it, or has said that it will.
    pub(super) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request. Returns the answer as soon as its head is there.
    pub(super) async fn ask(&mut self, request: &Request) -> io::Result<Response<Incoming>> {
        let body = Full::new(request.body.clone());
        let mut message = HttpRequest::builder()
            .method(&request.method)
            .uri(request.path.as_str())
            .body(body)
            .map_err(io::Error::other)?;
        *message.headers_mut() = request.headers.clone();
        if !request.headers.contains_key(header::HOST) {
            message.headers_mut().insert(header::HOST, self.host.parse().map_err(io::Error::other)?);
        }
        self.sender.send_request(message).await.map_err(io::Error::other)
    }

    /// Sends a request, and reads the whole answer.
    pub(super) async fn send(&mut self, request: &Request) -> io::Result<Response<Bytes>> {
        whole(self.ask(request).await?).await
    }
}

/// Reads the rest of an answer.
pub(super) async fn whole(answer: Response<Incoming>) -> io::Result<Response<Bytes>> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
