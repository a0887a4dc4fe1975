//! The hold that keeps a connection here though other workers take: see [`HandoverHold`].

use std::time::{Duration, Instant};

use gin_shared::handover::BYTES_MAX;

/// Longest wait of a connection with pending bytes for a taker with room, and longest hold after it was served here instead.
pub(crate) const HOLD: Duration = Duration::from_millis(100);

/// A reason to keep a connection from other workers for now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum HandoverHold {
    /// None: it may go at the next pause.
    #[default]
    None,
    /// No taker had room for it: a request is answered here first, or [`HOLD`] passes.
    Since(Instant),
    /// Its session is larger than a packet: it ends here.
    Always,
}

impl HandoverHold {
    /// The hold of a session of so many bytes, with so many bytes that were read ahead.
    pub(crate) fn of_session(session: usize, read_ahead: usize, now: Instant) -> Self {
        if session > BYTES_MAX {
            Self::Always
        } else if session + read_ahead > BYTES_MAX {
            // What was read ahead is answered here first.
            Self::Since(now)
        } else {
            Self::None
        }
    }

    /// True if the connection may go. `served`: a request was answered since the hold began.
    pub(crate) fn is_over(self, served: bool, now: Instant) -> bool {
        match self {
            Self::None => true,
            Self::Since(since) => served || now.saturating_duration_since(since) >= HOLD,
            Self::Always => false,
        }
    }

    /// The earlier of `then` and the end of the hold: when to look at the connection again.
    pub(crate) fn next_look(self, then: Instant, now: Instant) -> Instant {
        match self {
            Self::Since(since) if now.saturating_duration_since(since) < HOLD => then.min(since + HOLD),
            Self::None | Self::Since(_) | Self::Always => then,
        }
    }
}
