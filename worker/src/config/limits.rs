//! Bounds of a connection, in time and in size.

use std::time::Duration;

use gin_shared::config::Section;

use super::cors::Origin;

/// `[timeouts]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the first byte of a new connection, again for a complete request head, and for each further part of a body: 30s. A body that
    /// makes no progress is answered with 408.
    pub read: Duration,
    /// For a client that takes nothing of a response, of a stream, or of a WebSocket: 30s.
    pub write: Duration,
    /// Between two requests on a connection: 60s. A WebSocket on which nothing has come for half of it is sent a ping, and closed
    /// at its end.
    pub idle: Duration,
    /// For a handler.
    pub request: Option<Duration>,
    /// From the stop of accepting until what is left is closed: 30s. The supervisor's `drain_timeout` must be longer. When three quarters
    /// are over, clients of connections that cannot be handed over are told.
    pub shutdown: Duration,
    /// On a stop, `/readyz` says 503 and accepting goes on for so long, for a balancer to notice: 0s.
    pub lame_duck: Duration,
    /// A connection that is idle for so long gives its memory back, and waits as a bare descriptor: 100ms. Over TLS and HTTP/2 it is ten
    /// times as long.
    pub park_after: Duration,
    /// A connection on which nothing has come for so long is asked by TCP whether its client is there; after four questions without an
    /// answer, in a quarter of this time each, it is closed: 60s. Zero asks nobody.
    pub tcp_keepalive: Duration,
    /// How long a drain without a worker that takes connections over waits for one more request on an idle connection, to answer it with `Connection: close`: 5s.
    pub idle_grace: Duration,
    /// A connection that is older ends with its next answer, or by GOAWAY; WebSockets stay. The age differs, by a tenth more or less: 0s,
    /// which is never.
    pub max_connection_age: Duration,
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
            tcp_keepalive: seconds(60),
            idle_grace: seconds(5),
            max_connection_age: Duration::ZERO,
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
            tcp_keepalive: section.duration("tcp_keepalive").unwrap_or(base.tcp_keepalive),
            idle_grace: section.duration("idle_grace").unwrap_or(base.idle_grace),
            max_connection_age: section.duration("max_connection_age").unwrap_or(base.max_connection_age),
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once, 1 at least: 10000. For more, the longest idle ones go to other workers, or are closed; if all are busy, the new
    /// ones wait in the listener's queue.
    pub connections: u32,
    /// Connections of one client at once: an IPv4 address, or a /64 of IPv6. More are closed as they come. None: no limit.
    pub connections_per_client: Option<u32>,
    /// A request's body, in bytes: 2 MiB.
    pub body: u64,
    /// A request's head, in bytes: 64 KiB. A longer one is answered with 431. Over HTTP/2 each field counts 32 bytes more (RFC 9113,
    /// section 6.5.2), and they must be fewer than this.
    pub head: u32,
    /// Fields of a request's head: 100. More are answered with 431.
    pub head_fields: u32,
    /// Requests at once on one connection of HTTP/2: 100.
    pub streams: u32,
    /// Least rate of a client that is waited for, in bytes a second, after its first `timeouts.read` or `timeouts.write`: 240.
    /// 0 sets none.
    pub min_rate: u64,
    /// Memory of the worker, in bytes. From nine tenths of it on, new work is answered with 503, and so are requests whose bodies do not
    /// come within a second, or are not complete within 5 s. None: no limit.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_client: None,
            body: 2 << 20,
            head: 64 << 10,
            head_fields: 100,
            streams: 100,
            min_rate: 240,
            memory: None,
        }
    }
}

/// Smallest head that can be asked for: hyper reads no less at once.
pub(crate) const HEAD_MIN: u32 = 8 << 10;

impl Limits {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let whole = |key, least: u32, most: u32| {
            let value = section.integer(key, i64::from(least)..=i64::from(most))?;
            u32::try_from(value).ok()
        };
        let head = section.size("head").and_then(|size| {
            let size = u32::try_from(size).ok().filter(|size| (HEAD_MIN..=16 << 20).contains(size));
            if size.is_none() {
                section.problem("head", "it must be \"8KiB\" at least and \"16MiB\" at most");
            }
            size
        });
        Self {
            connections: whole("connections", 1, u32::MAX).unwrap_or(base.connections),
            connections_per_client: whole("connections_per_client", 1, u32::MAX),
            body: section.size("body").unwrap_or(base.body),
            head: head.unwrap_or(base.head),
            head_fields: whole("head_fields", 1, 10_000).unwrap_or(base.head_fields),
            streams: whole("streams", 1, 10_000).unwrap_or(base.streams),
            min_rate: section.size("min_rate").unwrap_or(base.min_rate),
            memory: section.size("memory"),
        }
    }
}

/// `[websocket]`: of [`crate::websocket`]. A kind of sessions may have its own: see [`crate::websocket::WebSockets`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocket {
    /// A message, in bytes: 1 MiB. A longer one ends the connection, with code 1009.
    pub message: u64,
    /// A frame of a message, in bytes: 1 MiB. A longer one ends the connection, with code 1009.
    pub frame: u64,
    /// Frames a second, on average over a second; more wait in the socket. None: no limit.
    pub rate: Option<u32>,
    /// Whose pages may open one, beside those of the host itself.
    pub allow_origins: Vec<Origin>,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self { message: 1 << 20, frame: 1 << 20, rate: None, allow_origins: Vec::new() }
    }
}

impl WebSocket {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let origins = section.texts("allow_origins").unwrap_or_default();
        let origin = |text: &String| Origin::parse(text).map_err(|error| section.problem("allow_origins", &error)).ok();
        let size = |key| {
            let size = section.size(key)?;
            if size == 0 {
                section.problem(key, "it must be more than 0");
            }
            Some(size)
        };
        Self {
            message: size("message").unwrap_or(base.message),
            frame: size("frame").unwrap_or(base.frame),
            rate: section.integer("rate", 1..=i64::from(u32::MAX)).and_then(|rate| u32::try_from(rate).ok()),
            allow_origins: origins.iter().filter_map(origin).collect(),
        }
    }
}
