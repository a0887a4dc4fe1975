//! Counts of what becomes of logins and their tokens: for the private listener, and for Prometheus.

use crate::kept;

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Login,
    /// A token that is not good, whatever is wrong with it.
    Refused,
    /// An attempt too many.
    Limited,
    Refreshed,
    /// A refresh token that was used before.
    Reused,
    /// By a logout, by reuse, or by the limit for a user.
    LoggedOut,
    /// An access token was read, and its login asked for.
    Verified,
    /// An access token was found among those that were verified.
    Cached,
    /// A login that nobody has refreshed in time.
    Expired,
    /// The store did not answer.
    Failed,
}

impl kept::figures::Event<10> for Event {
    const METRIC: &'static str = "auth_events";
    const HELP: &'static str = "What became of logins and their tokens";
    const NAMES: [&'static str; 10] =
        ["login", "refused", "limited", "refreshed", "reused", "logged_out", "verified", "cached", "expired", "failed"];

    fn number(self) -> usize {
        self as usize
    }
}

/// Counts of one worker.
pub(crate) type Figures = kept::figures::Figures<Event, 10>;
