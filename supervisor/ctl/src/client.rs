//! HTTP over the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use gin_shared::control::ErrorBody;
use gin_shared::exit;
use gin_shared::plain_text::{plain, plain_json, plain_metrics, plain_unread_json};
use gin_shared::status::Status;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::failure::Failure;
use crate::instance::Instance;
use crate::socket::Socket;

/// The largest answer that is not a stream, in bytes.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// The largest profile, in bytes.
const PROFILE_MAX: usize = 64 * 1024 * 1024;

/// The longest line of a stream, in bytes.
const LINE_MAX: usize = 1024 * 1024;

/// How long a supervisor may be away in mid-sentence.
const ABSENCE: Duration = Duration::from_secs(3);

/// Time that a supervisor may take to begin its answer, and again to end one that is not a stream: more than any command of its own
/// loop takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The control socket of one instance; a connection a request.
#[derive(Debug, Clone)]
pub struct Client {
    control: PathBuf,
    status: PathBuf,
}

impl Client {
    /// For this instance.
    #[must_use]
    pub fn new(instance: &Instance) -> Self {
        Self { control: instance.control.clone(), status: instance.status.clone() }
    }

    /// True if both sockets are gone: their supervisor has ended as it should.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        [&self.control, &self.status].iter().all(|path| path.symlink_metadata().is_err())
    }

    /// Looks: over the status socket if the control socket is not ours.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let began = std::time::Instant::now();
        loop {
            let answer = match self.stream(path).await {
                Ok(response) => parse(response).await,
                Err(failure) => Err(failure),
            };
            match answer {
                // It was there a moment ago: another program takes its place.
                Err(failure) if failure.interrupted && began.elapsed() < ABSENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }

    /// The same for what is no JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn text(&self, path: &str) -> Result<String, Failure> {
        Ok(plain(&self.body(path).await?).into_owned())
    }

    /// The same for metrics.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn metrics(&self, path: &str) -> Result<String, Failure> {
        Ok(plain_metrics(&self.body(path).await?).into_owned())
    }

    async fn body(&self, path: &str) -> Result<String, Failure> {
        let body = read(self.stream(path).await?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Acts.
    ///
    /// # Errors
    /// See [`Failure`]; a refusal of the supervisor carries its exit code.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::new(exit::USAGE, e.to_string()))?;
        parse(send(self.acting().await?, Method::POST, path, body.into()).await?).await
    }

    /// Asks for a worker's profile, which may take so long, and which the control socket alone gives.
    ///
    /// # Errors
    /// See [`Failure`]; a refusal of the supervisor carries its exit code.
    pub async fn bytes(&self, path: &str, patience: Duration) -> Result<Bytes, Failure> {
        let response = send_within(patience, self.acting().await?, Method::GET, path, Bytes::new()).await?;
        whole(response.into_body(), PROFILE_MAX, patience).await
    }

    /// A connection to the control socket, wherever that is.
    async fn acting(&self) -> Result<UnixStream, Failure> {
        match connect(&self.control).await {
            Err(failure) if failure.exit == exit::NO_SUPERVISOR && self.status != self.control => {
                connect(&self.control_elsewhere().await.ok_or(failure)?).await
            }
            other => other,
        }
    }

    /// Where the instance takes commands, if not in its runtime directory: it says so itself.
    async fn control_elsewhere(&self) -> Option<PathBuf> {
        let status = connect(&self.status).await.ok()?;
        let response = send(status, Method::GET, "/v1/status", Bytes::new()).await.ok()?;
        let status: Status = parse(response).await.ok()?;
        Some(status.control.into())
    }

    /// Looks at something that lasts.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn stream(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let stream = match connect(&self.control).await {
            Err(failure) if self.status != self.control => connect(&self.status).await.map_err(|_| failure)?,
            other => other?,
        };
        send(stream, Method::GET, path, Bytes::new()).await
    }
}

async fn connect(path: &Path) -> Result<UnixStream, Failure> {
    Socket::open(path)?.connect().await
}

/// Asks, and has the head of the answer.
async fn send(stream: UnixStream, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
    send_within(PATIENCE, stream, method, path, body).await
}

/// The same for an answer that may take longer to begin.
async fn send_within(
    patience: Duration,
    stream: UnixStream,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, Failure> {
    // 0: it is outside of this PID namespace.
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
    let late = |_| {
        let who = pid.map_or_else(|| "the supervisor".to_owned(), |pid| format!("the supervisor (pid {pid})"));
        let text = format!("{who} does not answer, within {} s; does it hang, or is it stopped?", patience.as_secs());
        Failure::new(exit::TIMED_OUT, text)
    };
    tokio::time::timeout(patience, converse(stream, method, path, body)).await.map_err(late)?
}

async fn converse(stream: UnixStream, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::gone())?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gin")
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(body))
        .map_err(|e| Failure::new(exit::USAGE, e.to_string()))?;
    let response = sender.send_request(request).await.map_err(|_| Failure::gone())?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = read(response).await?;
    let refusal: ErrorBody = plainly(&body).unwrap_or_else(|_| ErrorBody {
        error: format!("the supervisor answered {status}"),
        exit: if status == StatusCode::NOT_FOUND { exit::USAGE } else { exit::FAILED },
    });
    Err(Failure::new(refusal.exit, refusal.error))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    whole(response.into_body(), ANSWER_MAX, PATIENCE).await
}

/// All of a body that has `most` bytes at most, and ends in time.
async fn whole<B>(body: B, most: usize, patience: Duration) -> Result<Bytes, Failure>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = tokio::time::timeout(patience, Limited::new(body, most).collect()).await;
    let late = |_| {
        let text = format!("the supervisor does not end its answer, within {} s; does it hang?", patience.as_secs());
        Failure::new(exit::TIMED_OUT, text)
    };
    body.map_err(late)?.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if !error.is::<LengthLimitError>() {
            return Failure::gone();
        }
        let text = "the supervisor's answer is longer than gin-ctl takes; curl --unix-socket has no limit";
        Failure::new(exit::FAILED, text)
    })
}

async fn parse<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    let body = read(response).await?;
    plainly(&body).map_err(|e| Failure::new(exit::FAILED, format!("the supervisor speaks another version: {e}")))
}

/// Reads JSON of the supervisor: what it says is another user's word, and moves no cursor here.
///
/// # Errors
/// If it is no JSON, or says something else.
pub fn plainly<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_value(plain_json(serde_json::from_slice(json)?))
}

/// A stream's lines, as they come.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: Buffer,
}

impl Lines {
    /// Of this answer.
    #[must_use]
    pub fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: Buffer::default() }
    }

    /// The next one; `None` at the end, or when the supervisor has gone. May be dropped and called again.
    ///
    /// # Errors
    /// If the line is too long.
    pub async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(line) = self.buffer.take_line()? {
                return Ok(Some(line));
            }
            let Some(Ok(frame)) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                self.buffer.bytes.extend_from_slice(&data);
            }
        }
    }
}

/// Bytes of a stream that were not taken yet.
#[derive(Debug, Default)]
struct Buffer {
    bytes: BytesMut,
    /// The number of bytes in which no line ends.
    looked_at: usize,
}

impl Buffer {
    /// Takes a line, if there is a whole one.
    fn take_line(&mut self) -> Result<Option<String>, Failure> {
        let end = self.bytes[self.looked_at..].iter().position(|byte| *byte == b'\n').map(|at| self.looked_at + at);
        let Some(end) = end.filter(|end| *end <= LINE_MAX) else {
            self.looked_at = self.bytes.len();
            return if self.bytes.len() > LINE_MAX { Err(too_long()) } else { Ok(None) };
        };
        let line = self.bytes.split_to(end);
        self.bytes.advance(1);
        self.looked_at = 0;
        Ok(Some(plain_unread_json(&String::from_utf8_lossy(&line)).into_owned()))
    }
}

fn too_long() -> Failure {
    let text = format!("a line of more than {} KiB: whoever listens there is no supervisor", LINE_MAX / 1024);
    Failure::new(exit::FAILED, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_too_long_does_not_look_like_a_supervisor_that_has_gone() {
        let body = || Full::new(Bytes::from_static(b"four"));
        assert_eq!(whole(body(), 4, PATIENCE).await.unwrap(), "four");
        let failure = whole(body(), 3, PATIENCE).await.unwrap_err();
        assert!(failure.exit == exit::FAILED && !failure.interrupted, "{failure:?}");
        assert!(failure.text.contains("longer than gin-ctl takes"), "{failure:?}");
    }

    #[test]
    fn lines_are_taken_as_they_are_whole_and_none_grows_without_end() {
        let mut buffer = Buffer::default();
        let mut take = |more: &[u8]| {
            buffer.bytes.extend_from_slice(more);
            buffer.take_line().map_err(|failure| failure.exit)
        };
        let line = |text: &str| -> Result<Option<String>, u8> { Ok(Some(text.to_owned())) };
        assert_eq!(
            [take(b"o"), take(b"ne"), take(b"\ntwo\n\nth"), take(b"")],
            [Ok(None), Ok(None), line("one"), line("two")]
        );
        assert_eq!([take(b""), take(b""), take(b"ree\n")], [line(""), Ok(None), line("three")]);
        let longest = "x".repeat(LINE_MAX);
        assert_eq!([take(longest.as_bytes()), take(b"\n")], [Ok(None), line(&longest)]);
        assert_eq!([take(longest.as_bytes()), take(b"x")], [Ok(None), Err(exit::FAILED)]);
        assert_eq!(take(b"\n"), Err(exit::FAILED));
    }
}
