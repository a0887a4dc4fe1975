//! What the master and a worker of ours say to each other.
//!
//! The worker inherits a listening SEQPACKET socket (`GIN_CHANNEL_FD`) and the master connects to it: so a successor of a
//! master that died can connect again. One message a packet, JSON, at most [`MESSAGE_MAX`] bytes. Unknown fields are
//! ignored, an unknown message closes the channel.
//!
//! ```text
//! master  hello{version}  ------->  worker
//! master  <-------  hello{version}  worker     the lower version counts
//! master  go  ------------------->  worker     accept from the public listeners
//! master  <---------------  serving worker     it does
//! master  drain{reason}  -------->  worker     instead of the stop signal
//! ```

use serde::{Deserialize, Serialize};

/// The version spoken here.
pub const VERSION: u32 = 1;
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
        let message = FromMaster::Drain { reason: DrainReason::Upgrade };
        assert_eq!(encode(&message), br#"{"type":"drain","reason":"upgrade"}"#);
        assert_eq!(decode::<FromMaster>(&encode(&message)).unwrap(), message);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let hello = br#"{"type":"hello","version":7,"colour":"red"}"#;
        assert_eq!(decode::<FromWorker>(hello).unwrap(), FromWorker::Hello { version: 7 });
        assert!(decode::<FromWorker>(br#"{"type":"sing"}"#).is_err());
    }
}
