//! Receivers of spans. A build that sends none checks the configuration's key, too.

use std::fmt;
use std::net::Ipv6Addr;

/// Path of an export by gRPC.
pub const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Path of an export by HTTP, where the URL has none.
const HTTP_PATH: &str = "/v1/traces";

/// Ports of OTLP.
const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;

/// Jaeger's old endpoint, which takes spans in the format of Thrift.
const OLD_JAEGER_PORT: u16 = 14268;
const OLD_JAEGER_PATH: &str = "/api/traces";

/// Bytes of the longest URL.
const URL_MAX: usize = 2048;

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
    /// Reads a URL. Without a protocol the URL decides: a port 4318, or a path, is HTTP. Without a port it is that of the scheme.
    ///
    /// # Errors
    /// If the text is no URL of a receiver.
    pub fn parse(text: &str, protocol: Option<Protocol>) -> Result<Parsed, EndpointError> {
        if text.len() > URL_MAX {
            return Err(EndpointError::Length);
        }
        let (scheme, rest) = text.split_once("://").ok_or(EndpointError::Scheme)?;
        let (is_tls, scheme_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(EndpointError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = authority_parts(authority)?;
        let port = port.unwrap_or(scheme_port);
        let has_path = !matches!(path, "" | "/");
        if port == OLD_JAEGER_PORT || path.trim_end_matches('/') == OLD_JAEGER_PATH {
            let endpoint = Self::at_default_port(protocol.unwrap_or(Protocol::Grpc), is_tls, host);
            return Ok(Parsed { endpoint, is_old_jaeger: true });
        }
        let protocol = match protocol {
            Some(protocol) => protocol,
            None if port == HTTP_PORT || has_path => Protocol::Http,
            None => Protocol::Grpc,
        };
        let path = match protocol {
            Protocol::Grpc if has_path => return Err(EndpointError::PathOfGrpc),
            Protocol::Grpc => GRPC_PATH,
            Protocol::Http if !has_path => HTTP_PATH,
            Protocol::Http if path.starts_with('/') && path.bytes().all(stands_in_a_path) => path,
            Protocol::Http => return Err(EndpointError::Path),
        };
        let endpoint = Self { protocol, is_tls, host: host.to_owned(), port, path: path.to_owned() };
        Ok(Parsed { endpoint, is_old_jaeger: false })
    }

    /// The receiver of OTLP on a host.
    fn at_default_port(protocol: Protocol, is_tls: bool, host: &str) -> Self {
        let (port, path) = match protocol {
            Protocol::Grpc => (GRPC_PORT, GRPC_PATH),
            Protocol::Http => (HTTP_PORT, HTTP_PATH),
        };
        Self { protocol, is_tls, host: host.to_owned(), port, path: path.to_owned() }
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
        Self::at_default_port(Protocol::Grpc, false, "127.0.0.1")
    }
}

/// The URL, as it may be written in a configuration.
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

/// Host and port of a URL. An address of IPv6 loses its brackets.
fn authority_parts(authority: &str) -> Result<(&str, Option<u16>), EndpointError> {
    if authority.contains('@') {
        return Err(EndpointError::Credentials);
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(EndpointError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| EndpointError::Host)?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(EndpointError::Host);
        }
        (host, port)
    } else {
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(EndpointError::Host);
        }
        (host, port)
    };
    let Some(port) = port else { return Ok((host, None)) };
    // A number's own reader takes a sign, too.
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    match port.and_then(|port| port.parse().ok()) {
        None | Some(0) => Err(EndpointError::Port),
        port => Ok((host, port)),
    }
}

/// True if a byte may stand in the path of a URL as it is. A query may not: keys stand there, and the log shows the URL.
fn stands_in_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// A text that is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It begins with neither `http://` nor `https://`.
    #[error("it must begin with http:// or https://, as http://127.0.0.1:4317")]
    Scheme,
    /// It has no host, or one with other characters.
    #[error("its host is no name and no address; write http://HOST:PORT, and an address of IPv6 in brackets")]
    Host,
    /// It has no port behind its colon.
    #[error("its port is no number between 1 and 65535; receivers listen on 4317 (gRPC) and 4318 (HTTP)")]
    Port,
    /// It has a user or a password.
    #[error("it has credentials before its host; send them as a header, as authorization")]
    Credentials,
    /// It has a path, and gRPC has a path of its own.
    #[error("gRPC has no path; leave it out, or choose the protocol http")]
    PathOfGrpc,
    /// It has a path that no request can have.
    #[error(
        "its path has a character that must be written as %XX, a query (?) or a fragment (#); send a key as a header"
    )]
    Path,
    /// It is too long.
    #[error("it is longer than {} bytes", URL_MAX)]
    Length,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, protocol: Option<Protocol>) -> (Protocol, String, String, bool) {
        let Parsed { endpoint, is_old_jaeger } = Endpoint::parse(text, protocol).expect(text);
        (endpoint.protocol, endpoint.to_string(), endpoint.path, is_old_jaeger)
    }

    #[test]
    fn the_url_decides_on_the_protocol() {
        let cases = [
            ("http://127.0.0.1:4317", Protocol::Grpc, "http://127.0.0.1:4317", GRPC_PATH),
            ("http://127.0.0.1:4317/", Protocol::Grpc, "http://127.0.0.1:4317", GRPC_PATH),
            ("HTTPS://collector.example", Protocol::Grpc, "https://collector.example:443", GRPC_PATH),
            ("http://[::1]:4317", Protocol::Grpc, "http://[::1]:4317", GRPC_PATH),
            ("http://[::1]", Protocol::Grpc, "http://[::1]:80", GRPC_PATH),
            ("http://otel_collector:4318", Protocol::Http, "http://otel_collector:4318/v1/traces", HTTP_PATH),
            ("http://host:80/a/b%20d", Protocol::Http, "http://host:80/a/b%20d", "/a/b%20d"),
            ("https://host/v1/traces", Protocol::Http, "https://host:443/v1/traces", HTTP_PATH),
        ];
        for (text, protocol, url, path) in cases {
            assert_eq!(read(text, None), (protocol, url.to_owned(), path.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn a_written_protocol_counts() {
        let http = read("http://host:4317", Some(Protocol::Http));
        assert_eq!(http, (Protocol::Http, "http://host:4317/v1/traces".to_owned(), HTTP_PATH.to_owned(), false));
        let grpc = read("http://host:4318", Some(Protocol::Grpc));
        assert_eq!(grpc, (Protocol::Grpc, "http://host:4318".to_owned(), GRPC_PATH.to_owned(), false));
    }

    #[test]
    fn old_endpoints_of_jaeger_are_replaced() {
        let grpc = (Protocol::Grpc, "http://localhost:4317".to_owned(), GRPC_PATH.to_owned(), true);
        for text in ["http://localhost:14268/api/traces", "http://localhost:14268", "http://localhost/api/traces/"] {
            assert_eq!(read(text, None), grpc, "{text}");
            assert_eq!(read(text, Some(Protocol::Grpc)), grpc, "{text}");
        }
        let (protocol, url, ..) = read("https://jaeger:14268/api/traces", Some(Protocol::Http));
        assert_eq!((protocol, url.as_str()), (Protocol::Http, "https://jaeger:4318/v1/traces"));
    }

    #[test]
    fn other_texts_are_errors() {
        let cases = [
            ("", EndpointError::Scheme),
            ("127.0.0.1:4317", EndpointError::Scheme),
            ("grpc://127.0.0.1:4317", EndpointError::Scheme),
            ("http://", EndpointError::Host),
            ("http:///v1/traces", EndpointError::Host),
            ("http://a b", EndpointError::Host),
            ("http://::1:4317", EndpointError::Host),
            ("http://[::1:4317", EndpointError::Host),
            ("http://[::1]4317", EndpointError::Host),
            ("http://[localhost]:4317", EndpointError::Host),
            ("http://host:", EndpointError::Port),
            ("http://host:0", EndpointError::Port),
            ("http://host:+1", EndpointError::Port),
            ("http://host:65536", EndpointError::Port),
            ("http://user:password@host:4317", EndpointError::Credentials),
            ("http://host/a b", EndpointError::Path),
            ("http://host/\u{e4}", EndpointError::Path),
            ("http://host/a#b", EndpointError::Path),
            ("http://host?a", EndpointError::Path),
            ("http://host/v1/traces?key=k", EndpointError::Path),
        ];
        for (text, error) in cases {
            assert_eq!(Endpoint::parse(text, None).err(), Some(error), "{text}");
        }
        let with_path = Endpoint::parse("http://host:4317/v1/traces", Some(Protocol::Grpc));
        assert_eq!(with_path.err(), Some(EndpointError::PathOfGrpc));
        let long = format!("http://host/{}", "a".repeat(URL_MAX));
        assert_eq!(Endpoint::parse(&long, None).err(), Some(EndpointError::Length));
    }

    #[test]
    fn what_is_shown_can_be_written() {
        for text in ["http://[::1]:4317", "https://host:443", "http://host:4318/v1/traces", "http://host:1/p"] {
            assert_eq!(read(text, None).1, text);
        }
        assert_eq!(read("http://127.0.0.1:4317", None).1, Endpoint::default().to_string());
    }
}
