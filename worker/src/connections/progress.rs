//! Progress of a connection between two owners: how far its client has come, and since when.

use std::time::Instant;

use gin_shared::handover;

/// Progress of a connection of which nothing is on its way through a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) doing: handover::Doing,
    pub(crate) since: Instant,
    /// Number of requests served.
    pub(crate) requests: u64,
}

impl Progress {
    /// Progress of a connection that was accepted just now.
    pub(crate) fn fresh() -> Self {
        Self { doing: handover::Doing::Fresh, since: Instant::now(), requests: 0 }
    }

    /// The progress if these bytes of the next request have come, too.
    pub(crate) fn with(self, ahead: &[u8]) -> Self {
        if ahead.is_empty() || self.doing == handover::Doing::Head {
            self
        } else {
            Self { doing: handover::Doing::Head, since: Instant::now(), ..self }
        }
    }
}
