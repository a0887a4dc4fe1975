//! Beginnings of connections, as counts tell them apart: handshakes of TLS, and PROXY headers that are missing or wrong.

use super::ends::Labels;

/// Outcome of a handshake of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The client has a new session.
    Full,
    /// The client goes on with an earlier session.
    Resumed,
    /// The two did not come to terms, or the client left or was too slow.
    Failed,
}

/// The reason why a connection is closed that had to begin with a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyRefusal {
    /// It came from an address that may send none.
    Untrusted,
    /// It began with something else.
    Invalid,
    /// The header did not come in time.
    Late,
}

const HANDSHAKES: [&str; 3] = ["full", "resumed", "failed"];
const REFUSALS: [&str; 3] = ["untrusted", "invalid", "late"];

impl Handshake {
    /// Labels of each outcome, in their order.
    pub(crate) fn labels() -> impl Iterator<Item = Labels> {
        HANDSHAKES.into_iter().map(|result| vec![("result", result)])
    }
}

impl ProxyRefusal {
    /// Labels of each reason, in their order.
    pub(crate) fn labels() -> impl Iterator<Item = Labels> {
        REFUSALS.into_iter().map(|reason| vec![("reason", reason)])
    }
}
