//! Counts of what becomes of sessions: for the private listener, and for Prometheus.

use crate::kept;

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Created,
    /// From the store.
    Read,
    /// Taken from the cache.
    Cached,
    /// A cookie whose signature is not ours.
    Refused,
    /// By a logout, or by the limit for a user.
    Ended,
    Expired,
    /// The store did not answer.
    Failed,
}

impl kept::figures::Event<7> for Event {
    const METRIC: &'static str = "sessions_events";
    const HELP: &'static str = "What became of sessions and their cookies";
    const NAMES: [&'static str; 7] = ["created", "read", "cached", "refused", "ended", "expired", "failed"];

    fn number(self) -> usize {
        self as usize
    }
}

/// Counts of one worker.
pub(super) type Figures = kept::figures::Figures<Event, 7>;
