//! A connection as it travels between two workers: its description, its bytes, its descriptor.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gin_shared::handover::{BYTES_MAX, Carried, Doing, Malformed, PACKET_MAX, Protocol, VERSION};

use crate::connections::connection::{
    ConnectionInfo, IdleConnection, Kept, KeptParts, ListenerFacts, Opening, WebSocketSession,
};
use crate::connections::handover::ABILITIES;
use crate::connections::machine::HandoverHold;
use crate::connections::progress::Progress;
use crate::connections::room::Place;
use crate::connections::transport::RawStream;
use crate::graceful::Spoken;

/// Largest size of a description in a packet, in bytes, without its names.
const DESCRIPTION_MAX: usize = 512;
/// Largest growth of a byte of a name in JSON.
const ESCAPED: usize = 6;

/// Describes a connection for a packet.
pub(crate) fn describe(connection: &IdleConnection, now: Instant) -> Carried {
    let protocol = match connection.kept.session() {
        Some(session) => Protocol::WebSocket { name: session.name.to_string(), length: session.state.len() },
        None => Protocol::Http1 { doing: connection.progress.doing },
    };
    Carried {
        version: VERSION,
        listener: connection.info.listener.name.to_string(),
        protocol,
        since_ms: millis(now.saturating_duration_since(connection.progress.since)),
        age_ms: millis(now.saturating_duration_since(connection.info.opened)),
        requests: connection.progress.requests,
        ahead: connection.ahead.len(),
        peer: None,
        pending: None,
        tls: None,
    }
}

/// The bytes that follow the description: those that were read ahead, then the session.
pub(crate) fn bytes(connection: &IdleConnection) -> impl Iterator<Item = u8> {
    let session = connection.kept.session().map(|session| session.state.iter().copied());
    connection.ahead.iter().copied().chain(session.into_iter().flatten())
}

/// The room that a connection needs in a packet, in bytes. `None` if it does not fit into any.
pub(crate) fn needed(connection: &IdleConnection) -> Option<usize> {
    let (name, session) = connection.kept.session().map_or((0, 0), |s| (s.name.len(), s.state.len()));
    let length = connection.ahead.len() + session;
    let names = connection.info.listener.name.len() + name;
    let needed = length + names * ESCAPED + DESCRIPTION_MAX;
    (length <= BYTES_MAX && needed <= PACKET_MAX).then_some(needed)
}

/// A connection that was received, and not accepted yet.
#[derive(Debug)]
pub(crate) struct Received {
    description: Carried,
    raw: RawStream,
    ahead: Bytes,
    session: Bytes,
}

impl Received {
    /// Takes the connection's bytes off the packet's tail. Returns the rest of the tail, too.
    pub(crate) fn unpack(description: Carried, raw: RawStream, tail: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        if !ABILITIES.cover(description.needs()) {
            return Err(Malformed::Unexpected("a connection of a kind that this worker has not said to take"));
        }
        let (ahead, tail) = tail.split_at_checked(description.ahead).ok_or(Malformed::Short)?;
        let length = match &description.protocol {
            Protocol::Http1 { .. } | Protocol::Http2 { .. } => 0,
            Protocol::WebSocket { length, .. } => *length,
        };
        let (session, tail) = tail.split_at_checked(length).ok_or(Malformed::Short)?;
        let (ahead, session) = (Bytes::copy_from_slice(ahead), Bytes::copy_from_slice(session));
        Ok((Self { description, raw, ahead, session }, tail))
    }

    /// Name of the listener that accepted it.
    pub(crate) fn listener(&self) -> &str {
        &self.description.listener
    }

    /// The client's address, over TCP.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.raw.peer().map(|peer| peer.ip())
    }

    /// Makes it a connection of this worker, as one of this listener.
    pub(crate) fn into_idle(self, mut place: Place, listener: Arc<ListenerFacts>) -> IdleConnection {
        let Self { description, raw, ahead, session: state } = self;
        let now = Instant::now();
        let ago = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap_or(now);
        let (doing, session) = match description.protocol {
            Protocol::Http1 { doing } => (doing, None),
            // Refused in `unpack`.
            Protocol::Http2 { .. } => (Doing::Idle, None),
            Protocol::WebSocket { name, .. } => (Doing::Idle, Some(WebSocketSession { name: name.into(), state })),
        };
        place.own();
        match (&session, description.requests) {
            (Some(_), _) => place.speaks(Spoken::WebSocket),
            (None, 1..) => place.speaks(Spoken::Http1),
            (None, 0) => {}
        }
        let progress = Progress { doing, since: ago(description.since_ms), requests: description.requests };
        let info = ConnectionInfo {
            listener,
            opened: ago(description.age_ms),
            peer: raw.peer(),
            tls: None,
            stage: Opening::Done,
            is_taken_over: true,
            hold: HandoverHold::None,
        };
        let kept = Kept::of(KeptParts { session, ..KeptParts::default() });
        IdleConnection { raw, place, info, progress, ahead, kept }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
