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
pub fn write_span(to: &mut Writer, head: &SpanHead<'_>, attributes: &[u8], events: &[u8], dropped_events: u32) {
    to.bytes(1, &head.context.trace.bytes());
    to.bytes(2, &head.context.span.bytes());
    to.text(3, head.state.unwrap_or_default());
    if let Some(parent) = head.parent {
        to.bytes(4, &parent.bytes());
    }
    to.text(5, head.name);
    to.number(6, head.kind as u64);
    to.fixed64(7, head.start_ns);
    to.fixed64(8, head.end_ns);
    to.raw(attributes);
    to.raw(events);
    to.number(12, u64::from(dropped_events));
    match head.status {
        SpanStatus::Unset => {}
        SpanStatus::Ok => to.message(15, |status| status.number(3, STATUS_OK)),
        SpanStatus::Error(message) => to.message(15, |status| {
            status.text(2, message);
            status.number(3, STATUS_ERROR);
        }),
    }
    let remote = if head.is_parent_remote { IS_REMOTE } else { 0 };
    to.fixed32(16, u32::from(head.context.is_sampled) | HAS_IS_REMOTE | remote);
}

/// Writes an attribute as this field.
pub fn write_attribute(to: &mut Writer, field: u32, key: &str, value: Value<'_>) {
    to.message(field, |attribute| {
        attribute.text(1, key);
        attribute.message(2, |any| match value {
            Value::Text(text) => any.text_always(1, text),
            Value::Boolean(truth) => any.number_always(2, u64::from(truth)),
            Value::Integer(number) => any.number_always(3, number as u64),
            Value::Float(number) => any.double_always(4, number),
        });
    });
}

/// Writes an event of a span. Its `attributes` are written with field 3.
pub fn write_event(to: &mut Writer, at_ns: u64, name: &str, attributes: &[u8]) {
    to.message(11, |event| {
        event.fixed64(1, at_ns);
        event.text(2, name);
        event.raw(attributes);
    });
}

/// Writes a link of a span to another one.
pub fn link(to: &mut Writer, context: &TraceContext) {
    to.message(13, |link| {
        link.bytes(1, &context.trace.bytes());
        link.bytes(2, &context.span.bytes());
        link.fixed32(6, u32::from(context.is_sampled));
    });
}

/// Codes of a status.
const STATUS_OK: u64 = 1;
const STATUS_ERROR: u64 = 2;

/// Flags of a span: it is known whether its parent is in another process, and it is there.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

#[cfg(test)]
mod tests {
    use gin_shared::protobuf::{Field, Reader};
    use gin_shared::trace_context::TraceId;

    use super::*;

    fn fields(bytes: &[u8]) -> Vec<(u32, Field<'_>)> {
        let mut reader = Reader::new(bytes);
        std::iter::from_fn(|| reader.next().expect("a message")).collect()
    }

    fn context() -> TraceContext {
        let trace = TraceId::new([1; 16]).expect("an id");
        TraceContext { trace, span: SpanId::new([2; 8]).expect("an id"), is_sampled: true }
    }

    #[test]
    fn a_span_has_the_fields_of_otlp() {
        let mut attributes = Writer::new();
        write_attribute(&mut attributes, 9, "a", Value::Integer(0));
        let mut events = Writer::new();
        write_event(&mut events, 5, "e", &[]);
        let head = SpanHead {
            context: context(),
            parent: SpanId::new([3; 8]),
            is_parent_remote: true,
            state: Some("k=v"),
            name: "GET /",
            kind: SpanKind::Server,
            start_ns: 10,
            end_ns: 20,
            status: SpanStatus::Error("no"),
        };
        let mut span = Writer::new();
        write_span(&mut span, &head, attributes.as_slice(), events.as_slice(), 4);
        let expected = [
            (1, Field::Bytes(&[1; 16])),
            (2, Field::Bytes(&[2; 8])),
            (3, Field::Bytes(b"k=v")),
            (4, Field::Bytes(&[3; 8])),
            (5, Field::Bytes(b"GET /")),
            (6, Field::Number(2)),
            (7, Field::Fixed64(10)),
            (8, Field::Fixed64(20)),
            (9, Field::Bytes(b"\x0a\x01a\x12\x02\x18\x00")),
            (11, Field::Bytes(b"\x09\x05\0\0\0\0\0\0\0\x12\x01e")),
            (12, Field::Number(4)),
            (15, Field::Bytes(b"\x12\x02no\x18\x02")),
            (16, Field::Fixed32(0x301)),
        ];
        assert_eq!(fields(span.as_slice()), expected);
    }

    #[test]
    fn a_root_span_has_no_more_than_it_must() {
        let head = SpanHead {
            context: context(),
            parent: None,
            is_parent_remote: false,
            state: None,
            name: "root",
            kind: SpanKind::Internal,
            start_ns: 10,
            end_ns: 20,
            status: SpanStatus::Unset,
        };
        let mut span = Writer::new();
        write_span(&mut span, &head, &[], &[], 0);
        let numbers: Vec<u32> = fields(span.as_slice()).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 2, 5, 6, 7, 8, 16]);
        assert_eq!(fields(span.as_slice()).last(), Some(&(16, Field::Fixed32(0x101))));
    }

    /// A value of a `oneof` is written, also if it is zero: without it a receiver would see no value at all.
    #[test]
    fn attributes_keep_empty_values() {
        let cases: [(Value<'_>, &[u8]); 7] = [
            (Value::Text(""), b"\x0a\x00"),
            (Value::Text("t"), b"\x0a\x01t"),
            (Value::Boolean(false), b"\x10\x00"),
            (Value::Boolean(true), b"\x10\x01"),
            (Value::Integer(-1), b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            (Value::Float(0.0), b"\x21\0\0\0\0\0\0\0\0"),
            (Value::Float(1.0), b"\x21\0\0\0\0\0\0\xf0\x3f"),
        ];
        for (value, any) in cases {
            let mut writer = Writer::new();
            write_attribute(&mut writer, 1, "key", value);
            let [(1, Field::Bytes(attribute))] = fields(writer.as_slice())[..] else { panic!("{value:?}") };
            assert_eq!(fields(attribute), [(1, Field::Bytes(b"key")), (2, Field::Bytes(any))], "{value:?}");
        }
    }

    #[test]
    fn a_link_names_the_other_span() {
        let mut writer = Writer::new();
        link(&mut writer, &context());
        let [(13, Field::Bytes(link))] = fields(writer.as_slice())[..] else { panic!("{writer:?}") };
        assert_eq!(fields(link), [(1, Field::Bytes(&[1; 16])), (2, Field::Bytes(&[2; 8])), (6, Field::Fixed32(1))]);
    }
}
