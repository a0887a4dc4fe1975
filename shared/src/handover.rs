//! What two workers say to each other when one hands its connections to the other, and the rules by which neither loses one.
//!
//! The master makes a SEQPACKET socket pair and gives one end to the worker that drains (the *giver*) and the other to one
//! that serves (the *taker*). The connections themselves do not pass through the master, and it may die meanwhile.
//!
//! ```text
//! giver  hello{version}  ------------------>  taker
//! giver  <---------------  hello{version}     taker     the lower version counts
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
/// What a connection's bytes may be; one with more stays.
pub const BYTES_MAX: usize = 32 * 1024;

/// From the one that drains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromGiver {
    /// The first message.
    Hello {
        /// The highest version that it speaks.
        version: u32,
    },
    /// Connections, in the order of the packet's descriptors.
    Give {
        /// To be named by the answer.
        batch: u64,
        /// What each carries.
        connections: Vec<Carried>,
    },
}

/// From the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromTaker {
    /// The answer to the giver's.
    Hello {
        /// The highest version that it speaks.
        version: u32,
    },
    /// The first `count` of a batch are its own now; it has no room for the others.
    Took {
        /// Which.
        batch: u64,
        /// How many.
        count: usize,
    },
}

/// What a connection carries from one worker to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The listener that accepted it, by name.
    pub listener: String,
    /// What it is in the midst of.
    pub doing: Doing,
    /// Since when, in milliseconds.
    pub since_ms: u64,
    /// Since it was accepted, in milliseconds.
    pub age_ms: u64,
    /// Requests served.
    pub requests: u64,
    /// How many bytes of the packet's tail are its own: read from the client, and not answered.
    #[serde(default)]
    pub ahead: usize,
    /// A WebSocket between two messages.
    #[serde(default)]
    pub websocket: Option<Session>,
}

/// What a connection that can be handed over is in the midst of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Nothing has come yet.
    Fresh,
    /// Between requests.
    Idle,
    /// A request's head has begun.
    Head,
}

/// A WebSocket's session, as the application has put it into bytes: they follow those that were read ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who takes it up: a name that the application has registered.
    pub name: String,
    /// How many bytes.
    pub length: usize,
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

/// Reads a packet; gives the tail, too.
///
/// # Errors
/// If it is none of this protocol.
pub fn decode<'a, M: Deserialize<'a>>(packet: &'a [u8]) -> Result<(M, &'a [u8]), Malformed> {
    let (length, rest) = packet.split_first_chunk().ok_or(Malformed::Short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (json, tail) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
    Ok((serde_json::from_slice(json)?, tail))
}

/// What a packet can be instead of one of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It ends before it says what it is to.
    #[error("a packet that ends too early")]
    Short,
    /// It is no message of ours.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It answers what was not asked, or has more or fewer descriptors and bytes than it says.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// The giver's side of one socket: what is offered, and whose it is. `C` is a connection.
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
    /// Whether another batch may be offered.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.greeted && !self.full && self.offered.len() < WINDOW
    }

    /// Whether the taker has said that it has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.greeted || !self.offered.is_empty()
    }

    /// How many the taker has, or is offered.
    #[must_use]
    pub fn load(&self) -> u64 {
        let offered: usize = self.offered.iter().map(|(_, all)| all.len()).sum();
        self.given + offered as u64
    }

    /// How many the taker has taken.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The next batch's number.
    #[must_use]
    pub fn next_batch(&self) -> u64 {
        self.next
    }

    /// It was sent.
    pub fn offered(&mut self, connections: Vec<C>) {
        self.offered.push_back((self.next, connections));
        self.next += 1;
    }

    /// The taker has spoken. Gives the connections that are its own now, and those that stay.
    ///
    /// # Errors
    /// If it speaks of what was not offered: it is not to be believed any more, see [`Self::end`].
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

    /// The socket is shut down and read to its end: what is without an answer stays.
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
            doing: Doing::Head,
            since_ms: 3,
            age_ms: 5,
            requests: 7,
            ahead: 5,
            websocket: None,
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
        assert_eq!(decode::<FromTaker>(&hello).unwrap().0, FromTaker::Hello { version: 7 });
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
