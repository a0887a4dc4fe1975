//! A WebSocket as its handler has it: messages, and the way to another worker.
//!
//! tungstenite speaks the protocol, over [`Frames`], so that nothing is read ahead between two messages. Whether other workers take
//! connections is looked at whenever nothing comes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use gin_shared::handover::Doing;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use crate::connections::{
    ActiveConnection, Activity, Alarm, Connection, ConnectionInfo, Context, HandoverHold, Io, LATE_LOOK, NotIdle,
    Progress, WebSocketSession,
};
use crate::graceful::Phase;
use crate::websocket::frames::Frames;
use crate::websocket::limits::SocketLimits;
use crate::websocket::message::{Message, Received};
use crate::websocket::silence::{Due, Silence};

/// Pause before [`Received::Leaving`] is reported again to a handler that has put it off.
const AGAIN: Duration = Duration::from_millis(100);
/// Time for what is still to be sent, for a close frame, and for the client's.
const FLUSH: Duration = Duration::from_secs(5);
/// Bytes of the reason in a close frame: a control frame has 125, and the code takes two.
const REASON_MAX: usize = 123;

/// A WebSocket, in the hands of the function that serves it: it receives and sends, and leaves when another worker takes over. See the
/// example of [the module](crate::websocket).
pub struct Socket {
    stream: WebSocketStream<Frames<Io>>,
    name: Arc<str>,
    info: ConnectionInfo,
    activity: Arc<Activity>,
    context: Arc<Context>,
    /// Ends when the worker drains. `None` once that was heard.
    drains: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    silence: Silence,
    /// Rings when a message that is under way has taken too long.
    unfinished: Alarm,
    /// The time at which `Leaving` is reported once more.
    again: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The time at which the connection is looked at again, in the middle of a message.
    mid_message: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The time at which the client is told that nobody takes it over.
    away: Option<Pin<Box<tokio::time::Sleep>>>,
    is_closed: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Socket {
    /// Takes up a connection whose session another handler has left.
    pub(super) async fn resumed(
        connection: ActiveConnection,
        name: Arc<str>,
        context: Arc<Context>,
        limits: SocketLimits,
    ) -> Self {
        let ActiveConnection { stream, place, info, progress, ahead, http2: _ } = connection;
        let activity = Arc::new(Activity::resume(&progress));
        activity.upgrade();
        let io = Io::new(stream, place, Bytes::new(), activity, &context.drain.bounds);
        Self::new(io, &ahead, name, info, context, limits).await
    }

    /// Takes up a connection that was upgraded by a request.
    pub(super) async fn upgraded(
        io: Io,
        ahead: &[u8],
        name: Arc<str>,
        connection: &Connection,
        limits: SocketLimits,
    ) -> Self {
        let (info, context) = (connection.info().clone(), Arc::clone(connection.context()));
        Self::new(io, ahead, name, info, context, limits).await
    }

    async fn new(
        io: Io,
        ahead: &[u8],
        name: Arc<str>,
        info: ConnectionInfo,
        context: Arc<Context>,
        limits: SocketLimits,
    ) -> Self {
        let activity = Arc::clone(io.activity());
        let config = Some(limits.for_tungstenite());
        let stream = WebSocketStream::from_raw_socket(Frames::new(io, ahead, limits.rate), Role::Server, config).await;
        let silence = Silence::new(context.drain.bounds.timeouts.idle);
        let life = context.drain.life.clone();
        let drains: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>> =
            Some(Box::pin(async move { life.draining().await }));
        let again = (info.hold != HandoverHold::None).then(|| Box::pin(tokio::time::sleep(AGAIN)));
        Self {
            stream,
            name,
            info,
            activity,
            context,
            drains,
            silence,
            unfinished: Alarm::default(),
            again,
            mid_message: None,
            away: None,
            is_closed: false,
        }
    }

    /// Waits for the next thing that happens. The future may be dropped, and this called again.
    pub async fn receive(&mut self) -> Received {
        loop {
            if self.is_closed {
                return Received::Closed;
            }
            match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Frame(Ok(Frame::Text(text))) => return Received::Message(Message::Text(text.to_string())),
                Next::Frame(Ok(Frame::Binary(bytes))) => return Received::Message(Message::Binary(bytes)),
                // tungstenite answers a ping, and a close, by itself.
                Next::Frame(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
                Next::Frame(Ok(Frame::Close(_))) | Next::End => {
                    let _ = tokio::time::timeout(FLUSH, self.close_side()).await;
                    self.is_closed = true;
                }
                Next::Frame(Err(error)) => self.fail(&error).await,
                Next::Silent(Due::Ping) => drop(self.send_frame(Frame::Ping(Bytes::new())).await),
                Next::Unfinished => self.close(CloseCode::Policy, "the message came too slowly").await,
                Next::Silent(Due::Close) => self.close(CloseCode::Away, "nothing was heard of you").await,
                Next::Leaving => return Received::Leaving,
                Next::Away => {
                    self.close_away().await;
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
        if let Poll::Ready(due) = self.poll_silence(cx) {
            return Poll::Ready(due);
        }
        if let Some(drains) = &mut self.drains {
            std::task::ready!(drains.as_mut().poll(cx));
            self.drains = None;
        }
        while self.info.hold != HandoverHold::Always && self.context.drain.is_giving() {
            let is_between = self.stream.get_ref().is_between_messages();
            if is_between && self.again.is_none() {
                self.again = Some(Box::pin(tokio::time::sleep(AGAIN)));
                return Poll::Ready(Next::Leaving);
            }
            // In the middle of a message its next bytes wake this task; but nobody may take the connection any more by then.
            let timer = if is_between { &mut self.again } else { &mut self.mid_message };
            let timer_polled = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(AGAIN))).as_mut().poll(cx);
            std::task::ready!(timer_polled);
            *timer = None;
        }
        let drain = &self.context.drain;
        let away = self.away.get_or_insert_with(|| Box::pin(tokio::time::sleep(drain.spread_grace())));
        away.as_mut().poll(cx).map(|()| Next::Away)
    }

    /// The duty because the client says nothing, or goes on too slowly with a message.
    fn poll_silence(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Next> {
        let frames = self.stream.get_ref();
        if frames.is_held_back() {
            // It has said more than may come.
            return Poll::Pending;
        }
        let bounds = &self.context.drain.bounds;
        let deadline = frames.pace().and_then(|pace| pace.deadline(bounds.timeouts.read, bounds.limits.min_rate));
        match deadline {
            Some(deadline) if self.unfinished.is_late(cx, deadline) => return Poll::Ready(Next::Unfinished),
            Some(_) => {}
            None => self.unfinished = Alarm::default(),
        }
        self.silence.poll(cx, frames.heard()).map(Next::Silent)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the connection is closed, or the client has taken nothing for `timeouts.write`; in a drain for 5 s.
    pub async fn send(&mut self, message: Message) -> Result<(), SendError> {
        let frame = match message {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(bytes) => Frame::Binary(bytes),
        };
        self.send_frame(frame).await
    }

    async fn send_frame(&mut self, frame: Frame) -> Result<(), SendError> {
        tokio::select! {
            biased;
            sent = self.stream.send(frame) => sent.map_err(SendError),
            () = stuck(&self.context, &self.activity) => {
                self.is_closed = true;
                Err(SendError(tungstenite::Error::Io(std::io::ErrorKind::TimedOut.into())))
            }
        }
    }

    /// Closes the connection, with code 1000.
    pub async fn end(mut self) {
        self.close(CloseCode::Normal, "").await;
    }

    /// Closes the connection with this code (RFC 6455, section 7.4: 1008 for a client that is too slow, say; 3000 to 4999 are the
    /// application's own) and this reason, of which a frame has room for 123 bytes. A code that no endpoint may send becomes 1000.
    ///
    /// ```
    /// use gin_worker::websocket::Socket;
    ///
    /// async fn too_slow(socket: Socket) {
    ///     socket.end_with(1008, "too slow").await;
    /// }
    /// ```
    pub async fn end_with(mut self, code: u16, reason: &'static str) {
        let code = Some(CloseCode::from(code)).filter(|code| code.is_allowed()).unwrap_or(CloseCode::Normal);
        self.close(code, &reason[..reason.floor_char_boundary(REASON_MAX)]).await;
    }

    /// Closes the connection because this worker ends, with code 1001.
    pub(super) async fn close_away(&mut self) {
        self.activity.ending.tell();
        self.close(CloseCode::Away, "the server ends").await;
    }

    /// Ends a connection whose client has broken the protocol or a limit, with the code that says which (RFC 6455, section 7.4.1).
    async fn fail(&mut self, error: &tungstenite::Error) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        tracing::debug!("WebSocket {:?}: {error}", self.name);
        let Some((code, reason)) = code_of(error) else { return };
        let frame = CloseFrame { code, reason: reason.into() };
        // What comes behind the mistake means nothing: it is thrown away, so that the code is not lost by a reset.
        let close = async {
            if self.stream.close(Some(frame)).await.is_ok() {
                let _ = self.stream.get_mut().shutdown().await;
            }
        };
        let _ = tokio::time::timeout(FLUSH, close).await;
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) {
        if !std::mem::replace(&mut self.is_closed, true) {
            let frame = CloseFrame { code, reason: reason.into() };
            // Reads until the client has answered: what it sent before would otherwise be answered by a reset.
            let close = async {
                if self.stream.close(Some(frame)).await.is_ok() {
                    while let Some(Ok(_)) = self.stream.next().await {}
                    self.close_side().await;
                }
            };
            let _ = tokio::time::timeout(FLUSH, close).await;
        }
    }

    /// Closes our side, behind the close frames of both: over TLS the client is told that nothing more comes.
    async fn close_side(&mut self) {
        let _ = self.stream.flush().await;
        let _ = self.stream.get_mut().io().end().await;
    }

    /// Gives the connection to another worker, which goes on with `session`. If none takes it after all, this one does.
    pub async fn leave(mut self, session: &(impl Serialize + Sync)) {
        let life = self.context.drain.life.clone();
        let flushed = tokio::select! {
            flushed = tokio::time::timeout(FLUSH, self.stream.flush()) => matches!(flushed, Ok(Ok(()))),
            () = life.reached(Phase::Cut) => false,
        };
        if self.is_closed || !flushed || !self.stream.get_ref().is_between_messages() {
            self.close_away().await;
            return;
        }
        let state: Bytes = match serde_json::to_vec(session) {
            Ok(session) => session.into(),
            Err(error) => {
                tracing::error!(
                    "cannot serialise the session of a WebSocket {:?}: {error}; the client is sent away",
                    self.name
                );
                self.close_away().await;
                return;
            }
        };
        let Self { stream, name, mut info, activity, context, .. } = self;
        let (io, read) = stream.into_inner().into_parts();
        let (stream, place, unread) = io.into_parts();
        let ahead: Bytes = [read, unread].concat().into();
        let now = Instant::now();
        info.hold = HandoverHold::of_session(state.len(), ahead.len(), now);
        let progress = Progress { doing: Doing::Idle, since: now, requests: activity.requests() };
        let connection = ActiveConnection { stream, place, info, progress, ahead, http2: None };
        match connection.into_idle(Some(WebSocketSession { name, state })) {
            Ok(connection) => context.give_back(connection),
            // It goes on here, and is asked to leave again when the hold is over.
            Err(NotIdle::Stays(connection, Some(session))) => context.serve_on(*connection, session),
            Err(NotIdle::Stays(_, None)) => {}
            Err(NotIdle::Lost(error)) => {
                tracing::warn!("cannot take a WebSocket out of the runtime: {error}; the connection is closed");
            }
        }
    }
}

/// Something that happens on the connection, or to the worker.
enum Next {
    Frame(Result<Frame, tungstenite::Error>),
    End,
    Leaving,
    Away,
    Silent(Due),
    /// A message that has begun does not come to its end.
    Unfinished,
}

/// The close code for a client's mistake. `None` if the connection is gone.
fn code_of(error: &tungstenite::Error) -> Option<(CloseCode, &'static str)> {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((CloseCode::Protocol, "the frame is malformed")),
        Error::Utf8(_) => Some((CloseCode::Invalid, "the text is not UTF-8")),
        Error::Capacity(_) => Some((CloseCode::Size, "the message is too long")),
        _ => None,
    }
}

/// Waits until the client has taken nothing, or too little, for too long. In a drain that is a shorter time.
async fn stuck(context: &Context, activity: &Activity) {
    let bounds = &context.drain.bounds;
    let mut found_late = false;
    loop {
        let now = Instant::now();
        let is_draining = context.drain.life.phase() >= Phase::Draining;
        let late = activity.stalled_since().zip(activity.write_deadline(bounds.timeouts.write, bounds.limits.min_rate));
        let at = match late {
            Some((since, at)) if is_draining => at.min(since + FLUSH),
            Some((_, at)) => at,
            None => now + FLUSH.min(bounds.timeouts.write),
        };
        found_late = match (late.is_some() && now >= at, found_late) {
            (true, true) => return,
            (is_late, _) => is_late,
        };
        let look = if found_late { now + LATE_LOOK } else { at };
        tokio::select! {
            () = tokio::time::sleep_until(look.into()) => {}
            () = context.drain.life.draining(), if !is_draining => {}
        }
    }
}

/// Error of a message that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("the WebSocket is closed: {0}")]
pub struct SendError(#[source] tungstenite::Error);
