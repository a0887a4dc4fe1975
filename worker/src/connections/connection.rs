//! A connection in the two forms that it has between the kernel and its end.
//!
//! An [`ActiveConnection`] has a stream that the runtime watches: a protocol serves it. An [`IdleConnection`] is a raw stream and some
//! counters: it waits for bytes, for a taker, or for its end. The facts that both have are [`ConnectionInfo`]. What a protocol or
//! a transport keeps of the idle form is [`Kept`]: the keys of TLS, the state of HTTP/2, a WebSocket's session. Not here: how a connection is packed for another worker
//! (`handover::carried`), and what happens to it next (`machine`, `hub`).

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gin_shared::handover::Doing;

use crate::connections::http2::state::Http2State;
pub(crate) use crate::connections::listener_facts::{ListenerFacts, Opening, Protection};
use crate::connections::machine::{HandoverHold, Idle};
use crate::connections::progress::Progress;
use crate::connections::room::Place;
use crate::connections::transport::{NotRaw, RawStream, Stream};
use crate::tls::{Keys, TlsContext, TlsFacts};

/// Facts about a connection that do not depend on what it is doing.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    /// The listener that accepted it. A thin pointer, so that a parked connection stays small.
    pub(crate) listener: Arc<ListenerFacts>,
    /// The moment at which it was accepted, by whichever worker.
    pub(crate) opened: Instant,
    /// The client's address: over TCP, or as a PROXY header tells it.
    pub(crate) peer: Option<SocketAddr>,
    /// Facts that the handshake has settled. `None`: cleartext, or no handshake yet.
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// Bytes that must come before the first one of a protocol.
    pub(crate) stage: Opening,
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
    /// State of HTTP/2, for a connection that spoke it before.
    pub(crate) http2: Option<Box<Http2State>>,
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
    pub(crate) kept: Kept,
}

/// State of a connection that no protocol has: in one box, or in none.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<Box<KeptParts>>);

/// The parts of [`Kept`].
#[derive(Debug, Default)]
pub(crate) struct KeptParts {
    /// Keys of a connection over TLS.
    pub(crate) keys: Option<Keys>,
    /// State of a connection that speaks HTTP/2.
    pub(crate) http2: Option<Box<Http2State>>,
    /// Session of a WebSocket. In a box of its own: most connections have none.
    pub(crate) session: Option<Box<WebSocketSession>>,
}

/// Places in the heap that a connection held before it was packed.
#[derive(Debug)]
pub(crate) struct Unpacked {
    _kept: Kept,
    _tls: Option<Arc<TlsFacts>>,
    _ahead: Bytes,
}

/// A WebSocket's session between two handlers: the application has serialised it.
#[derive(Debug)]
pub(crate) struct WebSocketSession {
    /// Name that the application has registered for this kind of session.
    pub(crate) name: Arc<str>,
    pub(crate) state: Bytes,
}

/// A reason why a connection is not taken out of the runtime.
#[derive(Debug)]
pub(crate) enum NotIdle {
    /// Half a record is read, or bytes are still to be sent: the connection is to be served on, with its session, and has a hold.
    Stays(Box<ActiveConnection>, Option<WebSocketSession>),
    /// The socket cannot be taken out, and is closed.
    Lost(io::Error),
}

impl Kept {
    pub(crate) fn of(parts: KeptParts) -> Self {
        let is_empty = parts.keys.is_none() && parts.http2.is_none() && parts.session.is_none();
        Self((!is_empty).then(|| Box::new(parts)))
    }

    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.0.as_ref()?.keys.as_ref()
    }

    pub(crate) fn http2(&self) -> Option<&Http2State> {
        self.0.as_ref()?.http2.as_deref()
    }

    pub(crate) fn session(&self) -> Option<&WebSocketSession> {
        self.0.as_ref()?.session.as_deref()
    }

    pub(crate) fn into_parts(self) -> KeptParts {
        self.0.map_or_else(KeptParts::default, |parts| *parts)
    }

    fn moved(&mut self) -> Self {
        self.0.as_mut().map_or_else(Self::default, |parts| Self::of(parts.moved()))
    }
}

impl KeptParts {
    /// Moves the parts to other places in the heap. The keys are wiped here.
    fn moved(&mut self) -> Self {
        let session = |session: &WebSocketSession| {
            let (name, state) = (Arc::clone(&session.name), Bytes::copy_from_slice(&session.state));
            Box::new(WebSocketSession { name, state })
        };
        Self {
            keys: self.keys.as_mut().map(Keys::moved),
            http2: self.http2.clone(),
            session: self.session.as_deref().map(session),
        }
    }
}

impl ActiveConnection {
    /// A connection that the kernel gave to this listener, from this address.
    pub(crate) fn accepted(
        stream: Stream,
        peer: Option<SocketAddr>,
        mut place: Place,
        listener: Arc<ListenerFacts>,
    ) -> Self {
        place.set_tls(listener.tls.is_some());
        let progress = Progress::fresh();
        let (opened, stage) = (progress.since, listener.opening());
        let hold = HandoverHold::None;
        let info = ConnectionInfo { listener, opened, peer, tls: None, stage, is_taken_over: false, hold };
        Self { stream, place, info, progress, ahead: Bytes::new(), http2: None }
    }

    /// Has the runtime watch it no more. A session travels with the idle form.
    pub(crate) fn into_idle(self, session: Option<WebSocketSession>) -> Result<IdleConnection, NotIdle> {
        let Self { stream, place, info, progress, ahead, http2 } = self;
        match stream.into_raw() {
            Ok((raw, keys)) => {
                let kept = Kept::of(KeptParts { keys, http2, session: session.map(Box::new) });
                Ok(IdleConnection { raw, place, info, progress, ahead, kept })
            }
            Err(NotRaw::NotNow(stream)) => {
                let connection = Self { stream, place, info, progress, ahead, http2 };
                Err(NotIdle::Stays(Box::new(connection.held(Instant::now())), session))
            }
            Err(NotRaw::Failed(error)) => Err(NotIdle::Lost(error)),
        }
    }

    /// True if a head has begun, and its end has not come within this time.
    pub(crate) fn is_late(&self, read: Duration, now: Instant) -> bool {
        self.progress.doing == Doing::Head && now.saturating_duration_since(self.progress.since) >= read
    }

    /// The connection with a hold, in the middle of a head: half a record is the beginning of one. Over HTTP/2 there are frames between
    /// requests, too: there it stays idle for as long as it was.
    fn held(mut self, now: Instant) -> Self {
        if self.info.hold != HandoverHold::Always {
            self.info.hold = HandoverHold::Since(now);
        }
        if self.http2.is_none() && self.progress.doing != Doing::Head {
            self.progress = Progress { doing: Doing::Head, since: now, ..self.progress };
        }
        self
    }
}

impl IdleConnection {
    /// Has the runtime watch it again, with the keys that were kept of it. Returns its session, too.
    pub(crate) fn into_active(self, tls: &TlsContext) -> io::Result<(ActiveConnection, Option<WebSocketSession>)> {
        let Self { raw, place, info, progress, ahead, kept } = self;
        let KeptParts { keys, http2, session } = kept.into_parts();
        let stream = raw.into_stream(keys, tls)?;
        Ok((ActiveConnection { stream, place, info, progress, ahead, http2 }, session.map(|session| *session)))
    }

    /// Moves everything that is kept of it to other places in the heap. Returns the old places, which the caller frees.
    pub(crate) fn pack(&mut self) -> Unpacked {
        let tls = self.info.tls.as_ref().map(|facts| Arc::new(TlsFacts::clone(facts)));
        let (kept, ahead) = (self.kept.moved(), Bytes::copy_from_slice(&self.ahead));
        Unpacked {
            _kept: mem::replace(&mut self.kept, kept),
            _tls: mem::replace(&mut self.info.tls, tls),
            _ahead: mem::replace(&mut self.ahead, ahead),
        }
    }

    /// The connection as the machine looks at it.
    pub(crate) fn idle(&self) -> Idle {
        let (has_read_ahead, is_session) = (!self.ahead.is_empty(), self.kept.session().is_some());
        Idle { hold: self.info.hold, has_read_ahead, is_session }
    }

    /// True if the client has said something that nobody has answered.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.ahead.is_empty() || self.raw.probe().has_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_moved_stay_what_they_were() {
        let session = WebSocketSession { name: "chat".into(), state: Bytes::from_static(b"7") };
        let mut old = Kept::of(KeptParts { session: Some(Box::new(session)), ..KeptParts::default() });
        let kept = old.moved();
        assert_eq!(kept.session().map(|session| (&*session.name, &*session.state)), Some(("chat", &b"7"[..])));
        assert!(Kept::default().moved().0.is_none());
    }

    #[test]
    fn a_connection_of_which_nothing_is_kept_costs_no_allocation() {
        assert!(Kept::of(KeptParts::default()).0.is_none());
        let session = WebSocketSession { name: "chat".into(), state: Bytes::from_static(b"7") };
        let kept = Kept::of(KeptParts { session: Some(Box::new(session)), ..KeptParts::default() });
        assert_eq!(kept.session().map(|session| &*session.name), Some("chat"));
        assert!(kept.keys().is_none() && kept.http2().is_none());
        assert_eq!(kept.into_parts().session.map(|session| session.state), Some(Bytes::from_static(b"7")));
        assert_eq!(size_of::<Kept>(), 8);
        assert!(size_of::<KeptParts>() <= 32, "{}", size_of::<KeptParts>());
    }
}
