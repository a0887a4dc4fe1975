//! A GET to one worker, over its private listener.

use std::io;
use std::path::Path;

use bytes::Bytes;
use gin_shared::descriptors::refuse_descriptors;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixSocket, UnixStream};

use crate::error_text::without_code;

/// The longest head of an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A worker that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Its private listener cannot be connected to.
    #[error("{}", without_code(.0))]
    Connect(io::Error),
    /// The path cannot stand in a request.
    #[error("{0}")]
    Path(#[from] hyper::http::Error),
    /// The answer is no HTTP response.
    #[error("no HTTP response: {0}")]
    Http(#[from] hyper::Error),
    /// The body is too long, or ended early.
    #[error("{0}, but its body cannot be read: {1}")]
    Body(StatusCode, Box<dyn std::error::Error + Send + Sync>),
    /// It closed the connection.
    #[error("closed")]
    Closed,
}

/// Asks for `path`, and gives the head and the body of the answer. A body of more than `limit` bytes is an error.
///
/// # Errors
/// See [`AskError`].
pub async fn get(socket: &Path, path: &str, limit: usize) -> Result<(Parts, Bytes), AskError> {
    let stream = connect(socket).await.map_err(AskError::Connect)?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = builder.max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let request = Request::get(path).header("host", "gin").header("user-agent", "gin-supervisor");
        let request = request.header("connection", "close").body(Empty::<Bytes>::new())?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|error| AskError::Body(parts.status, error))?.to_bytes();
        Ok((parts, body))
    };
    let connection = async {
        // An error of the connection is the exchange's, too.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! { answer = exchange => answer, () = connection => Err(AskError::Closed) }
}

/// Connects. A worker has no descriptor to send along with its answer.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = UnixSocket::new_stream()?;
    refuse_descriptors(&socket);
    socket.connect(path).await
}
