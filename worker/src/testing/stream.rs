//! An answer that is read piece by piece, as it comes.

use axum::http::{HeaderMap, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::PATIENCE;
use super::client::Client;
use super::response::TestResponse;

/// An answer whose body still comes: server-sent events, say, or a long download. Dropped, it closes the connection, as a client does
/// that leaves.
///
/// ```
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Server};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).get("/", async || "one\ntwo\n")).await;
/// let mut answer = app.get("/").stream().await;
/// answer.assert_status(200);
/// assert_eq!(answer.line().await.as_deref(), Some("one"));
/// assert_eq!(answer.line().await.as_deref(), Some("two"));
/// assert_eq!(answer.line().await, None);
/// # }
/// ```
#[derive(Debug)]
pub struct TestStream {
    asked: String,
    /// The status: 200, 404, ...
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    body: Incoming,
    /// Bytes that have come and were not given out.
    ahead: BytesMut,
    /// The connection stays for as long as it is read from.
    _connection: Client,
}

impl TestStream {
    pub(super) fn new(asked: String, connection: Client, answer: Response<Incoming>) -> Self {
        let (parts, body) = answer.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        Self { asked, status, headers, body, ahead: BytesMut::new(), _connection: connection }
    }

    /// Asserts this status.
    ///
    /// # Panics
    /// If the status is another one.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert!(self.status.as_u16() == status, "{}: {} and not {status}", self.asked, self.status);
        self
    }

    /// Waits for the next bytes of the body. `None` at its end. Where one piece ends and the next begins is the network's choice.
    ///
    /// # Panics
    /// If the connection breaks, or nothing comes for 30 s.
    pub async fn piece(&mut self) -> Option<Bytes> {
        if self.ahead.is_empty() { self.next().await } else { Some(self.ahead.split().freeze()) }
    }

    /// Waits for the next line, which is returned without its end. `None` at the end of the body.
    ///
    /// # Panics
    /// As [`Self::piece`].
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line = self.ahead.split_to(end + 1);
                return Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            let Some(piece) = self.next().await else {
                let rest = self.ahead.split();
                return (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned());
            };
            self.ahead.extend_from_slice(&piece);
        }
    }

    /// Reads the rest of the body.
    ///
    /// # Panics
    /// As [`Self::piece`].
    pub async fn whole(mut self) -> TestResponse {
        while let Some(piece) = self.next().await {
            self.ahead.extend_from_slice(&piece);
        }
        let Self { asked, status, headers, ahead, .. } = self;
        TestResponse { asked, status, headers, body: ahead.freeze() }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{}: nothing came for {PATIENCE:?}", self.asked))?;
            let frame = frame.unwrap_or_else(|error| panic!("{}: the answer broke off: {error}", self.asked));
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Some(data);
            }
        }
    }
}
