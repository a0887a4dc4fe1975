//! Keys of the server, and its switches.

use super::key::{Applies, Key, Kind, key};

/// `[server]`
pub const SERVER: &[Key] = &[
    key("name", Kind::Text, "\"Gin Web Server\"", "A name for people."),
    key("host", Kind::Text, "\"127.0.0.1\"", "An IP address. With port: shorthand for one listener named http."),
    key("port", Kind::Integer(0, 65535), "8080", "Its port."),
    key(
        "mode",
        Kind::Choice(&["debug", "release", "test"]),
        "\"release\"",
        "debug prints the routes at start, and shows every endpoint to everybody.",
    ),
    key(
        "public",
        Kind::Words,
        "[\"/info\", \"/routes\"]",
        "Which of /metrics, /routes (with /api/v1/routes) and /info everybody may see in release mode; [] hides all. The default has /metrics, too, where monitoring.prometheus.enable is written. The private listener shows them all.",
    ),
    key(
        "redirect_trailing_slash",
        Kind::Boolean,
        "true",
        "A path that has a route with another slash at its end, or without, is redirected there: 301 for GET, else 307.",
    ),
    key(
        "trusted_proxies",
        Kind::Words,
        "[]",
        "Whose X-Forwarded-For and X-Forwarded-Proto are believed, as CIDRs: the first is read from the right, up to the first address not among these. Over a Unix socket both are believed if any network is named.",
    )
    .at(Applies::Live),
];

/// `[features]`
pub const FEATURES: &[Key] = &[
    key("hot_restart", Kind::Boolean, "true", "false refuses a restart with exit code 5."),
    key(
        "graceful_shutdown",
        Kind::Boolean,
        "true",
        "false cuts what is under way at a stop, instead of waiting for it.",
    ),
    key("metrics", Kind::Boolean, "true", "Whether requests are counted, and /metrics tells."),
    key(
        "pprof",
        Kind::Boolean,
        "false",
        "Profiles and figures under /debug/, on the private listener; with monitoring.pprof.token elsewhere, too. Needs the feature profile of gin-worker.",
    ),
    key(
        "tracing",
        Kind::Boolean,
        "false",
        "Whether requests are traced, as [monitoring.jaeger] says. Needs the feature otel of gin-worker.",
    ),
];
