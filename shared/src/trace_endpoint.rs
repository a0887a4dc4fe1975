//! Receivers of spans. A build that sends none checks the configuration's key, too.

use std::fmt;

/// Path of an export by gRPC.
pub const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Protocol of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP/1.1.
    Http,
}

/// A receiver of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// True for `https`.
    pub is_tls: bool,
    /// Name or address of the host. An address of IPv6 has no brackets.
    pub host: String,
    /// Port of the host.
    pub port: u16,
    /// Path of an export.
    pub path: String,
}

impl Endpoint {
    /// Reads a URL. Without a protocol the URL decides: a port 4318, or a path, is HTTP.
    ///
    /// # Errors
    /// If the text is no URL of a receiver.
    pub fn parse(_: &str, _: Option<Protocol>) -> Result<Parsed, EndpointError> {
        Err(EndpointError::Scheme)
    }

    /// Host and port, as the header `host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The receiver on this host: `http://127.0.0.1:4317`.
impl Default for Endpoint {
    fn default() -> Self {
        let (host, path) = ("127.0.0.1".to_owned(), GRPC_PATH.to_owned());
        Self { protocol: Protocol::Grpc, is_tls: false, host, port: 4317, path }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let path = if self.protocol == Protocol::Grpc { "" } else { self.path.as_str() };
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

/// An endpoint that was read.
#[derive(Debug)]
pub struct Parsed {
    /// The endpoint that counts.
    pub endpoint: Endpoint,
    /// True if the text was Jaeger's old endpoint, which speaks no OTLP.
    pub is_old_jaeger: bool,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It begins with neither `http://` nor `https://`.
    #[error("it must begin with http:// or https://")]
    Scheme,
}
