//! A span as bytes: the message `Span` of OTLP.

use gin_shared::protobuf::Writer;
use gin_shared::trace_context::{SpanId, TraceContext};

/// Value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A truth.
    Boolean(bool),
}

/// Role of a span in a call between two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Within one service.
    Internal = 1,
    /// The answer to a request.
    Server = 2,
    /// A request to another service.
    Client = 3,
    /// A message for a queue.
    Producer = 4,
    /// A message from a queue.
    Consumer = 5,
}

/// Success of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanStatus<'a> {
    /// Nobody has said.
    Unset,
    /// It has succeeded.
    Ok,
    /// It has failed, with a message.
    Error(&'a str),
}

/// Facts of a span.
#[derive(Debug)]
pub struct SpanHead<'a> {
    /// The span, and its trace.
    pub context: TraceContext,
    /// The span above it.
    pub parent: Option<SpanId>,
    /// True if another process has that span.
    pub is_parent_remote: bool,
    /// The header `tracestate`.
    pub state: Option<&'a str>,
    /// Name of the span.
    pub name: &'a str,
    /// Role of the span.
    pub kind: SpanKind,
    /// Begin, in nanoseconds since 1970.
    pub start_ns: u64,
    /// End, in nanoseconds since 1970.
    pub end_ns: u64,
    /// Success of the span.
    pub status: SpanStatus<'a>,
}

/// Writes a message `Span`. `attributes` are written with field 9, `events` by [`write_event`].
pub fn write_span(_: &mut Writer, _: &SpanHead<'_>, _: &[u8], _: &[u8], _: u32) {}

/// Writes an attribute as this field.
pub fn write_attribute(_: &mut Writer, _: u32, _: &str, _: Value<'_>) {}

/// Writes an event of a span. Its `attributes` are written with field 3.
pub fn write_event(_: &mut Writer, _: u64, _: &str, _: &[u8]) {}

/// Writes a link of a span to another one.
pub fn link(_: &mut Writer, _: &TraceContext) {}
