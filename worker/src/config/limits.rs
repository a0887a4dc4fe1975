//! Bounds of a connection, in time and in size.

use std::time::Duration;

use gin_shared::config::Section;

/// `[timeouts]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the first byte of a new connection, and again for a complete request head: 30s.
    pub read: Duration,
    /// For a client that takes nothing of a response: 30s.
    pub write: Duration,
    /// Between two requests on a connection: 60s.
    pub idle: Duration,
    /// For a handler.
    pub request: Option<Duration>,
    /// From the stop of accepting until what is left is closed: 30s. The supervisor's `drain_timeout` must be longer.
    pub shutdown: Duration,
    /// On a stop, `/readyz` says 503 and accepting goes on for so long, for a balancer to notice: 0s.
    pub lame_duck: Duration,
    /// A connection that is idle for so long gives its memory back, and waits as a bare descriptor: 100ms.
    pub park_after: Duration,
    /// How long a drain without a worker that takes connections over waits for one more request on an idle connection, to answer it with `Connection: close`: 5s.
    pub idle_grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            read: seconds(30),
            write: seconds(30),
            idle: seconds(60),
            request: None,
            shutdown: seconds(30),
            lame_duck: Duration::ZERO,
            park_after: Duration::from_millis(100),
            idle_grace: seconds(5),
        }
    }
}

impl Timeouts {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let some = |key: &'static str| {
            let duration = section.duration(key)?;
            if duration.is_zero() {
                section.problem(key, "it must be more than 0s");
            }
            Some(duration)
        };
        Self {
            read: some("read").unwrap_or(base.read),
            write: some("write").unwrap_or(base.write),
            idle: some("idle").unwrap_or(base.idle),
            request: some("request"),
            shutdown: section.duration("shutdown").unwrap_or(base.shutdown),
            lame_duck: section.duration("lame_duck").unwrap_or(base.lame_duck),
            park_after: section.duration("park_after").unwrap_or(base.park_after),
            idle_grace: section.duration("idle_grace").unwrap_or(base.idle_grace),
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, 1 at least; more wait in the listener's queue: 10000.
    pub connections: u32,
    /// A request's body, in bytes: 2 MiB.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, body: 2 << 20 }
    }
}

impl Limits {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let connections = section.integer("connections", 1..=i64::from(u32::MAX));
        Self {
            connections: connections.and_then(|count| u32::try_from(count).ok()).unwrap_or(base.connections),
            body: section.size("body").unwrap_or(base.body),
        }
    }
}
