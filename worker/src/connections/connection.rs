//! A connection in the two forms that it has between the kernel and its end.
//!
//! An [`ActiveConnection`] has a stream that the runtime watches: a protocol serves it. An [`IdleConnection`] is a raw stream and some
//! counters: it waits for bytes, for a taker, or for its end. The facts that both have are [`ConnectionInfo`]. A session of an
//! upgraded connection travels with the idle form. Not here: how a connection is packed for another worker
//! (`handover::carried`), and what happens to it next (`machine`, `hub`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::connections::machine::{HandoverHold, Idle};
use crate::connections::progress::Progress;
use crate::connections::room::Place;
use crate::connections::transport::{RawStream, Stream};

/// Facts about a connection that do not depend on what it is doing.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    /// Name of the listener that accepted it.
    pub(crate) listener: Arc<str>,
    /// The moment at which it was accepted, by whichever worker.
    pub(crate) opened: Instant,
    /// The client's address, over TCP.
    pub(crate) peer: Option<SocketAddr>,
    /// True if another worker had it before.
    pub(crate) is_taken_over: bool,
    pub(crate) hold: HandoverHold,
}

impl ConnectionInfo {
    /// The same without a hold: the connection was served for as long as it had to be.
    pub(crate) fn released(self) -> Self {
        Self { hold: HandoverHold::None, ..self }
    }
}

/// A connection that a protocol serves.
#[derive(Debug)]
pub(crate) struct ActiveConnection {
    pub(crate) stream: Stream,
    pub(crate) place: Place,
    pub(crate) info: ConnectionInfo,
    pub(crate) progress: Progress,
    /// Bytes that were read from the client and not answered.
    pub(crate) ahead: Bytes,
}

/// A connection that waits for bytes, for a taker, or for its end.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    pub(crate) raw: RawStream,
    pub(crate) place: Place,
    pub(crate) info: ConnectionInfo,
    pub(crate) progress: Progress,
    /// Bytes that were read from the client and not answered.
    pub(crate) ahead: Bytes,
    /// Session of a WebSocket.
    pub(crate) session: Option<Box<WebSocketSession>>,
}

/// A WebSocket's session between two handlers: the application has serialised it.
#[derive(Debug)]
pub(crate) struct WebSocketSession {
    /// Name that the application has registered for this kind of session.
    pub(crate) name: Arc<str>,
    pub(crate) state: Bytes,
}

impl ActiveConnection {
    /// A connection that the kernel gave to a listener of this name, from this address.
    pub(crate) fn accepted(stream: Stream, peer: Option<SocketAddr>, place: Place, listener: Arc<str>) -> Self {
        let progress = Progress::fresh();
        let opened = progress.since;
        let info = ConnectionInfo { listener, opened, peer, is_taken_over: false, hold: HandoverHold::None };
        Self { stream, place, info, progress, ahead: Bytes::new() }
    }

    /// Has the runtime watch it no more.
    pub(crate) fn into_idle(self) -> io::Result<IdleConnection> {
        let Self { stream, place, info, progress, ahead } = self;
        Ok(IdleConnection { raw: stream.into_raw()?, place, info, progress, ahead, session: None })
    }
}

impl IdleConnection {
    /// Has the runtime watch it again. The session is dropped: see [`Self::session`].
    pub(crate) fn into_active(self) -> io::Result<ActiveConnection> {
        let Self { raw, place, info, progress, ahead, session: _ } = self;
        Ok(ActiveConnection { stream: raw.into_stream()?, place, info, progress, ahead })
    }

    /// The connection as the machine looks at it.
    pub(crate) fn idle(&self) -> Idle {
        let (has_read_ahead, is_session) = (!self.ahead.is_empty(), self.session.is_some());
        Idle { hold: self.info.hold, has_read_ahead, is_session }
    }

    /// True if the client has said something that nobody has answered.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.ahead.is_empty() || self.raw.probe().has_bytes()
    }
}
