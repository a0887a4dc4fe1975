//! WebSockets that outlive the worker: between two messages the connection goes to the next one, with the session that the
//! application has put into words.
//!
//! ```no_run
//! use gin_worker::websocket::{Message, Received, Socket, WebSocketUpgrade, WebSockets};
//! use gin_worker::axum::{Router, response::Response, routing::get};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Session {
//!     heard: u64,
//! }
//!
//! async fn count(mut socket: Socket, mut session: Session) {
//!     loop {
//!         match socket.receive().await {
//!             Received::Message(_) => {
//!                 session.heard += 1;
//!                 let _ = socket.send(Message::Text(session.heard.to_string())).await;
//!             }
//!             // The next worker calls `count` with it.
//!             Received::Leaving => return socket.leave(&session).await,
//!             Received::Closed => return,
//!         }
//!     }
//! }
//!
//! # async fn f() -> gin_worker::Result {
//! let counting = WebSockets::new("count", count);
//! let upgrade = counting.clone();
//! let router = Router::new().route(
//!     "/count",
//!     get(async move |socket: WebSocketUpgrade| -> Response { socket.serve(&upgrade, Session { heard: 0 }) }),
//! );
//! gin_worker::Server::new(&gin_worker::Config::<()>::load()?).merge(router).websockets(counting).run().await
//! # }
//! ```
//!
//! Where nobody takes the connection (a stop, or a next worker that does not know the name) the client is sent close code 1001
//! (RFC 6455, section 7.4.1), spread over `timeouts.idle_grace`.

mod frames;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use gin_shared::handover::{BYTES_MAX, Doing};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use crate::graceful::Phase;

use crate::connections::activity::{Activity, Rest};
use crate::connections::connection::{Facts, Live, Resting, Stays};
use crate::connections::io::Io;
use crate::connections::protocol::http1::{Connection, Shared};
use frames::Frames;

/// Who has put leaving off is asked again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// For a close frame, and the client's.
const FLUSH: Duration = Duration::from_secs(5);

/// A text or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(String),
    /// Anything.
    Binary(Bytes),
}

/// What comes over a [`Socket`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A whole message.
    Message(Message),
    /// Another worker takes over: [`Socket::leave`] with what it has to know. Nothing is lost if this is put off.
    Leaving,
    /// It is closed: by the client, by an error, or because nobody takes it over. There will be no more.
    Closed,
}

/// One kind of session: its name, which the next worker must know, too, and what serves it.
pub struct WebSockets<S> {
    name: Arc<str>,
    serve: Arc<dyn Fn(Socket, S) -> Served + Send + Sync>,
}

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<S> Clone for WebSockets<S> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), serve: Arc::clone(&self.serve) }
    }
}

impl<S> fmt::Debug for WebSockets<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSockets").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Serialize + DeserializeOwned + Send + 'static> WebSockets<S> {
    /// Sessions of this name are served by `serve`.
    pub fn new<F, R>(name: &str, serve: F) -> Self
    where
        F: Fn(Socket, S) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self { name: name.into(), serve: Arc::new(move |socket, session| Box::pin(serve(socket, session))) }
    }
}

/// Every kind that a worker knows, by name.
pub(crate) type Kinds = HashMap<Arc<str>, Arc<dyn Kind>>;

/// A [`WebSockets`] of any session.
pub(crate) trait Kind: Send + Sync + fmt::Debug {
    fn name(&self) -> Arc<str>;
    /// Goes on with a session that another worker has put into bytes.
    fn resume(&self, socket: Socket, session: &[u8]) -> Result<Served, (Box<Socket>, serde_json::Error)>;
}

impl<S: Serialize + DeserializeOwned + Send + 'static> Kind for WebSockets<S> {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn resume(&self, socket: Socket, session: &[u8]) -> Result<Served, (Box<Socket>, serde_json::Error)> {
        match serde_json::from_slice(session) {
            Ok(session) => Ok((self.serve)(socket, session)),
            Err(error) => Err((Box::new(socket), error)),
        }
    }
}

/// A WebSocket.
pub struct Socket {
    stream: WebSocketStream<Frames<Io>>,
    name: Arc<str>,
    facts: Facts,
    requests: u64,
    activity: Arc<Activity>,
    shared: Arc<Shared>,
    drains: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    draining: bool,
    /// When leaving is spoken of once more.
    again: Option<Pin<Box<tokio::time::Sleep>>>,
    /// When it is looked at again, in the midst of a message.
    midst: Option<Pin<Box<tokio::time::Sleep>>>,
    /// When the client is told that nobody takes it over.
    away: Option<Pin<Box<tokio::time::Sleep>>>,
    closed: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A session between two workers.
#[derive(Debug)]
pub(crate) struct Luggage {
    pub(crate) name: Arc<str>,
    pub(crate) session: Bytes,
}

impl Socket {
    async fn new(io: Io, ahead: &[u8], name: Arc<str>, facts: Facts, requests: u64, shared: Arc<Shared>) -> Self {
        let activity = Arc::clone(io.activity());
        let stream = WebSocketStream::from_raw_socket(Frames::new(io, ahead), Role::Server, None).await;
        let life = shared.life.clone();
        let drains = Box::pin(async move { life.draining().await });
        let again = (facts.stays != Stays::No).then(|| Box::pin(tokio::time::sleep(AGAIN)));
        Self {
            stream,
            name,
            facts,
            requests,
            activity,
            shared,
            drains,
            draining: false,
            again,
            midst: None,
            away: None,
            closed: false,
        }
    }

    /// The next thing that happens. May be dropped and called again.
    pub async fn receive(&mut self) -> Received {
        loop {
            if self.closed {
                return Received::Closed;
            }
            match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Frame(Ok(Frame::Text(text))) => return Received::Message(Message::Text(text.to_string())),
                Next::Frame(Ok(Frame::Binary(bytes))) => return Received::Message(Message::Binary(bytes)),
                // tungstenite answers a ping, and a close, by itself.
                Next::Frame(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
                Next::Frame(Ok(Frame::Close(_)) | Err(_)) | Next::End => {
                    let _ = tokio::time::timeout(FLUSH, self.stream.flush()).await;
                    self.closed = true;
                }
                Next::Leaving => return Received::Leaving,
                Next::Away => {
                    self.shared.life.tally().closes();
                    self.close(CloseCode::Away, "the server ends").await;
                }
            }
        }
    }

    fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Next> {
        match Pin::new(&mut self.stream).poll_next(cx) {
            Poll::Ready(Some(frame)) => return Poll::Ready(Next::Frame(frame)),
            Poll::Ready(None) => return Poll::Ready(Next::End),
            Poll::Pending => {}
        }
        if !self.draining {
            if self.drains.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.draining = true;
        }
        while self.facts.stays != Stays::Here && self.shared.is_giving() {
            let is_between = self.stream.get_ref().is_between_messages();
            if is_between && self.again.is_none() {
                self.again = Some(Box::pin(tokio::time::sleep(AGAIN)));
                return Poll::Ready(Next::Leaving);
            }
            // In the midst of a message its next bytes wake us; but nobody may take it any more by then.
            let timer = if is_between { &mut self.again } else { &mut self.midst };
            let timer_polled = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(AGAIN))).as_mut().poll(cx);
            std::task::ready!(timer_polled);
            *timer = None;
        }
        let grace = self.shared.timeouts.idle_grace;
        let away = self.away.get_or_insert_with(|| Box::pin(tokio::time::sleep(grace.mul_f64(spread()))));
        away.as_mut().poll(cx).map(|()| Next::Away)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the connection is closed, or the worker drains and the client has taken nothing for 5 s.
    pub async fn send(&mut self, message: Message) -> Result<(), SendError> {
        let frame = match message {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(bytes) => Frame::Binary(bytes),
        };
        tokio::select! {
            sent = self.stream.send(frame) => sent.map_err(SendError),
            () = stuck(&self.shared, &self.activity) => {
                self.closed = true;
                Err(SendError(tungstenite::Error::Io(std::io::ErrorKind::TimedOut.into())))
            }
        }
    }

    /// Closes it, with code 1000.
    pub async fn end(mut self) {
        self.close(CloseCode::Normal, "").await;
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) {
        if !std::mem::replace(&mut self.closed, true) {
            let frame = CloseFrame { code, reason: reason.into() };
            // Until the client has answered, or what it has sent before would be answered by a reset.
            let close = async {
                if self.stream.close(Some(frame)).await.is_ok() {
                    while let Some(Ok(_)) = self.stream.next().await {}
                }
            };
            let _ = tokio::time::timeout(FLUSH, close).await;
        }
    }

    /// Goes to another worker, which goes on with `session`. If none takes it after all, this one does.
    pub async fn leave(mut self, session: &(impl Serialize + Sync)) {
        let life = self.shared.life.clone();
        let flushed = tokio::select! {
            flushed = tokio::time::timeout(FLUSH, self.stream.flush()) => matches!(flushed, Ok(Ok(()))),
            () = life.reached(Phase::Cut) => false,
        };
        if self.closed || !flushed || !self.stream.get_ref().is_between_messages() {
            self.close(CloseCode::Away, "the server ends").await;
            return;
        }
        let session: Bytes = match serde_json::to_vec(session) {
            Ok(session) => session.into(),
            Err(error) => {
                tracing::error!("a session of {} cannot be handed over: {error}", self.name);
                self.close(CloseCode::Away, "the server ends").await;
                return;
            }
        };
        let Self { stream, name, mut facts, requests, shared, .. } = self;
        let (io, read) = stream.into_inner().into_parts();
        let (stream, held, unread) = io.into_parts();
        let ahead: Bytes = [read, unread].concat().into();
        facts.stays = match () {
            // It is told so at the next look.
            () if session.len() > BYTES_MAX => Stays::Here,
            // Its messages are heard here first.
            () if session.len() + ahead.len() > BYTES_MAX => Stays::now(),
            () => Stays::No,
        };
        let rest = Rest { doing: Doing::Idle, since: Instant::now(), requests };
        match stream.into_raw() {
            Ok(bare) => {
                let luggage = Some(Box::new(Luggage { name, session }));
                shared.rest(Resting { bare, held, facts, rest, ahead, luggage });
            }
            Err(error) => tracing::warn!("a connection is lost: {error}"),
        }
    }
}

enum Next {
    Frame(Result<Frame, tungstenite::Error>),
    End,
    Leaving,
    Away,
}

/// Goes on with a session that has been resting.
pub(crate) async fn resume(live: Live, luggage: Luggage, shared: Arc<Shared>) {
    let Live { stream, held, facts, rest, ahead } = live;
    let io = Io::new(stream, held, Bytes::new(), Arc::new(Activity::resume(&rest)));
    let requests = rest.requests;
    let Luggage { name, session } = luggage;
    let mut socket = Socket::new(io, &ahead, Arc::clone(&name), facts, requests, Arc::clone(&shared)).await;
    match shared.websockets.get(&name) {
        Some(kind) => match kind.resume(socket, &session) {
            Ok(served) => served.await,
            Err((mut socket, error)) => {
                tracing::error!("a session of {name} cannot be taken up: {error}");
                socket.close(CloseCode::Away, "the server ends").await;
            }
        },
        None => {
            tracing::error!("a session of {name}, which is not known here, cannot be taken up");
            socket.close(CloseCode::Away, "the server ends").await;
        }
    }
}

/// Until the worker drains, and the client has taken nothing for too long.
async fn stuck(shared: &Shared, activity: &Activity) {
    shared.life.draining().await;
    loop {
        let since = activity.stalled_since();
        if since.is_some_and(|since| since.elapsed() >= FLUSH) {
            return;
        }
        tokio::time::sleep_until((since.unwrap_or_else(Instant::now) + FLUSH).into()).await;
    }
}

/// 0 to 1: clients that are closed come back, and not all at once.
pub(crate) fn spread() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
#[error("the WebSocket is closed: {0}")]
pub struct SendError(#[source] tungstenite::Error);

/// A request that asks for a WebSocket (RFC 6455, section 4.2).
#[derive(Debug)]
pub struct WebSocketUpgrade {
    on_upgrade: OnUpgrade,
    accept: HeaderValue,
    connection: Connection,
}

impl WebSocketUpgrade {
    /// The answer; the connection is served as `sockets` says from then on.
    pub fn serve<S: Send + 'static>(self, sockets: &WebSockets<S>, session: S) -> Response {
        let Self { on_upgrade, accept, connection } = self;
        let sockets = sockets.clone();
        tokio::spawn(async move {
            let upgraded = match on_upgrade.await.map(hyper::upgrade::Upgraded::downcast::<TokioIo<Io>>) {
                Ok(Ok(upgraded)) => upgraded,
                Ok(Err(_)) => return tracing::error!("a connection that is none of this server's"),
                Err(error) => return tracing::debug!("connection: {error}"),
            };
            let mut io = upgraded.io.into_inner();
            io.says_no_goodbye();
            let (facts, shared) = (connection.facts().clone(), Arc::clone(connection.shared()));
            let requests = io.requests();
            let socket = Socket::new(io, &upgraded.read_buf, Arc::clone(&sockets.name), facts, requests, shared).await;
            (sockets.serve)(socket, session).await;
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

impl<A: Send + Sync> FromRequestParts<A> for WebSocketUpgrade {
    type Rejection = (StatusCode, [(header::HeaderName, HeaderValue); 1], &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &A) -> Result<Self, Self::Rejection> {
        let refuse = |text| {
            let version = (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            (StatusCode::UPGRADE_REQUIRED, [version], text)
        };
        if parts.method != Method::GET || !has(&parts.headers, &header::CONNECTION, "upgrade") {
            return Err(refuse("a WebSocket is asked for by GET, with Connection: upgrade\n"));
        }
        if !has(&parts.headers, &header::UPGRADE, "websocket") {
            return Err(refuse("a WebSocket is asked for with Upgrade: websocket\n"));
        }
        if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(refuse("Sec-WebSocket-Version must be 13\n"));
        }
        let Some(key) = parts.headers.get(header::SEC_WEBSOCKET_KEY) else {
            return Err(refuse("Sec-WebSocket-Key is missing\n"));
        };
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64");
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let connection = parts.extensions.get::<Connection>().cloned();
        let (Some(on_upgrade), Some(connection)) = (on_upgrade, connection) else {
            return Err(refuse("this connection cannot become a WebSocket\n"));
        };
        Ok(Self { on_upgrade, accept, connection })
    }
}

/// Whether a header that is a list has this word.
fn has(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}
