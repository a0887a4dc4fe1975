//! Spans of an `ExportTraceServiceRequest`.

use std::collections::BTreeMap;
use std::time::Duration;

use gin_shared::protobuf::{Field, Malformed, Reader};
use serde_json::Value;

/// A span, as a receiver shows it.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// Attributes of the resource.
    pub resource: BTreeMap<String, String>,
    /// Id of the trace: 32 hexadecimal digits.
    pub trace: String,
    /// Id of the span: 16 hexadecimal digits.
    pub id: String,
    /// Id of the span above it.
    pub parent: Option<String>,
    /// Its `tracestate`.
    pub state: String,
    /// Its name.
    pub name: String,
    /// Number of its kind: 1 internal, 2 server, 3 client.
    pub kind: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Names of its events.
    pub events: Vec<String>,
    /// Ids of the traces that it has links to.
    pub links: Vec<String>,
    /// How it has ended.
    pub status: Status,
    /// When it was.
    pub time: Time,
}

/// How a span has ended.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// True if it is an error.
    pub is_error: bool,
    /// What the error says.
    pub message: String,
}

/// When a span was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Time {
    /// Nanoseconds since 1970 at its beginning.
    pub began_ns: u64,
    /// Time from its beginning to its end.
    pub took: Duration,
}

impl Span {
    /// An attribute that is a text; empty if there is none of this name.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// True if it lies within the time of another one. Both are of one clock.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.time.began_ns >= other.time.began_ns
            && u128::from(self.time.began_ns) + self.time.took.as_nanos()
                <= u128::from(other.time.began_ns) + other.time.took.as_nanos()
    }
}

pub(super) fn spans(request: &[u8]) -> Result<Vec<Span>, Malformed> {
    let mut all = Vec::new();
    for of_resource in messages(request, 1)? {
        let mut resource = BTreeMap::new();
        for message in messages(of_resource, 1)? {
            let attributes = attributes(message, 1)?;
            resource.extend(attributes.into_iter().map(|(name, value)| (name, shown(&value))));
        }
        for scope in messages(of_resource, 2)? {
            for message in messages(scope, 2)? {
                all.push(Span { resource: resource.clone(), ..span(message)? });
            }
        }
    }
    Ok(all)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn span(message: &[u8]) -> Result<Span, Malformed> {
    let (mut span, mut ended_ns) = (Span { attributes: attributes(message, 9)?, ..Span::default() }, 0);
    for (number, field) in fields(message)? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => span.trace = hex(bytes),
            (2, Field::Bytes(bytes)) => span.id = hex(bytes),
            (3, Field::Bytes(bytes)) => span.state = text(bytes),
            (4, Field::Bytes(bytes)) => span.parent = Some(hex(bytes)).filter(|id| !id.is_empty()),
            (5, Field::Bytes(bytes)) => span.name = text(bytes),
            (6, Field::Number(kind)) => span.kind = kind,
            (7, Field::Fixed64(began)) => span.time.began_ns = began,
            (8, Field::Fixed64(ended)) => ended_ns = ended,
            (11, Field::Bytes(event)) => {
                span.events.extend(messages(event, 2)?.into_iter().map(text));
            }
            (13, Field::Bytes(link)) => span.links.extend(messages(link, 1)?.into_iter().map(hex)),
            (15, Field::Bytes(status)) => {
                span.status.message = messages(status, 2)?.into_iter().map(text).collect();
                span.status.is_error = fields(status)?.contains(&(3, Field::Number(2)));
            }
            _ => {}
        }
    }
    span.time.took = Duration::from_nanos(ended_ns.saturating_sub(span.time.began_ns));
    Ok(span)
}

/// `KeyValue`s of this field.
fn attributes(message: &[u8], number: u32) -> Result<BTreeMap<String, Value>, Malformed> {
    let mut all = BTreeMap::new();
    for pair in messages(message, number)? {
        let key = messages(pair, 1)?.into_iter().map(text).collect();
        let value = messages(pair, 2)?.into_iter().next().map_or(Ok(Value::Null), any)?;
        all.insert(key, value);
    }
    Ok(all)
}

/// An `AnyValue`.
fn any(message: &[u8]) -> Result<Value, Malformed> {
    Ok(match fields(message)?.into_iter().next() {
        Some((1, Field::Bytes(bytes))) => text(bytes).into(),
        Some((2, Field::Number(number))) => (number != 0).into(),
        Some((3, Field::Number(number))) => number.cast_signed().into(),
        Some((4, Field::Fixed64(bits))) => f64::from_bits(bits).into(),
        other => format!("of another kind: {other:?}").into(),
    })
}

/// Bytes of each field of this number: messages or texts.
fn messages(message: &[u8], number: u32) -> Result<Vec<&[u8]>, Malformed> {
    let own = |(own, field): (u32, _)| match field {
        Field::Bytes(bytes) if own == number => Some(bytes),
        _ => None,
    };
    Ok(fields(message)?.into_iter().filter_map(own).collect())
}

fn fields(message: &[u8]) -> Result<Vec<(u32, Field<'_>)>, Malformed> {
    let (mut reader, mut all) = (Reader::new(message), Vec::new());
    while let Some(field) = reader.next()? {
        all.push(field);
    }
    Ok(all)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
