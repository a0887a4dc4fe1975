//! A connection as it travels between two workers: its description, its bytes, its descriptor.
//!
//! In the packet's tail stand, for each connection, the bytes that were read ahead, the session of a WebSocket or the state of HTTP/2,
//! and last the keys of TLS. The keys are in no other place of a packet, and packets with keys are wiped by whoever has them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gin_shared::handover::{
    Abilities, BYTES_MAX, Carried, Doing, FromGiver, Malformed, PACKET_MAX, Pending, Protocol, VERSION, encode_into,
};

use crate::connections::connection::{
    ConnectionInfo, IdleConnection, Kept, KeptParts, ListenerFacts, Opening, Protection, WebSocketSession,
};
use crate::connections::handover::ABILITIES;
use crate::connections::http2::state::Http2State;
use crate::connections::machine::HandoverHold;
use crate::connections::progress::Progress;
use crate::connections::room::Place;
use crate::connections::transport::RawStream;
use crate::graceful::Spoken;
use crate::tls::{Keys, TlsFacts};

/// Room for connections in a packet, in bytes. The rest is for what stands around their descriptions.
pub(crate) const ROOM: usize = PACKET_MAX - 128;
/// Largest growth of a description between two looks: two times may have 19 digits more, and a comma follows.
const GROWTH: usize = 40;

/// Writes a packet with these connections, in place of what is there.
pub(crate) fn pack(packet: &mut Vec<u8>, batch: &[IdleConnection], number: u64) {
    let now = Instant::now();
    let connections = batch.iter().map(|connection| describe(connection, now)).collect();
    let give = FromGiver::Give { batch: number, connections };
    encode_into(packet, &give, |packet| batch.iter().for_each(|connection| write_tail(connection, packet)));
}

/// The room that a connection needs in a packet, in bytes. `None` if it does not fit into any.
pub(crate) fn needed(connection: &IdleConnection) -> Option<usize> {
    let kept = &connection.kept;
    let state = kept.session().map_or(0, |session| session.state.len()) + kept.http2().map_or(0, Http2State::length);
    let carried = connection.ahead.len() + state;
    let description = serde_json::to_vec(&describe(connection, Instant::now()));
    let description = description.expect("these types have no maps with odd keys").len() + GROWTH;
    let needed = description + carried + kept.keys().map_or(0, Keys::len);
    (carried <= BYTES_MAX && needed <= ROOM).then_some(needed)
}

/// The abilities that a taker of this connection must have: those that its description will need.
pub(crate) fn needs(connection: &IdleConnection) -> Abilities {
    let stage = connection.info.stage;
    Abilities {
        tls: connection.kept.keys().is_some() || stage == Opening::Handshake,
        http2: connection.kept.http2().is_some() && connection.kept.session().is_none(),
        proxied: stage == Opening::Proxy || told_peer(connection).is_some(),
    }
}

/// Describes a connection for a packet.
fn describe(connection: &IdleConnection, now: Instant) -> Carried {
    let IdleConnection { info, progress, ahead, kept, .. } = connection;
    let protocol = match (kept.session(), kept.http2()) {
        (Some(session), _) => Protocol::WebSocket { name: session.name.to_string(), length: session.state.len() },
        (None, Some(state)) => Protocol::Http2 { length: state.length() },
        (None, None) => Protocol::Http1 { doing: progress.doing },
    };
    let pending = match info.stage {
        Opening::Proxy => Some(Pending::Proxy),
        Opening::Handshake => Some(Pending::Handshake),
        Opening::Done => None,
    };
    let tls = kept.keys().map(|keys| {
        let facts =
            info.tls.as_deref().expect("a connection has keys by its handshake, and that has settled the facts");
        facts.carried(keys.len())
    });
    // An earlier build finds nothing new in a connection that it can serve.
    let version = if needs(connection) == Abilities::default() { 1 } else { VERSION };
    Carried {
        version,
        listener: info.listener.name.to_string(),
        protocol,
        since_ms: millis(now.saturating_duration_since(progress.since)),
        age_ms: millis(now.saturating_duration_since(info.opened)),
        requests: progress.requests,
        ahead: ahead.len(),
        peer: told_peer(connection),
        pending,
        needs_certificate: pending.is_some() && info.listener.requires_certificate(),
        handshake_follows: (pending == Some(Pending::Proxy)).then(|| info.listener.tls.is_some()),
        tls,
    }
}

/// The client's address, if a PROXY header has told it: the taker cannot ask the socket for it.
fn told_peer(connection: &IdleConnection) -> Option<SocketAddr> {
    let IdleConnection { raw, info, .. } = connection;
    let has_header = info.listener.proxy.is_some();
    if !has_header && !info.is_taken_over {
        return None;
    }
    // A socket whose client has left has no address any more.
    let is_told = raw.peer().map_or(has_header, |own| info.peer != Some(own));
    info.peer.filter(|_| is_told)
}

/// Writes the bytes that follow the descriptions. There is room for them: a packet that grows would leave a copy of the keys behind.
fn write_tail(connection: &IdleConnection, packet: &mut Vec<u8>) {
    let kept = &connection.kept;
    packet.extend_from_slice(&connection.ahead);
    match (kept.session(), kept.http2()) {
        (Some(session), _) => packet.extend_from_slice(&session.state),
        (None, Some(state)) => state.write(packet),
        (None, None) => {}
    }
    if let Some(keys) = kept.keys() {
        keys.write_to(packet);
    }
}

/// A connection that was received, and not accepted yet.
#[derive(Debug)]
pub(crate) struct Received {
    description: Carried,
    raw: RawStream,
    ahead: Bytes,
    tls: Option<Arc<TlsFacts>>,
    kept: KeptParts,
}

impl Received {
    /// Takes the connection's bytes off the packet's tail. Returns the rest of the tail, too.
    pub(crate) fn unpack(description: Carried, raw: RawStream, tail: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        if !ABILITIES.cover(description.needs()) {
            return Err(Malformed::Unexpected("a connection of a kind that this worker has not said to take"));
        }
        let mut kept = KeptParts::default();
        let (ahead, tail) = tail.split_at_checked(description.ahead).ok_or(Malformed::Short)?;
        let length = match &description.protocol {
            Protocol::Http1 { .. } => 0,
            Protocol::WebSocket { length, .. } | Protocol::Http2 { length } => *length,
        };
        let (state, tail) = tail.split_at_checked(length).ok_or(Malformed::Short)?;
        match &description.protocol {
            Protocol::Http1 { .. } => {}
            Protocol::WebSocket { name, .. } => {
                let state = Bytes::copy_from_slice(state);
                kept.session = Some(Box::new(WebSocketSession { name: name.as_str().into(), state }));
            }
            Protocol::Http2 { .. } => {
                let state = Http2State::read(state);
                kept.http2 =
                    Some(Box::new(state.map_err(|_| Malformed::Unexpected("a state of no HTTP/2 connection"))?));
            }
        }
        let length = description.tls.as_ref().map_or(0, |tls| tls.keys);
        let (keys, tail) = tail.split_at_checked(length).ok_or(Malformed::Short)?;
        let mut facts = None;
        if let Some(tls) = &description.tls {
            if description.pending.is_some() || !matches!(raw, RawStream::Tcp(_)) {
                return Err(Malformed::Unexpected("keys of a connection that cannot have any"));
            }
            kept.keys = Some(Keys::received(keys)?);
            facts = Some(Arc::new(TlsFacts::of_carried(tls)?));
        }
        let ahead = Bytes::copy_from_slice(ahead);
        Ok((Self { description, raw, ahead, tls: facts, kept }, tail))
    }

    /// Name of the listener that accepted it.
    pub(crate) fn listener(&self) -> &str {
        &self.description.listener
    }

    /// The protection that it has still to get.
    pub(crate) fn protection(&self) -> Protection {
        let Carried { pending, needs_certificate, handshake_follows, .. } = self.description;
        match (pending, handshake_follows) {
            (None, _) => Protection::Settled,
            (Some(_), _) if needs_certificate => Protection::Certificate,
            (Some(Pending::Handshake), _) | (Some(Pending::Proxy), Some(true)) => Protection::Handshake,
            (Some(Pending::Proxy), Some(false)) => Protection::Settled,
            (Some(Pending::Proxy), None) => Protection::Untold,
        }
    }

    /// True if it has keys.
    pub(crate) fn has_keys(&self) -> bool {
        self.kept.keys.is_some()
    }

    /// The address whose connections it counts among. `None` behind a proxy that has not told it.
    pub(crate) fn client(&self, listener: &ListenerFacts) -> Option<IpAddr> {
        let is_told = listener.proxy.is_none() || self.description.peer.is_some();
        let peer = self.address().filter(|_| is_told && self.description.pending != Some(Pending::Proxy));
        peer.map(|peer| peer.ip())
    }

    fn address(&self) -> Option<SocketAddr> {
        self.description.peer.or_else(|| self.raw.peer())
    }

    /// Makes it a connection of this worker, as one of this listener.
    pub(crate) fn into_idle(self, mut place: Place, listener: Arc<ListenerFacts>) -> IdleConnection {
        let peer = self.address();
        let Self { description, raw, ahead, tls, kept } = self;
        let now = Instant::now();
        let ago = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap_or(now);
        let (doing, spoken) = match description.protocol {
            Protocol::Http1 { doing } if description.requests == 0 => (doing, None),
            Protocol::Http1 { doing } => (doing, Some(Spoken::Http1)),
            Protocol::WebSocket { .. } => (Doing::Idle, Some(Spoken::WebSocket)),
            Protocol::Http2 { .. } => (Doing::Idle, Some(Spoken::Http2)),
        };
        place.own();
        if let Some(spoken) = spoken {
            place.speaks(spoken);
        }
        let stage = match description.pending {
            Some(Pending::Proxy) => Opening::Proxy,
            Some(Pending::Handshake) => Opening::Handshake,
            None => Opening::Done,
        };
        place.set_tls(if stage == Opening::Done { tls.is_some() } else { listener.tls.is_some() });
        let progress = Progress { doing, since: ago(description.since_ms), requests: description.requests };
        let info = ConnectionInfo {
            listener,
            opened: ago(description.age_ms),
            peer,
            tls,
            stage,
            is_taken_over: true,
            hold: HandoverHold::None,
        };
        IdleConnection { raw, place, info, progress, ahead, kept: Kept::of(kept) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use gin_shared::handover::{BATCH_MAX, CarriedClient, CarriedTls, decode};

    use super::*;
    use crate::connections::http2::settings::{ClientSettings, OwnSettings};
    use crate::connections::room::Room;
    use crate::graceful::Life;

    /// A connection that carries these, from a listener of this name.
    fn idle(listener: &str, ahead: usize, tls: Option<CarriedTls>, kept: KeptParts) -> IdleConnection {
        let sockets = std::os::unix::net::UnixStream::pair().unwrap();
        let mut place = Room::new(Life::default(), 1, None).take_over().unwrap();
        place.own();
        let now = Instant::now();
        let info = ConnectionInfo {
            listener: Arc::new(ListenerFacts::named(listener)),
            opened: now,
            peer: None,
            tls: tls.map(|tls| Arc::new(TlsFacts::of_carried(&tls).unwrap())),
            stage: Opening::Done,
            is_taken_over: false,
            hold: HandoverHold::None,
        };
        let progress = Progress { doing: Doing::Idle, since: now, requests: u64::MAX };
        let (raw, ahead) = (RawStream::Unix(sockets.0), Bytes::from(vec![b'x'; ahead]));
        IdleConnection { raw, place, info, progress, ahead, kept: Kept::of(kept) }
    }

    fn keys(length: usize) -> Option<Keys> {
        Some(Keys::received(&vec![7; length]).unwrap())
    }

    fn tls(text: &str) -> CarriedTls {
        let name = text.to_owned();
        let client = CarriedClient {
            subject: name.clone(),
            names: vec![name.clone(); 4],
            issuer: name.clone(),
            serial: "7f".to_owned(),
            ends: u64::from(u32::MAX),
        };
        let (server_name, protocol) = (Some(name), Some("http/1.1".to_owned()));
        CarriedTls { keys: 0, version: "1.3".to_owned(), server_name, protocol, client: Some(client), resumed: true }
    }

    fn http2(table: usize) -> Option<Box<Http2State>> {
        let own = OwnSettings { max_streams: 100, window: 65_536, connection_window: 6_553_600, head_list: 65_536 };
        let table = vec![0x40_u8; table].into_boxed_slice();
        let client = ClientSettings::default();
        let state = Http2State { client, own, last_id: 7, send_window: 9, receive_window: 9, resets: u32::MAX, table };
        Some(Box::new(state))
    }

    fn packed(batch: &[IdleConnection]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(PACKET_MAX);
        let room = packet.capacity();
        pack(&mut packet, batch, u64::MAX);
        assert_eq!(packet.capacity(), room, "a packet that grows leaves a copy of its keys behind");
        packet
    }

    #[test]
    fn the_room_that_is_asked_for_is_enough_whatever_is_carried() {
        // Some texts grow in JSON.
        for text in ["", "shop.example", "\u{1}\"\\\n", "имя"] {
            for (ahead, length, table) in [(0, 1, 0), (5000, 174, 900), (0, Keys::MAX, 16_000)] {
                let session = WebSocketSession { name: text.into(), state: Bytes::from(vec![1; table]) };
                let all = [
                    idle(text, ahead, None, KeptParts::default()),
                    idle(text, ahead, Some(tls(text)), KeptParts { keys: keys(length), ..KeptParts::default() }),
                    idle(
                        text,
                        ahead,
                        Some(tls(text)),
                        KeptParts { keys: keys(length), http2: http2(table), session: None },
                    ),
                    idle(text, ahead, None, KeptParts { session: Some(Box::new(session)), ..KeptParts::default() }),
                ];
                for connection in all {
                    let needed = needed(&connection).unwrap();
                    let packet = packed(std::slice::from_ref(&connection));
                    assert!(packet.len() <= needed + (PACKET_MAX - ROOM), "{} of {needed}", packet.len());
                    let (give, tail) = decode::<FromGiver>(&packet).unwrap();
                    let FromGiver::Give { connections, .. } = give else { panic!("{give:?}") };
                    assert_eq!(connections[0].needs(), needs(&connection));
                    assert!(tail.ends_with(&vec![7; connection.kept.keys().map_or(0, Keys::len)]));
                }
            }
        }
    }

    #[test]
    fn age_silence_and_requests_go_with_a_connection() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut given = idle("http", 0, None, KeptParts::default());
        given.info.opened = ago(7);
        given.progress = Progress { doing: Doing::Head, since: ago(3), requests: 5 };
        let packet = packed(std::slice::from_ref(&given));
        let (give, tail) = decode::<FromGiver>(&packet).unwrap();
        let FromGiver::Give { mut connections, .. } = give else { panic!("{give:?}") };
        let IdleConnection { raw, place, info, progress, .. } = given;
        let (received, _) = Received::unpack(connections.remove(0), raw, tail).unwrap();
        let taken = received.into_idle(place, Arc::clone(&info.listener));
        // A deadline that began anew with each worker would never come.
        assert_eq!((taken.progress.doing, taken.progress.requests), (Doing::Head, 5));
        for (taken, given) in [(taken.info.opened, info.opened), (taken.progress.since, progress.since)] {
            let later = taken.saturating_duration_since(given) + given.saturating_duration_since(taken);
            assert!(later < Duration::from_secs(1), "{later:?}");
        }
    }

    #[test]
    fn a_full_batch_with_facts_fits() {
        let one = || {
            let kept = KeptParts { keys: keys(174), ..KeptParts::default() };
            idle("https", 0, Some(tls("client-7.shop.example")), kept)
        };
        let batch: Vec<IdleConnection> = (0..BATCH_MAX).map(|_| one()).collect();
        let needed: usize = batch.iter().map(|connection| needed(connection).unwrap()).sum();
        assert!(needed <= ROOM, "{needed}");
        assert!(packed(&batch).len() <= PACKET_MAX);
    }

    #[test]
    fn what_fits_into_no_packet_is_told() {
        assert!(needed(&idle("http", BYTES_MAX, None, KeptParts::default())).is_some());
        assert!(needed(&idle("http", BYTES_MAX + 1, None, KeptParts::default())).is_none());
        assert!(needed(&idle(&"\u{1}".repeat(PACKET_MAX / 6), 0, None, KeptParts::default())).is_none());
        // Keys count for the packet alone: a session of the largest size is not kept back by them.
        let session = WebSocketSession { name: "chat".into(), state: Bytes::from(vec![1; BYTES_MAX]) };
        let kept = KeptParts { keys: keys(174), http2: None, session: Some(Box::new(session)) };
        assert!(needed(&idle("https", 0, Some(tls("shop.example")), kept)).is_some());
    }
}
