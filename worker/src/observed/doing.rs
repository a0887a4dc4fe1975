//! Things that a request or a background task waits for.
//!
//! Calls of databases, of Redis, of caches and of other services say it here. The list of the requests that are alive tells it.

use super::requests::{self, Waiting};

/// A thing that a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(dead_code, reason = "a build without a feature does not do what that is for")]
pub(crate) enum Doing {
    Handler,
    Body,
    DatabaseConnection,
    Query,
    Redis,
    Cache,
    Outgoing,
}

/// Says what the thread's current request or task waits for, until the guard is dropped; without one it is nothing.
#[cfg_attr(
    not(any(feature = "cache", feature = "database", feature = "otel", feature = "redis")),
    allow(dead_code, reason = "nothing is waited for")
)]
#[inline(always)]
pub(crate) fn doing(what: Doing) -> DoingGuard {
    DoingGuard { _waiting: requests::wait_for(what as u8) }
}

/// Ends what the request waited for.
#[cfg_attr(
    not(any(feature = "cache", feature = "database", feature = "otel", feature = "redis")),
    allow(dead_code, reason = "nothing is waited for")
)]
#[derive(Debug)]
#[must_use]
pub(crate) struct DoingGuard {
    _waiting: Option<Waiting>,
}
