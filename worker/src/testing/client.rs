//! A connection of HTTP/1.1, and one request after the other on it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use axum::http::{HeaderMap, Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

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
        tokio::spawn(connection);
        Ok(Self { sender, host })
    }

    /// Whether it can take one more request: `false` once its other end has closed it, or has said that it will.
    pub(super) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(super) async fn send(
        &mut self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> io::Result<Response<Bytes>> {
        let mut request =
            Request::builder().method(method).uri(path).body(Full::new(body)).map_err(io::Error::other)?;
        *request.headers_mut() = headers.clone();
        if !headers.contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, self.host.parse().map_err(io::Error::other)?);
        }
        let (parts, body) = self.sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}
