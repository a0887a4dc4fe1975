//! Messages of two workers when one hands its connections to the other, and the rules by which neither loses one.
//!
//! The master makes a SEQPACKET socket pair and gives one end to the worker that drains, has no room, or has more than its share (the
//! *giver*), and the other to one that serves (the *taker*). The connections themselves do not pass through the master, and it may die meanwhile.
//!
//! ```text
//! giver  hello{version, takes, serves_on} ->  taker
//! giver  <--------  hello{version, takes}     taker     it is offered only what it knows to take
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
//!
//! A connection over TLS travels with its keys. Two processes that write under one key give it away, so here *doubt* closes the connection:
//!
//! | doubt | the connection |
//! |---|---|
//! | the giver cannot read the taker's last words to the end, or does not understand all of them | is not restored |
//! | the eventfd cannot be written, so that a late taker might believe its copies | is not restored |
//! | the taker finds the giver dead, and has no eventfd that would tell of a restored copy | is not kept |
//!
//! An answer for fewer connections than were offered leaves no doubt: the taker has dropped its copies of the others unread.

use serde::{Deserialize, Serialize};

mod abilities;
mod carried;
mod giver;
#[cfg(test)]
mod walk;

pub use abilities::Abilities;
pub use carried::{Carried, CarriedClient, CarriedTls, Doing, Pending, Protocol};
pub use giver::Giver;

/// The version spoken here.
pub const VERSION: u32 = 2;
/// The longest packet, in bytes.
pub const PACKET_MAX: usize = 64 * 1024;
/// Connections a packet. The kernel takes 253 descriptors.
pub const BATCH_MAX: usize = 64;
/// Packets without an answer. Descriptors on their way count against the user's RLIMIT_NOFILE.
pub const WINDOW: usize = 4;
/// Largest number of bytes that a connection carries; one with more stays.
pub const BYTES_MAX: usize = 32 * 1024;

/// Bytes before the JSON: its length.
const LENGTH: usize = 4;

/// Messages of the giver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromGiver {
    /// The first message.
    Hello {
        /// Highest version of the protocol that the sender speaks.
        version: u32,
        /// Kinds of connections that the giver would take itself: see [`Abilities`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        takes: Vec<String>,
        /// True if the giver does not drain, but has no room for new connections, or more than its share: the taker then keeps some
        /// room for its own. A taker of an earlier build passes it over.
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
        /// Kinds of connections that the taker knows: see [`Abilities`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        takes: Vec<String>,
    },
    /// The commit: the first `count` connections of a batch belong to the taker now. There was no room for the others.
    Took {
        /// Number of the batch.
        batch: u64,
        /// Number of connections.
        count: usize,
    },
}

/// True for a flag that is left out of the JSON.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Writes a packet: the length of the JSON (4 bytes, little-endian), the JSON, and the tail.
///
/// # Panics
/// Never: these types always become JSON, shorter than 4 GiB.
#[must_use]
pub fn encode<M: Serialize>(message: &M, tail: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    encode_into(&mut packet, message, |packet| packet.extend_from_slice(tail));
    packet
}

/// Writes a packet into a buffer, in place of what is there. `tail` appends the tail.
///
/// A buffer with room for [`PACKET_MAX`] does not grow, if the packet is no longer. So no copy of a tail with keys is left behind, and the
/// caller can wipe the one that there is.
///
/// # Panics
/// Never: as [`encode`].
///
/// ```
/// use gin_shared::handover::{FromTaker, encode, encode_into};
///
/// let took = FromTaker::Took { batch: 1, count: 2 };
/// let mut packet = Vec::with_capacity(100);
/// encode_into(&mut packet, &took, |packet| packet.push(b'!'));
/// assert_eq!(packet, encode(&took, b"!"));
/// ```
pub fn encode_into<M: Serialize>(packet: &mut Vec<u8>, message: &M, tail: impl FnOnce(&mut Vec<u8>)) {
    packet.clear();
    packet.extend_from_slice(&[0; LENGTH]);
    serde_json::to_writer(&mut *packet, message).expect("these types have no maps with odd keys");
    let length = u32::try_from(packet.len() - LENGTH).expect("a message of some kilobytes");
    packet[..LENGTH].copy_from_slice(&length.to_le_bytes());
    tail(packet);
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
            peer: None,
            pending: None,
            needs_certificate: false,
            handshake_follows: None,
            tls: None,
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
    fn a_later_version_may_say_more() {
        let hello = encode(&serde_json::json!({ "type": "hello", "version": 7, "colour": "red" }), b"");
        assert_eq!(decode::<FromTaker>(&hello).unwrap().0, FromTaker::Hello { version: 7, takes: Vec::new() });
    }

    #[test]
    fn a_giver_that_drains_greets_as_older_builds_do() {
        let hello = |serves_on| FromGiver::Hello { version: 1, takes: Vec::new(), serves_on };
        assert_eq!(serde_json::to_string(&hello(false)).unwrap(), r#"{"type":"hello","version":1}"#);
        for serves_on in [false, true] {
            assert_eq!(decode::<FromGiver>(&encode(&hello(serves_on), b"")).unwrap().0, hello(serves_on));
        }
    }
}
