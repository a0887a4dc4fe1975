//! Keys of metrics and traces.

use super::key::{Applies, Key, Kind, key, unset};

/// `[metrics]`
pub(super) const METRICS: &[Key] = &[
    key(
        "series",
        Kind::Integer(16, 65_536),
        "4096",
        "Series that a worker has room for; only those that it has take memory. What it counts above that goes into one series for each name, whose labels say \"overflow\".",
    )
    .at(Applies::Start),
];

/// `[monitoring]`
pub(super) const MONITORING: &[Key] = &[
    unset(
        "prometheus",
        Kind::Table(PROMETHEUS),
        "{ path = \"/metrics\" }",
        "How metrics are told; whether they are: features.metrics.",
    ),
    key(
        "buckets",
        Kind::Numbers,
        "[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]",
        "Upper bounds of the histogram of requests' durations, in seconds: 1 to 40 of them, more than 0, and each more than the one before.",
    ),
    unset("jaeger", Kind::Table(JAEGER), "{ enable = false }", "Traces."),
];

/// `[monitoring.prometheus]`
const PROMETHEUS: &[Key] = &[
    unset(
        "enable",
        Kind::Boolean,
        "true",
        "true shows /metrics to everybody, unless server.public is written. The switch is features.metrics; false here is an error.",
    ),
    key("path", Kind::Text, "\"/metrics\"", "Where the metrics are."),
    key("namespace", Kind::Text, "\"gin_server\"", "What the names of all metrics begin with."),
];

/// `[monitoring.jaeger]`
const JAEGER: &[Key] = &[
    key("enable", Kind::Boolean, "false", "Not in this version."),
    unset("endpoint", Kind::Text, "\"http://127.0.0.1:4317\"", "Where traces go."),
    key("service_name", Kind::Text, "\"gin-server\"", "As whose."),
    key("sample_rate", Kind::Fraction, "0.1", "How many of them: 0 to 1."),
];
