//! A connection that rests, between being accepted, served, parked and handed over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gin_shared::handover::{Carried, Doing, Protocol, VERSION};

use crate::connections::activity::Rest;
use crate::connections::io::Held;
use crate::connections::transport::{RawStream, Stream};
use crate::websocket::Luggage;

/// What a connection is, beside what it is doing.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The listener that accepted it.
    pub(crate) listener: Arc<str>,
    pub(crate) opened: Instant,
    /// The client's address, over TCP.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether another worker had it before.
    pub(crate) taken_over: bool,
    pub(crate) stays: Stays,
}

impl Facts {
    /// It has been served for as long as it had to be.
    pub(crate) fn rested(self) -> Self {
        Self { stays: Stays::No, ..self }
    }
}

/// Whether it may go to another worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stays {
    /// As soon as it rests.
    #[default]
    No,
    /// Nobody has taken it: a request is answered here first, or a while passes.
    Since(Instant),
    /// What it carries is too much for a packet.
    Here,
}

/// How long nobody who has something to say waits for a worker that takes it.
pub(crate) const A_WHILE: Duration = Duration::from_millis(100);

impl Stays {
    /// For a while.
    pub(crate) fn now() -> Self {
        Self::Since(Instant::now())
    }

    /// Whether it need not stay any more. `served`: since it has to.
    pub(crate) fn is_over(self, served: bool) -> bool {
        match self {
            Self::No => true,
            Self::Since(since) => served || since.elapsed() >= A_WHILE,
            Self::Here => false,
        }
    }

    /// When to look again: then, or when it need not stay any more.
    pub(crate) fn or_until(self, then: Instant) -> Instant {
        match self {
            Self::Since(since) if since.elapsed() < A_WHILE => then.min(since + A_WHILE),
            Self::No | Self::Since(_) | Self::Here => then,
        }
    }
}

/// One that is to be served.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) stream: Stream,
    pub(crate) held: Held,
    pub(crate) facts: Facts,
    pub(crate) rest: Rest,
    /// Read from the client, and not answered.
    pub(crate) ahead: Bytes,
}

/// One that waits for bytes, for a worker that takes it, or for its end.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) bare: RawStream,
    pub(crate) held: Held,
    pub(crate) facts: Facts,
    pub(crate) rest: Rest,
    pub(crate) ahead: Bytes,
    /// A WebSocket's session.
    pub(crate) luggage: Option<Box<Luggage>>,
}

impl Live {
    pub(crate) fn accepted(stream: Stream, held: Held, listener: Arc<str>) -> Self {
        let rest = Rest::fresh();
        let peer = stream.peer();
        let facts = Facts { listener, opened: rest.since, peer, taken_over: false, stays: Stays::No };
        Self { stream, held, facts, rest, ahead: Bytes::new() }
    }

    pub(crate) fn resting(self) -> io::Result<Resting> {
        let Self { stream, held, facts, rest, ahead } = self;
        Ok(Resting { bare: stream.into_raw()?, held, facts, rest, ahead, luggage: None })
    }
}

impl Resting {
    pub(crate) fn live(self) -> io::Result<Live> {
        let Self { bare, held, facts, rest, ahead, luggage: _ } = self;
        Ok(Live { stream: bare.into_stream()?, held, facts, rest, ahead })
    }

    /// Whether the client has said something that nobody has answered.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.ahead.is_empty() || self.bare.probe().has_bytes()
    }

    /// What it carries to another worker.
    pub(crate) fn carried(&self, now: Instant) -> Carried {
        let protocol = match &self.luggage {
            Some(luggage) => Protocol::WebSocket { name: luggage.name.to_string(), length: luggage.session.len() },
            None => Protocol::Http1 { doing: self.rest.doing },
        };
        Carried {
            version: VERSION,
            protocol,
            listener: self.facts.listener.to_string(),
            since_ms: millis(now.saturating_duration_since(self.rest.since)),
            age_ms: millis(now.saturating_duration_since(self.facts.opened)),
            requests: self.rest.requests,
            ahead: self.ahead.len(),
        }
    }

    /// The bytes that go with it.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        let session = self.luggage.as_ref().map(|luggage| luggage.session.iter().copied());
        self.ahead.iter().copied().chain(session.into_iter().flatten())
    }

    /// How long its names are.
    pub(crate) fn names(&self) -> usize {
        self.facts.listener.len() + self.luggage.as_ref().map_or(0, |luggage| luggage.name.len())
    }

    /// How many.
    pub(crate) fn length(&self) -> usize {
        self.ahead.len() + self.luggage.as_ref().map_or(0, |luggage| luggage.session.len())
    }

    /// One that another worker has had.
    pub(crate) fn taken(carried: Carried, bare: RawStream, held: Held, ahead: Bytes, session: Bytes) -> Self {
        let now = Instant::now();
        let ago = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap_or(now);
        let (doing, luggage) = match carried.protocol {
            Protocol::Http1 { doing } => (doing, None),
            Protocol::WebSocket { name, .. } => (Doing::Idle, Some(Box::new(Luggage { name: name.into(), session }))),
        };
        let rest = Rest { doing, since: ago(carried.since_ms), requests: carried.requests };
        let (listener, opened) = (carried.listener.into(), ago(carried.age_ms));
        let facts = Facts { listener, opened, peer: bare.peer(), taken_over: true, stays: Stays::No };
        Self { bare, held, facts, rest, ahead, luggage }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
