//! Traces of requests: `[monitoring.jaeger]`. A build without the feature `otel` checks them, too.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use gin_shared::config::{Entry, Place, Section, Value};
use gin_shared::trace_context::Ratio;
use gin_shared::trace_endpoint::{Endpoint, Protocol};

use super::within;

/// Limits of `timeout`.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Limits of `interval`.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// Limits of `memory`, in bytes.
const MEMORY: RangeInclusive<u64> = 64 << 10..=256 << 20;

/// `[monitoring.jaeger]`
#[derive(Clone, PartialEq, Eq)]
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
    /// All of them, as OpenTelemetry has it. Any client can then have each of its requests sampled.
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

/// Without the values of headers, which stand in no log.
impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_on, endpoint, service_name, sample_rate, parents, headers, attributes, ca_file, .. } = self;
        let headers: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = f.debug_struct("Tracing");
        shown.field("is_on", is_on).field("endpoint", endpoint).field("service_name", service_name);
        shown.field("sample_rate", sample_rate).field("parents", parents).field("headers", &headers);
        shown.field("attributes", attributes).field("ca_file", ca_file).field("timeout", &self.timeout);
        shown.field("interval", &self.interval).field("memory", &self.memory).finish()
    }
}

impl Tracing {
    /// Reads `[monitoring.jaeger]`, and the switch in `[features]`.
    pub(super) fn read(features: &Section<'_>, monitoring: &Section<'_>) -> Self {
        let switch = features.boolean("tracing");
        let Some(section) = monitoring.table("jaeger") else {
            return Self { is_on: switch.unwrap_or_default(), ..Self::default() };
        };
        let is_on = is_on(&section, switch, features.place("tracing"));
        let own = Self { is_on, ..Self::of(&section) };
        own.check(&section);
        section.finish();
        own
    }

    fn of(section: &Section<'_>) -> Self {
        let base = Self::default();
        let protocol = protocol(section);
        let endpoint = section.parsed("endpoint", "a URL", |text| Endpoint::parse(text, protocol));
        let parents = [("all", TraceParents::All), ("trusted", TraceParents::Trusted), ("none", TraceParents::None)];
        let headers = section.map("headers").unwrap_or_default();
        for fault in headers.iter().filter_map(|(name, value)| header_fault(name, value)) {
            section.problem("headers", &fault);
        }
        Self {
            is_on: base.is_on,
            endpoint: endpoint.map_or(base.endpoint, |parsed| parsed.endpoint),
            service_name: section.string("service_name").filter(|name| !name.is_empty()),
            sample_rate: section.fraction("sample_rate").map_or(base.sample_rate, Ratio::new),
            parents: section.choice("parents", &parents).unwrap_or(base.parents),
            headers,
            attributes: section.map("attributes").unwrap_or_default(),
            ca_file: section.path("ca_file"),
            timeout: within::time(section, "timeout", &TIMEOUT).unwrap_or(base.timeout),
            interval: within::time(section, "interval", &INTERVAL).unwrap_or(base.interval),
            memory: within::size(section, "memory", &MEMORY, "64KiB to 256MiB").unwrap_or(base.memory),
        }
    }

    /// Tells of settings that exclude one another, or need another feature.
    fn check(&self, section: &Section<'_>) {
        if self.is_on && self.endpoint.is_tls && cfg!(all(feature = "otel", not(feature = "tls"))) {
            section.problem(
                "endpoint",
                "this program was built without the feature \"tls\" of gin-worker; build it with that feature, or write http://",
            );
        }
        let is_https = section.peek("endpoint").is_some_and(|text| text.starts_with("https://"));
        if self.ca_file.is_some() && !is_https {
            section.problem("ca_file", "the endpoint speaks no TLS; write an https:// endpoint, or take this out");
        }
    }
}

/// Reads `protocol`. HTTP has no endpoint by default, for the receiver of the default one speaks gRPC.
fn protocol(section: &Section<'_>) -> Option<Protocol> {
    let protocol = section.choice("protocol", &[("grpc", Protocol::Grpc), ("http", Protocol::Http)]);
    if protocol == Some(Protocol::Http) && section.place("endpoint").is_none() {
        section.problem("protocol", "\"http\" needs an endpoint; write one, as \"http://127.0.0.1:4318\"");
    }
    protocol
}

/// The switch, which may stand in two places.
fn is_on(section: &Section<'_>, switch: Option<bool>, place: Option<Place>) -> bool {
    let own = section.boolean("enable");
    if let (Some(own), Some(switch), Some(place)) = (own, switch, place)
        && own != switch
    {
        let place = match place {
            Place::Line(line) => format!("line {line}"),
            place @ (Place::Variable(_) | Place::Flag(_)) => place.of(""),
        };
        let text = format!(
            "it is {own}, and features.tracing is {switch} ({place}); they are one switch, so write one of them, or the same twice"
        );
        section.problem("enable", &text);
    }
    own.or(switch).unwrap_or_default()
}

/// The fault of a header that cannot be sent. Its value is not in the text.
pub(super) fn header_fault(name: &str, value: &str) -> Option<String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some(format!("\"{}\" cannot name a header", name.escape_default()));
    }
    HeaderValue::from_str(value).is_err().then(|| format!("the value of \"{name}\" cannot stand in a header"))
}

/// True if either switch is on, of settings that are not read yet.
pub(super) fn is_switched_on(entries: &[Entry]) -> bool {
    let is_on = |section: &[Entry], key| value_of(section, key) == Some(&Value::Boolean(true));
    let monitoring = table_of(entries, "monitoring");
    is_on(table_of(entries, "features"), "tracing") || is_on(table_of(monitoring, "jaeger"), "enable")
}

/// The text of a key of `[monitoring.jaeger]`, of settings that are not read yet.
pub(super) fn text_of<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    match value_of(table_of(table_of(entries, "monitoring"), "jaeger"), key)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The protocol that is written, of settings that are not read yet.
pub(super) fn protocol_of(entries: &[Entry]) -> Option<Protocol> {
    match text_of(entries, "protocol")? {
        "grpc" => Some(Protocol::Grpc),
        "http" => Some(Protocol::Http),
        _ => None,
    }
}

/// Replaces Jaeger's old endpoint by that for OTLP, so that `config show` tells what is in force. Returns a warning if traces are on.
pub(super) fn replace_old_endpoint(entries: &mut [Entry]) -> Option<String> {
    let (is_on, protocol) = (is_switched_on(entries), protocol_of(entries));
    let value = value_in(entries, &["monitoring", "jaeger", "endpoint"])?;
    let Value::String(text) = value else { return None };
    let parsed = Endpoint::parse(text, protocol).ok().filter(|parsed| parsed.is_old_jaeger)?;
    let new = parsed.endpoint.to_string();
    let warning = format!(
        "monitoring.jaeger.endpoint: {text} is Jaeger's old Thrift endpoint; traces go to {new} (OTLP); write that"
    );
    *text = new;
    is_on.then_some(warning)
}

fn value_of<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Value> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node.value)
}

fn table_of<'a>(entries: &'a [Entry], key: &str) -> &'a [Entry] {
    match value_of(entries, key) {
        Some(Value::Table(inner)) => inner,
        _ => &[],
    }
}

/// The value at a path through tables.
fn value_in<'a>(entries: &'a mut [Entry], path: &[&str]) -> Option<&'a mut Value> {
    let (key, rest) = path.split_first()?;
    let value = &mut entries.iter_mut().find(|entry| entry.key == *key)?.node.value;
    if rest.is_empty() {
        return Some(value);
    }
    let Value::Table(inner) = value else { return None };
    value_in(inner, rest)
}
