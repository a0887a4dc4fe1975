//! Traces of requests: `[monitoring.jaeger]`. A build without the feature `otel` checks them, too.

use std::path::PathBuf;
use std::time::Duration;

use gin_shared::trace_context::Ratio;
use gin_shared::trace_endpoint::Endpoint;

/// `[monitoring.jaeger]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tracing {
    /// True if requests are traced.
    pub is_on: bool,
    /// The receiver of the spans.
    pub endpoint: Endpoint,
    /// Name of the service. `None`: the instance's; without a supervisor the program's.
    pub service_name: Option<String>,
    /// Part of the traces that begin here.
    pub sample_rate: Ratio,
    /// Clients whose `traceparent` counts.
    pub parents: TraceParents,
    /// Headers of each export. They may be secrets.
    pub headers: Vec<(String, String)>,
    /// More attributes of the resource.
    pub attributes: Vec<(String, String)>,
    /// Authorities for an endpoint that speaks TLS. `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Time of one export.
    pub timeout: Duration,
    /// Longest wait of a span before it is sent, while the receiver is well.
    pub interval: Duration,
    /// Bytes of the spans that wait, and of those that are being sent.
    pub memory: u64,
}

/// Clients whose `traceparent` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceParents {
    /// All of them.
    #[default]
    All,
    /// Those of `server.trusted_proxies`, and those of Unix sockets.
    Trusted,
    /// None of them.
    None,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            is_on: false,
            endpoint: Endpoint::default(),
            service_name: None,
            sample_rate: Ratio::new(0.1),
            parents: TraceParents::default(),
            headers: Vec::new(),
            attributes: Vec::new(),
            ca_file: None,
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(1),
            memory: 4 << 20,
        }
    }
}
