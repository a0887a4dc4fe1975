//! Keys of metrics, traces and profiles.

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
    unset(
        "jaeger",
        Kind::Table(JAEGER),
        "{ enable = true }",
        "Traces of requests, sent by OTLP. Needs the feature otel of gin-worker.",
    ),
    unset(
        "pprof",
        Kind::Table(PPROF),
        "{ block = \"10ms\" }",
        "Profiles and figures under /debug/. The switch is features.pprof.",
    ),
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
    unset(
        "enable",
        Kind::Boolean,
        "true",
        "The same switch as features.tracing. Where both are written, they must agree.",
    ),
    key(
        "endpoint",
        Kind::Text,
        "\"http://127.0.0.1:4317\"",
        "An OTLP receiver. Jaeger's old endpoint, port 14268 or the path /api/traces, is replaced by port 4317 of the same host, with a warning.",
    ),
    unset(
        "protocol",
        Kind::Choice(&["grpc", "http"]),
        "\"grpc\"",
        "How the receiver is spoken to. Default: HTTP for an endpoint with port 4318 or with a path, else gRPC.",
    ),
    unset(
        "service_name",
        Kind::Text,
        "\"shop\"",
        "The name of the service in its traces. Default: the instance's name; without a supervisor the program's.",
    ),
    key(
        "sample_rate",
        Kind::Fraction,
        "0.1",
        "The part of the traces that begin here which is sent. A trace that another service has begun goes by its own flag.",
    )
    .at(Applies::Live),
    key(
        "parents",
        Kind::Choice(&["all", "trusted", "none"]),
        "\"all\"",
        "Clients whose traceparent counts: all; trusted: those of server.trusted_proxies and of Unix sockets; none. It says whether a request is sampled, too. With all, any client can have each of its requests sampled, in a trace of its choice: take trusted where strangers connect.",
    ),
    unset(
        "headers",
        Kind::Map,
        "{ authorization = \"Bearer ...\" }",
        "Headers of each export, for a receiver that wants to know who sends.",
    )
    .secret(),
    unset(
        "attributes",
        Kind::Map,
        "{ \"deployment.environment.name\" = \"production\" }",
        "More attributes of the resource that spans belong to.",
    ),
    unset(
        "ca_file",
        Kind::Path,
        "\"/etc/ssl/collector-ca.pem\"",
        "Certificates of the authorities for an https endpoint, in PEM. Default: the system's.",
    ),
    key("timeout", Kind::Duration, "\"10s\"", "Time for one export, 100ms to 60s."),
    key(
        "interval",
        Kind::Duration,
        "\"1s\"",
        "Longest wait of a span before it is sent, while the receiver is well, 10ms to 60s.",
    ),
    key(
        "memory",
        Kind::Size,
        "\"4MiB\"",
        "Memory of the spans that wait and of those that are being sent, 64KiB to 256MiB. A span without room is dropped and counted.",
    ),
];

/// `[monitoring.pprof]`
const PPROF: &[Key] = &[
    unset(
        "token",
        Kind::Text,
        "\"at least 16 characters\"",
        "Opens /debug/ on public listeners, as Authorization: Bearer or as the password of Basic. Default: only the private listener has /debug/.",
    )
    .secret(),
    unset(
        "token_file",
        Kind::Path,
        "\"/run/secrets/pprof\"",
        "A file with the token, which counts where token is not set. The newline at its end is left out.",
    ),
    key(
        "block",
        Kind::Duration,
        "\"10ms\"",
        "Time of one poll of a request or task, 1ms to 60s. /debug/pprof/block tells of polls that take longer.",
    ),
];
