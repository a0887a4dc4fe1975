//! What the master and a worker of ours say to each other.
//!
//! The worker has a listening SEQPACKET socket, and the master connects to it: so a successor of a master that died can connect
//! again. The worker is given the socket when it announces itself (see [`crate::announcement`]), or inherits it (`GIN_CHANNEL_FD`,
//! with `channel = true`). One message a packet, JSON, at most [`MESSAGE_MAX`] bytes. Unknown fields are
//! ignored, an unknown message closes the channel.
//!
//! ```text
//! master  hello{version}  ------->  worker
//! master  <-------  hello{version}  worker     the lower version counts
//! master  go  ------------------->  worker     accept from the public listeners
//! master  <---------------  serving worker     it does
//! master  take + 1 fd  ---------->  worker     version 2: connections will come over this socket, see [`crate::handover`]
//! master  reopen  --------------->  worker     version 3: go on in new log files
//! master  log{level}  ----------->  worker     version 3: log that much from now on
//! master  <------------------  full  worker     version 4: it has no room for new connections
//! master  relieve + fds  -------->  worker     version 4: the answer, with sockets to workers that may have room; without any, nobody has
//! master  <------------------  room  worker     version 4: it has room again
//! master  drain{reason} + fds  -->  worker     instead of the stop signal; since version 2 with sockets to workers that take
//! master  <--------------  no_taker  worker     version 5: none of them takes any more; the answer is a drain with sockets to others
//! master  <--------  drained{...}  worker     version 2: what became of its connections, now and then, and at the end
//! master  material{number} + fd ->  worker     version 6: certificates and keys of TLS, in place of those that it has
//! master  <-  material{number,...}  worker     version 6: the answer, and after its hello the number of what it has
//! master  peers{workers} -------->  worker     version 7: so many workers serve
//! master  <---  load{connections}  worker     version 7: it has so many connections
//! master  share{count} + fds ---->  worker     version 7: give so many connections to others over these sockets, and serve on
//! ```

use serde::{Deserialize, Serialize};

/// The version spoken here.
pub const VERSION: u32 = SHARES;
/// The first version that speaks of handing connections over.
pub const HANDOVER: u32 = 2;
/// The first version that speaks of logs.
pub const LOGS: u32 = 3;
/// The first version that speaks of room for connections.
pub const ROOM: u32 = 4;
/// The first version in which a worker that drains asks for other takers.
pub const OTHER_TAKERS: u32 = 5;
/// The first version that speaks of certificates and keys of TLS.
pub const MATERIAL: u32 = 6;
/// The first version in which a worker tells its load, and gives a part of it away.
pub const SHARES: u32 = 7;
/// Descriptors a packet at most.
pub const FDS_MAX: usize = 64;
/// The longest packet, in bytes.
pub const MESSAGE_MAX: usize = 16 * 1024;

/// From the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromMaster {
    /// The first message of a connection.
    Hello {
        /// The highest version that the master speaks.
        version: u32,
    },
    /// Accept from the public listeners now.
    Go,
    /// Stop accepting, finish, exit.
    Drain {
        /// Why, for it decides what the balancer is told.
        reason: DrainReason,
        /// True if a person at a terminal waits for the end (Ctrl-C): what is idle is closed at once. An older worker passes it over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_terminal: bool,
        /// The span that the drain belongs to, as the header `traceparent` has it. An older worker passes it over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// Another worker hands its connections over, by the socket that comes along.
    Take,
    /// Go on in new log files.
    Reopen,
    /// Log that much from now on.
    Log {
        /// trace, debug, info, warn or error.
        level: String,
    },
    /// The answer to `Full`: hand the longest idle connections to other workers, by the sockets that come along, and serve on. If none
    /// comes along, no other worker has room.
    Relieve,
    /// Certificates and keys of TLS, in the memory that comes along: see [`crate::tls`]. All of them count at once, or none.
    Material {
        /// Number of this material. Later ones have higher numbers.
        number: u64,
    },
    /// Number of workers that serve, this one included. A worker with others beside it leaves them their part of a burst.
    Peers {
        /// Number of workers.
        workers: u32,
    },
    /// This worker has more connections than others: give so many to them, by the sockets that come along, and serve on.
    Share {
        /// Number of connections.
        count: u32,
    },
}

/// From the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// The answer to the master's hello.
    Hello {
        /// The highest version that the worker speaks.
        version: u32,
    },
    /// The worker accepts from its public listeners.
    Serving,
    /// What has become of its connections since it drains.
    Drained(Fates),
    /// The worker has as many connections as it may have: it takes none over, and asks which workers could take some of its own.
    Full,
    /// The worker has room again.
    Room,
    /// The worker drains, and none of the workers that were to take its connections does: each is gone, silent, or has no room. It asks
    /// for others.
    NoTaker,
    /// The answer to `Material`. After its hello a worker says it unasked, of the material that it was started with.
    Material {
        /// Number of the material that is meant: with `refused` the one that came, and else the one that counts now. If none came with
        /// the message, it is the one that counts, with `refused`: the master sends the newest once more.
        number: u64,
        /// The reason why it does not count. The worker goes on with what it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// The worker has so many connections. It says so when that has changed.
    Load {
        /// Number of connections.
        connections: u32,
        /// At the end of a share: how many others have taken of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given: Option<u32>,
    },
}

/// What became of the connections of a worker that drains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fates {
    /// Still there.
    pub open: u64,
    /// Another worker serves them.
    pub handed_over: u64,
    /// Closed by their clients.
    pub finished: u64,
    /// Closed by the worker, which had said so in its last answer, by GOAWAY, or by a close frame.
    pub closed: u64,
    /// Cut at the deadline.
    pub cut: u64,
    /// The same by protocol, without those that are open. A worker that does not count it says nothing.
    #[serde(skip_serializing_if = "ByProtocol::is_empty")]
    pub by_protocol: ByProtocol,
}

/// Ends of connections by their protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByProtocol {
    /// HTTP/1.1.
    pub http1: Counts,
    /// HTTP/2.
    pub http2: Counts,
    /// WebSockets.
    pub websocket: Counts,
    /// All of these that are over TLS.
    pub tls: Counts,
}

/// Numbers of ends of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Another worker serves them.
    pub handed_over: u64,
    /// Closed by their clients.
    pub finished: u64,
    /// Closed by the worker, which had said so.
    pub closed: u64,
    /// Cut at the deadline.
    pub cut: u64,
}

impl ByProtocol {
    /// True if all numbers are 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The numbers of one fate by protocol, in parentheses. Empty if all are 0.
    fn told(&self, count: fn(&Counts) -> u64) -> String {
        let some = |all: &[(&str, &Counts)]| {
            let numbers = all.iter().map(|(name, counts)| (name, count(counts))).filter(|(_, count)| *count > 0);
            numbers.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let protocols = some(&[("http1", &self.http1), ("http2", &self.http2), ("websocket", &self.websocket)]);
        let tls = some(&[("tls", &self.tls)]);
        match (protocols.is_empty(), tls.is_empty()) {
            (true, true) => String::new(),
            (false, false) => format!(" ({protocols}; {tls})"),
            (true, false) | (false, true) => format!(" ({protocols}{tls})"),
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            handed_over: self.handed_over + other.handed_over,
            finished: self.finished + other.finished,
            closed: self.closed + other.closed,
            cut: self.cut + other.cut,
        }
    }
}

impl std::ops::Add for ByProtocol {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            http1: self.http1 + other.http1,
            http2: self.http2 + other.http2,
            websocket: self.websocket + other.websocket,
            tls: self.tls + other.tls,
        }
    }
}

impl std::ops::Add for Fates {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            open: self.open + other.open,
            handed_over: self.handed_over + other.handed_over,
            finished: self.finished + other.finished,
            closed: self.closed + other.closed,
            cut: self.cut + other.cut,
            by_protocol: self.by_protocol + other.by_protocol,
        }
    }
}

impl std::iter::Sum for Fates {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum + one)
    }
}

/// "241 handed over (http1 120, http2 110, websocket 11; tls 230), 3 in flight": what there is none of is left out.
impl std::fmt::Display for Fates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by_protocol = |count| self.by_protocol.told(count);
        let counts = [
            (self.handed_over, "handed over", by_protocol(|counts| counts.handed_over)),
            (self.finished, "finished", by_protocol(|counts| counts.finished)),
            (self.closed, "closed with notice", by_protocol(|counts| counts.closed)),
            (self.cut, "cut", by_protocol(|counts| counts.cut)),
            (self.open, "in flight", String::new()),
        ];
        let there = counts.iter().filter(|(count, ..)| *count > 0);
        let some: Vec<String> = there.map(|(count, what, more)| format!("{count} {what}{more}")).collect();
        f.write_str(if some.is_empty() { "no connections" } else { "" })?;
        f.write_str(&some.join(", "))
    }
}

/// Why a worker is to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainReason {
    /// Another worker takes over: the host stays in its balancer.
    Upgrade,
    /// Nothing takes over: the balancer is to forget this host.
    Stop,
}

/// Writes a message.
///
/// # Panics
/// Never: these types always become JSON.
#[must_use]
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    serde_json::to_vec(message).expect("these types have no maps with odd keys")
}

/// Reads a message.
///
/// # Errors
/// If the packet is not one message of this protocol.
pub fn decode<'a, M: Deserialize<'a>>(packet: &'a [u8]) -> Result<M, serde_json::Error> {
    serde_json::from_slice(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back() {
        let message = FromMaster::Drain { reason: DrainReason::Upgrade, at_terminal: false, traceparent: None };
        assert_eq!(encode(&message), br#"{"type":"drain","reason":"upgrade"}"#);
        assert_eq!(decode::<FromMaster>(&encode(&message)).unwrap(), message);
    }

    #[test]
    fn a_drain_tells_the_span_that_it_belongs_to_if_there_is_one() {
        let traceparent = Some("00-4b-00f0-01".to_owned());
        let message = FromMaster::Drain { reason: DrainReason::Stop, at_terminal: true, traceparent };
        let told = br#"{"type":"drain","reason":"stop","at_terminal":true,"traceparent":"00-4b-00f0-01"}"#;
        assert_eq!(encode(&message), told);
        assert_eq!(decode::<FromMaster>(told).unwrap(), message);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let hello = br#"{"type":"hello","version":7,"colour":"red"}"#;
        assert_eq!(decode::<FromWorker>(hello).unwrap(), FromWorker::Hello { version: 7 });
        assert!(decode::<FromWorker>(br#"{"type":"sing"}"#).is_err());
        assert_eq!(decode::<FromWorker>(br#"{"type":"full","connections":7}"#).unwrap(), FromWorker::Full);
        assert_eq!(encode(&FromMaster::Relieve), br#"{"type":"relieve"}"#);
        assert_eq!(encode(&FromWorker::NoTaker), br#"{"type":"no_taker"}"#);
        let material = FromWorker::Material { number: 7, refused: None };
        assert_eq!(encode(&material), br#"{"type":"material","number":7}"#);
        assert_eq!(decode::<FromWorker>(br#"{"type":"material","number":7}"#).unwrap(), material);
    }

    #[test]
    fn fates_without_numbers_by_protocol_are_told_as_ever() {
        let fates = Fates { handed_over: 2, ..Fates::default() };
        let told = br#"{"type":"drained","open":0,"handed_over":2,"finished":0,"closed":0,"cut":0}"#;
        assert_eq!(encode(&FromWorker::Drained(fates)), told);
        assert_eq!(decode::<FromWorker>(told).unwrap(), FromWorker::Drained(fates));
        let tls = Counts { handed_over: 2, ..Counts::default() };
        let fates = Fates { by_protocol: ByProtocol { http2: tls, tls, ..ByProtocol::default() }, ..fates };
        let told = encode(&FromWorker::Drained(fates + fates));
        let FromWorker::Drained(sum) = decode::<FromWorker>(&told).unwrap() else { panic!("another message") };
        assert_eq!(
            (sum.handed_over, sum.by_protocol.tls.handed_over, sum.by_protocol.http1),
            (4, 4, Counts::default())
        );
    }

    #[test]
    fn fates_are_told_by_protocol_where_that_is_known() {
        let counts = |handed_over, cut| Counts { handed_over, cut, ..Counts::default() };
        let by_protocol =
            ByProtocol { http1: counts(120, 0), http2: counts(110, 2), websocket: counts(11, 0), tls: counts(230, 0) };
        let fates = Fates { open: 3, handed_over: 241, finished: 1, cut: 2, by_protocol, ..Fates::default() };
        let told =
            "241 handed over (http1 120, http2 110, websocket 11; tls 230), 1 finished, 2 cut (http2 2), 3 in flight";
        assert_eq!(fates.to_string(), told);
        let preconnected = Fates {
            handed_over: 1,
            by_protocol: ByProtocol { tls: counts(1, 0), ..ByProtocol::default() },
            ..Fates::default()
        };
        assert_eq!(preconnected.to_string(), "1 handed over (tls 1)");
        let older = Fates { by_protocol: ByProtocol::default(), ..fates };
        assert_eq!(older.to_string(), "241 handed over, 1 finished, 2 cut, 3 in flight");
        assert_eq!(Fates::default().to_string(), "no connections");
    }
}
