//! Keys that bound connections and clients.

use super::key::{Applies, Key, Kind, key, unset};

/// `[timeouts]`
pub(super) const TIMEOUTS: &[Key] = &[
    key(
        "read",
        Kind::Duration,
        "\"30s\"",
        "For the first byte of a connection, again for a whole request head, and for each further part of a body: else 408.",
    ),
    key(
        "write",
        Kind::Duration,
        "\"30s\"",
        "For a client that takes nothing of a response, of a stream of HTTP/2, or of a WebSocket.",
    ),
    key(
        "idle",
        Kind::Duration,
        "\"60s\"",
        "Between two requests on a connection. A silent WebSocket is sent a ping after half of it, and closed at its end.",
    ),
    unset("request", Kind::Duration, "\"30s\"", "For a handler: then 503, and the handler is dropped where it waits.")
        .at(Applies::Live),
    key(
        "shutdown",
        Kind::Duration,
        "\"30s\"",
        "A drain's end; supervisor.drain_timeout must be longer. When three quarters are over, clients of connections that cannot be handed over are told.",
    ),
    key("lame_duck", Kind::Duration, "\"0s\"", "On a stop, /readyz says 503 for so long before accepting ends."),
    key(
        "park_after",
        Kind::Duration,
        "\"100ms\"",
        "A connection that is idle for so long gives its memory back; over TLS and HTTP/2 one that is idle for ten times as long.",
    ),
    key(
        "idle_grace",
        Kind::Duration,
        "\"5s\"",
        "A drain that hands nothing over waits so long for one more request on an idle connection, and tells clients of HTTP/2 within it.",
    ),
    key(
        "tcp_keepalive",
        Kind::Duration,
        "\"60s\"",
        "After so long without a byte TCP asks whether the client is there: four times, in a quarter of this each. \"0s\": never.",
    ),
    key(
        "max_connection_age",
        Kind::Duration,
        "\"0s\"",
        "A connection older than this, give or take a tenth, ends with its next answer, or by GOAWAY, so that a balancer can spread clients anew. WebSockets stay. \"0s\": never.",
    ),
];

/// `[limits]`
pub(super) const LIMITS: &[Key] = &[
    key(
        "connections",
        Kind::Integer(1, 4_294_967_295),
        "10000",
        "Connections at once, a worker. At the limit the longest idle go to a worker with room, or are closed.",
    ),
    unset(
        "connections_per_client",
        Kind::Integer(1, 4_294_967_295),
        "100",
        "Connections of one client at once, a worker; more are closed as they come. A client is an address, of IPv6 a /64.",
    ),
    key("body", Kind::Size, "\"2MiB\"", "A request's body; a longer one is answered with 413.").at(Applies::Live),
    key("head", Kind::Size, "\"64KiB\"", "A request's head; a longer one is answered with 431."),
    key("head_fields", Kind::Integer(1, 10_000), "100", "Fields of a request's head; more are answered with 431."),
    key("streams", Kind::Integer(1, 10_000), "100", "Requests at once on a connection of HTTP/2."),
    key(
        "min_rate",
        Kind::Size,
        "\"240\"",
        "Bytes a second that a client must give or take, on average, while it is waited for; its first `timeouts.read` or `timeouts.write` is free. \"0\": none.",
    ),
    unset(
        "memory",
        Kind::Size,
        "\"512MiB\"",
        "Memory of a worker. From nine tenths of it on new requests, and those whose bodies do not come, are answered with 503 and Retry-After.",
    ),
];

/// `[websocket]`
pub(super) const WEBSOCKET: &[Key] = &[
    key("message", Kind::Size, "\"1MiB\"", "A message; a longer one ends the connection, with code 1009."),
    key("frame", Kind::Size, "\"1MiB\"", "A frame of a message; a longer one ends the connection, with code 1009."),
    unset(
        "rate",
        Kind::Integer(1, 4_294_967_295),
        "100",
        "Frames a second of one connection; more wait in the socket.",
    ),
    key(
        "allow_origins",
        Kind::Words,
        "[]",
        "Whose pages may open one, beside those of the host itself: \"https://example.org\", \"https://*.example.org\" or \"*\".",
    ),
];

/// `[rate_limit]`
pub(super) const RATE_LIMIT: &[Key] = &[
    key("enable", Kind::Boolean, "false", "Whether clients are limited, each by its address.").at(Applies::Live),
    key("rate", Kind::Integer(1, 1_000_000_000), "100", "Requests a window; so many may come at once.")
        .at(Applies::Live),
    key("window", Kind::Duration, "\"1m\"", "The window.").at(Applies::Live),
    key(
        "without_address",
        Kind::Choice(&["error", "one_bucket", "unlimited"]),
        "\"error\"",
        "Clients over a Unix socket have no address but the one that X-Forwarded-For tells, if server.trusted_proxies is set (to any network). \"error\": where it is not set, the worker does not start. \"one_bucket\": all clients without an address count as one. \"unlimited\": they are not counted.",
    )
    .at(Applies::Live),
    key(
        "store",
        Kind::Choice(&["local", "redis"]),
        "\"local\"",
        "Where clients are counted. \"local\": by the workers of one supervisor together. \"redis\": by those of all hosts together, in the Redis of [redis]; while that is away, as \"local\". Services that share a Redis count apart by their monitoring.prometheus.namespace. Needs the feature `redis` of gin-worker.",
    ),
    key(
        "clients",
        Kind::Integer(1024, 1 << 24),
        "65536",
        "Clients remembered at once, by all workers together: 16 bytes each.",
    )
    .at(Applies::Start),
];
