//! A connection on its way from one worker to another, as it stands in a packet.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Abilities;

/// A connection on its way from one worker to another: one type, whatever its protocol.
///
/// On the wire it is the flat object of version 1, so that workers of older builds understand it: a WebSocket is an HTTP/1.1
/// connection that is idle and has a `websocket` beside it. A field of a later version must be optional there. A connection that an
/// older build would not serve rightly without the field is offered to nobody who does not say that it knows it: see [`Self::needs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OnTheWire", into = "OnTheWire")]
pub struct Carried {
    /// Version of this description. A taker that knows only an earlier one ignores what it does not know.
    pub version: u32,
    /// Name of the listener that accepted the connection.
    pub listener: String,
    /// The protocol that is spoken, and its own part of the description.
    pub protocol: Protocol,
    /// Milliseconds since the connection began what it is doing.
    pub since_ms: u64,
    /// Milliseconds since the connection was accepted.
    pub age_ms: u64,
    /// Requests served.
    pub requests: u64,
    /// Number of bytes in the packet's tail that belong to this connection: read from the client, and not answered.
    pub ahead: usize,
    /// The client's address, if a PROXY header told it. The socket has the proxy's.
    pub peer: Option<SocketAddr>,
    /// The part of the connection's beginning that has not come yet.
    pub pending: Option<Pending>,
    /// True before the handshake of a listener that serves no client without a certificate. A taker that has no listener of this name
    /// closes the connection. An older build passes it over.
    pub needs_certificate: bool,
    /// Before the PROXY header: true if the TLS handshake follows it. `None`: an earlier build does not tell it, and a taker that has no
    /// listener of this name closes the connection.
    pub handshake_follows: Option<bool>,
    /// Results of the TLS handshake, and the length of the keys.
    pub tls: Option<CarriedTls>,
}

impl Carried {
    /// The abilities that a taker must have to serve this connection.
    ///
    /// ```
    /// use gin_shared::handover::{Abilities, Carried};
    ///
    /// let text = r#"{"listener":"http","doing":"idle","since_ms":3,"age_ms":5,"requests":7}"#;
    /// let carried: Carried = serde_json::from_str(text).unwrap();
    /// assert_eq!(carried.needs(), Abilities::default());
    /// ```
    #[must_use]
    pub fn needs(&self) -> Abilities {
        Abilities {
            tls: self.tls.is_some() || self.pending == Some(Pending::Handshake),
            http2: matches!(self.protocol, Protocol::Http2 { .. }),
            proxied: self.peer.is_some() || self.pending == Some(Pending::Proxy),
        }
    }
}

/// Protocol of a connection that can be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, outside of any request.
    Http1 {
        /// The part of the next request that has come.
        doing: Doing,
    },
    /// A WebSocket between two messages. The session follows the bytes that were read ahead.
    WebSocket {
        /// Name that the application has registered for this kind of session.
        name: String,
        /// Length of the session in bytes, as the application serialised it.
        length: usize,
    },
    /// HTTP/2 without an open stream. The connection's state follows the bytes that were read ahead.
    Http2 {
        /// Length of the state in bytes.
        length: usize,
    },
}

/// State of a connection outside of any request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Nothing has come yet.
    Fresh,
    /// Between requests.
    Idle,
    /// A request's head has begun.
    Head,
}

/// The next part of a connection's beginning. Nothing of it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// The PROXY header, and the TLS handshake after it if the listener speaks TLS.
    Proxy,
    /// The TLS handshake.
    Handshake,
}

/// TLS of a connection: its keys' length, and what the handshake has settled. The keys are in no JSON: they are the last bytes of the
/// connection in the packet's tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedTls {
    /// Length of the keys in bytes.
    pub keys: usize,
    /// Version of TLS: `1.2` or `1.3`.
    pub version: String,
    /// Name of the server that the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Protocol that was agreed on, as ALPN names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Facts about the client's certificate, if it has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<CarriedClient>,
    /// True if the handshake has resumed an earlier session.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub resumed: bool,
}

/// Facts about a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedClient {
    /// Subject, as text.
    pub subject: String,
    /// DNS names and e-mail addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Issuer, as text.
    pub issuer: String,
    /// Serial number, in hexadecimal digits.
    pub serial: String,
    /// End of its validity, in seconds since 1970.
    pub ends: u64,
}

/// JSON of [`Carried`]: the fields of version 1, then those of later versions, which are left out where they have no value.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OnTheWire {
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    version: u32,
    listener: String,
    doing: Doing,
    since_ms: u64,
    age_ms: u64,
    requests: u64,
    #[serde(default)]
    ahead: usize,
    #[serde(default)]
    websocket: Option<Session>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Pending>,
    #[serde(default, skip_serializing_if = "super::is_false")]
    needs_certificate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handshake_follows: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<CarriedTls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http2: Option<CarriedHttp2>,
}

/// The WebSocket's part of the JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    name: String,
    length: usize,
}

/// The part of HTTP/2 in the JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CarriedHttp2 {
    length: usize,
}

fn first_version() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_first_version(version: &u32) -> bool {
    *version == 1
}

impl From<OnTheWire> for Carried {
    fn from(wire: OnTheWire) -> Self {
        let OnTheWire { version, listener, doing, since_ms, age_ms, requests, ahead, .. } = wire;
        let protocol = match (wire.websocket, wire.http2) {
            (Some(Session { name, length }), _) => Protocol::WebSocket { name, length },
            (None, Some(CarriedHttp2 { length })) => Protocol::Http2 { length },
            (None, None) => Protocol::Http1 { doing },
        };
        let (peer, pending, tls) = (wire.peer, wire.pending, wire.tls);
        Self {
            version,
            listener,
            protocol,
            since_ms,
            age_ms,
            requests,
            ahead,
            peer,
            pending,
            needs_certificate: wire.needs_certificate,
            handshake_follows: wire.handshake_follows,
            tls,
        }
    }
}

impl From<Carried> for OnTheWire {
    fn from(carried: Carried) -> Self {
        let Carried { version, listener, since_ms, age_ms, requests, ahead, peer, .. } = carried;
        let (pending, needs_certificate, tls) = (carried.pending, carried.needs_certificate, carried.tls);
        let (doing, websocket, http2) = match carried.protocol {
            Protocol::Http1 { doing } => (doing, None, None),
            Protocol::WebSocket { name, length } => (Doing::Idle, Some(Session { name, length }), None),
            Protocol::Http2 { length } => (Doing::Idle, None, Some(CarriedHttp2 { length })),
        };
        Self {
            version,
            listener,
            doing,
            since_ms,
            age_ms,
            requests,
            ahead,
            websocket,
            peer,
            pending,
            needs_certificate,
            handshake_follows: carried.handshake_follows,
            tls,
            http2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Abilities, FromGiver};
    use super::*;

    fn http() -> Carried {
        Carried {
            version: 1,
            listener: "http".to_owned(),
            protocol: Protocol::Http1 { doing: Doing::Idle },
            since_ms: 3,
            age_ms: 5,
            requests: 7,
            ahead: 0,
            peer: None,
            pending: None,
            needs_certificate: false,
            handshake_follows: None,
            tls: None,
        }
    }

    #[test]
    fn connections_are_written_and_read_as_older_builds_do() {
        let protocol = Protocol::WebSocket { name: "chat".to_owned(), length: 9 };
        let websocket = Carried { protocol, ahead: 2, ..http() };
        let give = FromGiver::Give { batch: 4, connections: vec![http(), websocket] };
        // The bytes that a build before `Protocol` writes.
        let old = concat!(
            r#"{"type":"give","batch":4,"connections":["#,
            r#"{"listener":"http","doing":"idle","since_ms":3,"age_ms":5,"requests":7,"ahead":0,"websocket":null},"#,
            r#"{"listener":"http","doing":"idle","since_ms":3,"age_ms":5,"requests":7,"ahead":2,"#,
            r#""websocket":{"name":"chat","length":9}}]}"#
        );
        assert_eq!(serde_json::to_string(&give).unwrap(), old);
        assert_eq!(serde_json::from_str::<FromGiver>(old).unwrap(), give);
        // Fields that came later may be missing, or unknown.
        let short = r#"{"listener":"http","doing":"head","since_ms":3,"age_ms":5,"requests":7}"#;
        let read: Carried = serde_json::from_str(short).unwrap();
        assert_eq!((read.version, read.ahead, read.protocol), (1, 0, Protocol::Http1 { doing: Doing::Head }));
        let long = short.replace('}', r#","version":2,"colour":"red"}"#);
        let read: Carried = serde_json::from_str(&long).unwrap();
        assert_eq!((read.version, read.requests), (2, 7));
    }

    #[test]
    fn later_fields_read_back_and_say_what_a_taker_must_know() {
        let client = CarriedClient {
            subject: "CN=client-7".to_owned(),
            names: vec!["client7.test".to_owned()],
            issuer: "CN=test".to_owned(),
            serial: "07".to_owned(),
            ends: 4_000_000_000,
        };
        let tls = CarriedTls {
            keys: 126,
            version: "1.3".to_owned(),
            server_name: Some("localhost".to_owned()),
            protocol: Some("h2".to_owned()),
            client: Some(client),
            resumed: true,
        };
        let none = Abilities::default();
        let over_tls = Carried { tls: Some(tls), ..http() };
        let all = [
            (http(), none),
            (over_tls.clone(), Abilities { tls: true, ..none }),
            (Carried { pending: Some(Pending::Handshake), ..http() }, Abilities { tls: true, ..none }),
            (
                Carried { pending: Some(Pending::Handshake), needs_certificate: true, ..http() },
                Abilities { tls: true, ..none },
            ),
            (Carried { pending: Some(Pending::Proxy), ..http() }, Abilities { proxied: true, ..none }),
            (
                Carried { pending: Some(Pending::Proxy), handshake_follows: Some(true), ..http() },
                Abilities { proxied: true, ..none },
            ),
            (Carried { peer: Some(([192, 0, 2, 1], 9).into()), ..http() }, Abilities { proxied: true, ..none }),
            (
                Carried { protocol: Protocol::Http2 { length: 90 }, ..over_tls },
                Abilities { tls: true, http2: true, ..none },
            ),
        ];
        for (carried, needed) in all {
            let text = serde_json::to_string(&carried).unwrap();
            assert_eq!(serde_json::from_str::<Carried>(&text).unwrap(), carried, "{text}");
            assert_eq!(carried.needs(), needed, "{text}");
        }
    }
}
