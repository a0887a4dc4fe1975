//! The client's end of a WebSocket.

use std::fmt;
use std::io;

use axum::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::PATIENCE;
use super::client::{Client, whole};
use super::request::Request;
use super::response::TestResponse;
use super::test_client::TestRequest;
use crate::websocket::Message;

/// Close codes of a connection whose server gave none, and of one that ended without a close frame (RFC 6455, section 7.4.1).
const NONE_GIVEN: u16 = 1005;
const BROKEN: u16 = 1006;

pub(super) type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// The answer to a request for a WebSocket.
pub(super) enum Opening {
    /// It is open. The headers are those of the answer.
    Open(Box<Stream>, HeaderMap),
    /// The server did not answer with 101.
    Refused(Response<Bytes>),
}

/// Asks for a WebSocket on this connection.
pub(super) async fn open(connection: &mut Client, request: Request) -> io::Result<Opening> {
    let key = generate_key();
    let request = request
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", &key);
    let answer = connection.ask(&request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return whole(answer).await.map(Opening::Refused);
    }
    let headers = answer.headers().clone();
    let accepted = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_vec());
    if accepted != Some(derive_accept_key(key.as_bytes()).into_bytes()) {
        return Err(io::Error::other("Sec-WebSocket-Accept is missing or not the one of this request"));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
    let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    Ok(Opening::Open(Box::new(stream), headers))
}

/// Waits for the next message on a stream, or for its end.
pub(super) async fn next(stream: &mut Stream) -> Result<Message, u16> {
    loop {
        match stream.next().await {
            Some(Ok(Frame::Text(text))) => return Ok(Message::Text(text.to_string())),
            Some(Ok(Frame::Binary(bytes))) => return Ok(Message::Binary(bytes)),
            // tungstenite answers a ping by itself, with the next read.
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
            Some(Ok(Frame::Close(frame))) => {
                // The answer to it is written already. Whether it still goes out is the server's to notice.
                let _ = stream.flush().await;
                return Err(frame.map_or(NONE_GIVEN, |frame| frame.code.into()));
            }
            Some(Err(_)) | None => return Err(BROKEN),
        }
    }
}

/// Sends a close frame with this code, and waits for the server's. Returns its code.
pub(super) async fn close(stream: &mut Stream, code: u16) -> u16 {
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    if stream.close(Some(frame)).await.is_err() {
        return BROKEN;
    }
    loop {
        if let Err(code) = next(stream).await {
            return code;
        }
    }
}

impl TestRequest {
    /// Opens a WebSocket with this request, a `GET`.
    ///
    /// ```
    /// use gin_worker::testing::TestServer;
    /// use gin_worker::websocket::{Message, Received, Socket};
    /// use gin_worker::{Config, Route, Server};
    ///
    /// async fn open() {}
    ///
    /// async fn echo(mut socket: Socket, _: ()) {
    ///     while let Received::Message(message) = socket.receive().await {
    ///         let _ = socket.send(message).await;
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let route = Route::websocket("/echo", "echo", open, echo);
    /// let app = TestServer::start(Server::new(&Config::<()>::default()).route(route)).await;
    /// let mut socket = app.get("/echo").websocket().await;
    /// socket.send(Message::Text("hello".to_owned())).await;
    /// assert_eq!(socket.text().await, "hello");
    /// assert_eq!(socket.close(1000).await, 1000);
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the server does not answer with 101.
    pub async fn websocket(self) -> TestWebSocket {
        match self.try_websocket().await {
            Ok(socket) => socket,
            Err(answer) => panic!("{}: no WebSocket: {}: {}", answer.asked, answer.status, answer.text()),
        }
    }

    /// Opens a WebSocket with this request, or returns the answer of a server that refuses.
    ///
    /// # Errors
    /// The answer, if it is not 101.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn try_websocket(self) -> Result<TestWebSocket, Box<TestResponse>> {
        let (asked, request) = (self.asked(), self.complete());
        let opening = async { open(&mut Client::connect(self.address()).await?, request).await };
        match opening.await.unwrap_or_else(|error| panic!("{asked}: no answer: {error}")) {
            Opening::Open(stream, headers) => {
                self.keep_cookies(&headers);
                Ok(TestWebSocket { asked, headers, stream: *stream, closed: None })
            }
            Opening::Refused(answer) => {
                let (parts, body) = answer.into_parts();
                self.keep_cookies(&parts.headers);
                Err(Box::new(TestResponse { asked, status: parts.status, headers: parts.headers, body }))
            }
        }
    }
}

/// A WebSocket of a [`TestServer`](crate::testing::TestServer), seen by its client. [`TestRequest::websocket`] opens it.
///
/// Each wait ends with a panic if nothing comes for 30 s.
pub struct TestWebSocket {
    asked: String,
    /// Headers of the answer that opened it.
    pub headers: HeaderMap,
    stream: Stream,
    /// The code with which it was closed.
    closed: Option<u16>,
}

impl fmt::Debug for TestWebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestWebSocket")
            .field("asked", &self.asked)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl TestWebSocket {
    /// Sends a message.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send(&mut self, message: Message) {
        let frame = match message {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(bytes) => Frame::Binary(bytes),
        };
        let sent = self.stream.send(frame).await;
        sent.unwrap_or_else(|error| panic!("{}: the WebSocket takes no message: {error}", self.asked));
    }

    /// Waits for the next message. `None` once the WebSocket is closed.
    pub async fn receive(&mut self) -> Option<Message> {
        if self.closed.is_some() {
            return None;
        }
        let next = tokio::time::timeout(PATIENCE, next(&mut self.stream)).await;
        match next.unwrap_or_else(|_| panic!("{}: no message came for {PATIENCE:?}", self.asked)) {
            Ok(message) => Some(message),
            Err(code) => {
                self.closed = Some(code);
                None
            }
        }
    }

    /// Waits for a message, which must be text.
    ///
    /// # Panics
    /// If the message is bytes, or the WebSocket is closed.
    pub async fn text(&mut self) -> String {
        match self.receive().await {
            Some(Message::Text(text)) => text,
            other => panic!("{}: {} and not a text", self.asked, self.in_words(other.as_ref())),
        }
    }

    /// Waits for a message, which must be bytes.
    ///
    /// # Panics
    /// If the message is text, or the WebSocket is closed.
    pub async fn binary(&mut self) -> Bytes {
        match self.receive().await {
            Some(Message::Binary(bytes)) => bytes,
            other => panic!("{}: {} and not bytes", self.asked, self.in_words(other.as_ref())),
        }
    }

    /// Waits for a text, and reads it from JSON.
    ///
    /// # Panics
    /// As [`Self::text`], or if the text is other JSON, or none.
    pub async fn json<T: DeserializeOwned>(&mut self) -> T {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.asked))
    }

    /// Waits until the server closes the WebSocket. Returns its code (RFC 6455, section 7.4.1): 1005 if the server gave none, 1006 if
    /// the connection broke.
    ///
    /// # Panics
    /// If a message comes.
    pub async fn closed(&mut self) -> u16 {
        match self.receive().await {
            Some(message) => panic!("{}: {} and not the end", self.asked, self.in_words(Some(&message))),
            None => self.closed.unwrap_or(BROKEN),
        }
    }

    /// Closes the WebSocket with this code, and waits for the server's answer. Messages that still come are passed over. Returns the
    /// code of the answer, which is the same one if all is well.
    pub async fn close(mut self, code: u16) -> u16 {
        if let Some(code) = self.closed {
            return code;
        }
        let closed = tokio::time::timeout(PATIENCE, close(&mut self.stream, code)).await;
        closed.unwrap_or_else(|_| panic!("{}: the close frame was not answered for {PATIENCE:?}", self.asked))
    }

    /// What came, for messages.
    fn in_words(&self, message: Option<&Message>) -> String {
        match (message, self.closed) {
            (Some(message), _) => format!("{message:?}"),
            (None, code) => format!("the end with code {}", code.unwrap_or(BROKEN)),
        }
    }
}
