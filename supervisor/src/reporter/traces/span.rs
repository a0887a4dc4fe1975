//! A span, and its bytes.

use gin_otlp::{SpanHead, SpanKind, SpanStatus, Value, write_attribute, write_event, write_span};
use gin_shared::protobuf::Writer;
use gin_shared::trace_context::{SpanId, TraceContext};

/// The number of a span's attributes in its message.
const ATTRIBUTES: u32 = 9;

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Its ids.
    pub(super) context: TraceContext,
    /// The span above it.
    pub(super) parent: Option<SpanId>,
    /// Its name.
    pub(super) name: String,
    /// Its begin, in nanoseconds since 1970.
    pub(super) start_ns: u64,
    /// Its end, in nanoseconds since 1970.
    pub(super) end_ns: u64,
    /// The reason, if it has failed.
    pub(super) error: Option<String>,
    /// Attributes with their values.
    pub(super) attributes: Vec<(&'static str, Attribute)>,
    /// Events with their times, in nanoseconds since 1970.
    pub(super) events: Vec<(u64, String)>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Span {
    /// The message `Span` of OTLP.
    #[must_use]
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (mut attributes, mut events, mut span) = (Writer::new(), Writer::new(), Writer::new());
        for (key, value) in &self.attributes {
            let value = match value {
                Attribute::Text(text) => Value::Text(text),
                Attribute::Integer(number) => Value::Integer(*number),
            };
            write_attribute(&mut attributes, ATTRIBUTES, key, value);
        }
        for (at_ns, name) in &self.events {
            write_event(&mut events, *at_ns, name, &[]);
        }
        let head = SpanHead {
            context: self.context,
            parent: self.parent,
            is_parent_remote: false,
            state: None,
            name: &self.name,
            kind: SpanKind::Internal,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            status: self.error.as_deref().map_or(SpanStatus::Unset, SpanStatus::Error),
        };
        write_span(&mut span, &head, attributes.as_slice(), events.as_slice(), 0);
        span.into_vec()
    }
}
