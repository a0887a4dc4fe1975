//! A GET to one worker, over its private listener: as a whole, or piece by piece.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use gin_shared::descriptors::refuse_descriptors;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, Connection};
use hyper::http::response::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixSocket, UnixStream};

use crate::error_text::without_code;

/// The longest head of an answer, in bytes. A piece of its body has less than two of these, and behind a long head less than four: hyper
/// makes room for one, its buffer grows by doubling, and a read takes what fits.
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
}

/// The connection of one request.
type WorkerConnection = Connection<TokioIo<UnixStream>, Empty<Bytes>>;

/// Asks for `path`, and gives the head and the body of the answer. A body of more than `limit` bytes is an error.
///
/// # Errors
/// See [`AskError`].
pub async fn get(socket: &Path, path: &str, limit: usize) -> Result<(Parts, Bytes), AskError> {
    let (parts, body) = stream(socket, path).await?.into_parts();
    let body = Limited::new(body, limit).collect().await;
    let body = body.map_err(|error| AskError::Body(parts.status, error))?.to_bytes();
    Ok((parts, body))
}

/// Asks for `path`, and gives the answer as soon as its head is there.
///
/// # Errors
/// See [`AskError`].
pub async fn stream(socket: &Path, path: &str) -> Result<Response<Streamed>, AskError> {
    let request = Request::get(path).header("host", "gin").header("user-agent", "gin-supervisor");
    let request = request.header("connection", "close").body(Empty::<Bytes>::new())?;
    let stream = connect(socket).await.map_err(AskError::Connect)?;
    let mut builder = http1::Builder::new();
    let (mut sender, connection) = builder.max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await?;
    let mut connection = Some(Box::pin(connection));
    let mut asking = pin!(sender.send_request(request));
    let response = poll_fn(|context| {
        // An error of the connection is the answer's, too.
        drive(&mut connection, context);
        asking.as_mut().poll(context)
    })
    .await?;
    Ok(response.map(|body| Streamed { body, connection }))
}

/// Moves a connection on, and lets go of it at its end.
fn drive(connection: &mut Option<Pin<Box<WorkerConnection>>>, context: &mut Context<'_>) {
    if connection.as_mut().is_some_and(|connection| connection.as_mut().poll(context).is_ready()) {
        *connection = None;
    }
}

/// A body that comes piece by piece. It moves its own connection on, which is closed when this is dropped.
#[derive(Debug)]
pub struct Streamed {
    body: Incoming,
    /// `None`: it has ended.
    connection: Option<Pin<Box<WorkerConnection>>>,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, connection } = self.get_mut();
        drive(connection, context);
        Pin::new(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Connects. A worker has no descriptor to send along with its answer.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = UnixSocket::new_stream()?;
    refuse_descriptors(&socket);
    socket.connect(path).await
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// A worker's private listener.
    fn private() -> (TempDir, PathBuf, UnixListener) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("private");
        let listener = UnixListener::bind(&path).unwrap();
        (directory, path, listener)
    }

    /// Accepts one request, and reads its head.
    async fn accept(listener: &UnixListener) -> UnixStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream
    }

    #[tokio::test]
    async fn a_head_is_there_before_its_body_whose_pieces_are_small() {
        const LENGTH: usize = 4 * 1024 * 1024;
        let (_directory, path, listener) = private();
        let (answer, worker) = tokio::join!(stream(&path, "/debug/vars"), async {
            let mut worker = accept(&listener).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            worker.write_all(head.as_bytes()).await.unwrap();
            worker
        });
        let (mut body, mut worker) = (answer.unwrap().into_body(), worker);
        assert_eq!(body.size_hint().exact(), Some(LENGTH as u64));
        let write = async { worker.write_all(&vec![b'x'; LENGTH]).await.unwrap() };
        let read = async {
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= 2 * HEAD_MAX, "{}", piece.len());
                length += piece.len();
            }
            length
        };
        assert_eq!(tokio::join!(write, read).1, LENGTH);
    }

    #[tokio::test]
    async fn a_body_that_nobody_wants_any_more_closes_its_connection() {
        let (_directory, path, listener) = private();
        let (answer, mut worker) = tokio::join!(stream(&path, "/debug/vars"), async {
            let mut worker = accept(&listener).await;
            worker.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst").await.unwrap();
            worker
        });
        drop(answer.unwrap());
        assert_eq!(worker.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_body_that_is_cut_short_is_an_error() {
        let (_directory, path, listener) = private();
        let (answer, ()) = tokio::join!(get(&path, "/health", 1024), async {
            let mut worker = accept(&listener).await;
            worker.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfirst").await.unwrap();
        });
        assert!(matches!(answer, Err(AskError::Body(StatusCode::OK, _))), "{answer:?}");
        let (answer, ()) = tokio::join!(get(&path, "/health", 1024), async { drop(accept(&listener).await) });
        assert!(matches!(answer, Err(AskError::Http(_))), "{answer:?}");
    }
}
