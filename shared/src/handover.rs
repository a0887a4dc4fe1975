//! Messages of two workers when one hands its connections to the other, and the rules by which neither loses one.
//!
//! The master makes a SEQPACKET socket pair and gives one end to the worker that drains, or has no room (the *giver*), and the
//! other to one that serves (the *taker*). The connections themselves do not pass through the master, and it may die meanwhile.
//!
//! ```text
//! giver  hello{version, serves_on}  ------->  taker
//! giver  <---------------  hello{version}     taker     so far there is one version: neither reads it
//! giver  give{batch, connections} + fds --->  taker     the giver keeps its copies
//! giver  <---------  took{batch, count}       taker     those are the taker's now, the others stay the giver's
//! ```
//!
//! The commit is the *successful send* of `took`: the taker touches nothing before it, and closes its copies if it fails.
//! A giver that has heard nothing for long shuts the socket down for both directions, which lets later sends fail, then reads
//! what was sent before, and only what is still without an answer then is its own again (`unix(7)`, `shutdown(2)`). A giver
//! that dies makes the send fail, too: `hello` carries its pidfd, so that a taker knows one from the other, and keeps what
//! nobody else has. And an eventfd, which the giver writes to when it has shut the socket down: a taker that comes so
//! late that it finds the giver dead knows by it that its copies are old.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod walk;

/// The version spoken here.
pub const VERSION: u32 = 1;
/// The longest packet, in bytes.
pub const PACKET_MAX: usize = 64 * 1024;
/// Connections a packet. The kernel takes 253 descriptors.
pub const BATCH_MAX: usize = 64;
/// Packets without an answer. Descriptors on their way count against the user's RLIMIT_NOFILE.
pub const WINDOW: usize = 4;
/// Largest number of bytes that a connection carries; one with more stays.
pub const BYTES_MAX: usize = 32 * 1024;

/// Messages of the worker that drains, or has no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromGiver {
    /// The first message.
    Hello {
        /// Highest version of the protocol that the sender speaks.
        version: u32,
        /// True if the giver does not drain, but has no room for new connections: the taker then keeps some room for its own. A
        /// taker of an earlier build passes it over.
        #[serde(default, skip_serializing_if = "is_false")]
        serves_on: bool,
    },
    /// Connections, in the order of the packet's descriptors.
    Give {
        /// Number of the batch; the answer repeats it.
        batch: u64,
        /// Description of each connection.
        connections: Vec<Carried>,
    },
}

/// Messages of the worker that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromTaker {
    /// Answer to the giver's hello.
    Hello {
        /// Highest version of the protocol that the sender speaks.
        version: u32,
    },
    /// The commit: the first `count` connections of a batch belong to the taker now. There was no room for the others.
    Took {
        /// Number of the batch.
        batch: u64,
        /// Number of connections.
        count: usize,
    },
}

/// A connection on its way from one worker to another: one type, whatever its protocol.
///
/// On the wire it is the flat object of version 1, so that workers of older builds understand it: a WebSocket is an HTTP/1.1
/// connection that is idle and has a `websocket` beside it. A field of a later version must be optional there.
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

/// JSON of [`Carried`], as version 1 defined it.
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
}

/// The WebSocket's part of the JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    name: String,
    length: usize,
}

fn first_version() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_first_version(version: &u32) -> bool {
    *version == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl From<OnTheWire> for Carried {
    fn from(wire: OnTheWire) -> Self {
        let OnTheWire { version, listener, doing, since_ms, age_ms, requests, ahead, websocket } = wire;
        let protocol = match websocket {
            Some(Session { name, length }) => Protocol::WebSocket { name, length },
            None => Protocol::Http1 { doing },
        };
        Self { version, listener, protocol, since_ms, age_ms, requests, ahead }
    }
}

impl From<Carried> for OnTheWire {
    fn from(carried: Carried) -> Self {
        let Carried { version, listener, protocol, since_ms, age_ms, requests, ahead } = carried;
        let (doing, websocket) = match protocol {
            Protocol::Http1 { doing } => (doing, None),
            Protocol::WebSocket { name, length } => (Doing::Idle, Some(Session { name, length })),
        };
        Self { version, listener, doing, since_ms, age_ms, requests, ahead, websocket }
    }
}

/// Writes a packet: the length of the JSON (4 bytes, little-endian), the JSON, and the tail.
///
/// # Panics
/// Never: these types always become JSON, shorter than 4 GiB.
#[must_use]
pub fn encode<M: Serialize>(message: &M, tail: &[u8]) -> Vec<u8> {
    let json = serde_json::to_vec(message).expect("these types have no maps with odd keys");
    let length = u32::try_from(json.len()).expect("a message of some kilobytes");
    [length.to_le_bytes().as_slice(), &json, tail].concat()
}

/// Reads a packet. Returns the message and the tail.
///
/// # Errors
/// If the packet is not of this protocol.
pub fn decode<'a, M: Deserialize<'a>>(packet: &'a [u8]) -> Result<(M, &'a [u8]), Malformed> {
    let (length, rest) = packet.split_first_chunk().ok_or(Malformed::Short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (json, tail) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
    Ok((serde_json::from_slice(json)?, tail))
}

/// Reasons for which a packet is refused.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The packet ends before its announced length.
    #[error("a packet that ends too early")]
    Short,
    /// The JSON is not a message of this protocol.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The message answers what was not asked, or announces other descriptors and bytes than the packet has.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// The giver's side of one socket: which connections are offered, and whose each is. `C` is a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Giver<C> {
    greeted: bool,
    full: bool,
    next: u64,
    offered: VecDeque<(u64, Vec<C>)>,
    given: u64,
}

impl<C> Default for Giver<C> {
    fn default() -> Self {
        Self { greeted: false, full: false, next: 0, offered: VecDeque::new(), given: 0 }
    }
}

impl<C> Giver<C> {
    /// True if another batch may be offered.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.greeted && !self.full && self.offered.len() < WINDOW
    }

    /// True if the taker has said that it has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// True if an answer is awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.greeted || !self.offered.is_empty()
    }

    /// Number of connections that the taker has, or is offered.
    #[must_use]
    pub fn load(&self) -> u64 {
        let offered: usize = self.offered.iter().map(|(_, all)| all.len()).sum();
        self.given + offered as u64
    }

    /// Number of connections that the taker has taken.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Number of the next batch.
    #[must_use]
    pub fn next_batch(&self) -> u64 {
        self.next
    }

    /// Records that the next batch was sent.
    pub fn offered(&mut self, connections: Vec<C>) {
        self.offered.push_back((self.next, connections));
        self.next += 1;
    }

    /// Handles a message of the taker. Returns the connections that are the taker's now, and those that stay.
    ///
    /// # Errors
    /// If the message is about connections that were not offered. The taker is not believed any more: see [`Self::end`].
    pub fn heard(&mut self, message: &FromTaker) -> Result<(Vec<C>, Vec<C>), Malformed> {
        match message {
            FromTaker::Hello { .. } if self.greeted => Err(Malformed::Unexpected("a second hello")),
            FromTaker::Hello { .. } => {
                self.greeted = true;
                Ok((Vec::new(), Vec::new()))
            }
            FromTaker::Took { batch, count } => {
                // One after the other: the socket keeps their order.
                let is_it = self.offered.front().is_some_and(|(number, all)| number == batch && *count <= all.len());
                let Some((_, mut all)) = self.offered.pop_front_if(|_| is_it) else {
                    return Err(Malformed::Unexpected("an answer to what was not offered"));
                };
                let stay = all.split_off(*count);
                self.full |= !stay.is_empty();
                self.given += u64::try_from(all.len()).unwrap_or(u64::MAX);
                Ok((all, stay))
            }
        }
    }

    /// Ends the handover when the socket is shut down and read to its end. Returns the connections without an answer: they stay.
    pub fn end(&mut self) -> Vec<C> {
        self.full = true;
        self.offered.drain(..).flat_map(|(_, all)| all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_reads_back_and_a_torn_one_is_refused() {
        let carried = Carried {
            listener: "http".to_owned(),
            version: VERSION,
            protocol: Protocol::Http1 { doing: Doing::Head },
            since_ms: 3,
            age_ms: 5,
            requests: 7,
            ahead: 5,
        };
        let give = FromGiver::Give { batch: 1, connections: vec![carried] };
        let packet = encode(&give, b"GET /");
        assert_eq!(decode::<FromGiver>(&packet).unwrap(), (give, &b"GET /"[..]));
        for length in 0..packet.len() - 5 {
            assert!(decode::<FromGiver>(&packet[..length]).is_err());
        }
        let long = [&u32::MAX.to_le_bytes()[..], b"{}"].concat();
        assert!(matches!(decode::<FromGiver>(&long), Err(Malformed::Short)));
    }

    #[test]
    fn connections_are_written_and_read_as_older_builds_do() {
        let http = Carried {
            version: 1,
            listener: "http".to_owned(),
            protocol: Protocol::Http1 { doing: Doing::Idle },
            since_ms: 3,
            age_ms: 5,
            requests: 7,
            ahead: 0,
        };
        let protocol = Protocol::WebSocket { name: "chat".to_owned(), length: 9 };
        let websocket = Carried { protocol, ahead: 2, ..http.clone() };
        let give = FromGiver::Give { batch: 4, connections: vec![http, websocket] };
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
    fn a_later_version_may_say_more() {
        let hello = encode(&serde_json::json!({ "type": "hello", "version": 7, "colour": "red" }), b"");
        assert_eq!(decode::<FromTaker>(&hello).unwrap().0, FromTaker::Hello { version: 7 });
    }

    #[test]
    fn a_giver_that_drains_greets_as_older_builds_do() {
        let hello = |serves_on| FromGiver::Hello { version: 1, serves_on };
        assert_eq!(serde_json::to_string(&hello(false)).unwrap(), r#"{"type":"hello","version":1}"#);
        for serves_on in [false, true] {
            assert_eq!(decode::<FromGiver>(&encode(&hello(serves_on), b"")).unwrap().0, hello(serves_on));
        }
    }

    #[test]
    fn what_was_not_offered_cannot_be_taken() {
        let mut giver = Giver::default();
        assert!(!giver.has_room(), "it has not greeted");
        giver.heard(&FromTaker::Hello { version: 1 }).unwrap();
        giver.offered(vec!['a', 'b']);
        assert!(giver.heard(&FromTaker::Took { batch: 0, count: 3 }).is_err());
        assert!(giver.heard(&FromTaker::Took { batch: 1, count: 0 }).is_err());
        assert_eq!(giver.heard(&FromTaker::Took { batch: 0, count: 1 }).unwrap(), (vec!['a'], vec!['b']));
        assert!(giver.heard(&FromTaker::Took { batch: 0, count: 0 }).is_err(), "twice");
        assert!(giver.is_full() && !giver.has_room());
    }
}
