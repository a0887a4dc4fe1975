//! Messages of OTLP around spans that exist as bytes.

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use gin_shared::protobuf::{Field, Malformed, Reader, Writer};

use crate::resource::Resource;
use crate::waiting::Chunk;

/// Fields of `ExportTraceServiceRequest` and of `ResourceSpans`.
const RESOURCE_SPANS: u32 = 1;
const SCOPE_SPANS: u32 = 2;

/// Body of one export: the heads of the messages, and the spans.
pub(crate) type Payload = Chain<Bytes, Bytes>;

/// Messages around the spans of a process.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// The field `resource` of `ResourceSpans`.
    resource: Vec<u8>,
    /// The field `scope` of `ScopeSpans`.
    scope: Vec<u8>,
}

impl Envelope {
    pub(crate) fn new(resource: &Resource, scope_name: &str, scope_version: &str) -> Self {
        let mut resource_field = Writer::new();
        resource_field.message(1, |message| resource.write(message));
        let mut scope = Writer::new();
        scope.message(1, |message| {
            message.text(1, scope_name);
            message.text(2, scope_version);
        });
        Self { resource: resource_field.into_vec(), scope: scope.into_vec() }
    }

    /// Makes an `ExportTraceServiceRequest` of a chunk, without copying its spans.
    pub(crate) fn batch(&self, chunk: Chunk) -> Batch {
        let capacity = chunk.bytes.capacity();
        let spans = Bytes::from(chunk.bytes);
        let scope_spans = self.scope.len() + spans.len();
        let mut inner = Writer::new();
        inner.raw(&self.resource);
        inner.length(SCOPE_SPANS, scope_spans);
        let mut head = Writer::new();
        head.length(RESOURCE_SPANS, inner.len() + scope_spans);
        head.raw(inner.as_slice());
        head.raw(&self.scope);
        Batch { head: Bytes::from(head.into_vec()), spans, count: chunk.spans, capacity }
    }
}

/// Spans that are sent together. Each try sends the same bytes.
#[derive(Debug)]
pub(crate) struct Batch {
    head: Bytes,
    spans: Bytes,
    /// Number of the spans.
    pub(crate) count: u64,
    /// Bytes of the buffer of the spans.
    pub(crate) capacity: usize,
}

impl Batch {
    /// Bytes of the message.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.spans.len()
    }

    /// The message, with a prefix before it.
    pub(crate) fn payload(&self, prefix: &[u8]) -> Payload {
        if prefix.is_empty() {
            return self.head.clone().chain(self.spans.clone());
        }
        Bytes::from([prefix, &self.head[..]].concat()).chain(self.spans.clone())
    }

    /// Buffer of the spans, for other ones. It is empty if a connection still has the bytes.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        if self.spans.is_unique() { Vec::from(self.spans) } else { Vec::new() }
    }
}

/// Number of the spans that a receiver has rejected, and its message, by the bytes of an `ExportTraceServiceResponse`.
///
/// # Errors
/// If the bytes are no such message.
pub(crate) fn partial_success(response: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (mut rejected, mut message) = (0, &b""[..]);
    let mut response = Reader::new(response);
    while let Some((number, field)) = response.next()? {
        let (1, Field::Bytes(partial)) = (number, field) else { continue };
        let mut partial = Reader::new(partial);
        while let Some(field) = partial.next()? {
            match field {
                (1, Field::Number(number)) => rejected = u64::try_from(number as i64).unwrap_or_default(),
                (2, Field::Bytes(bytes)) => message = bytes,
                _ => {}
            }
        }
    }
    Ok((rejected, message))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::waiting::SPAN;

    fn only(bytes: &[u8], number: u32) -> Vec<&[u8]> {
        let mut reader = Reader::new(bytes);
        let mut found = Vec::new();
        while let Some(field) = reader.next().expect("a message") {
            if let (at, Field::Bytes(bytes)) = field
                && at == number
            {
                found.push(bytes);
            }
        }
        found
    }

    #[test]
    fn heads_are_written_before_spans() {
        let mut resource = Resource::default();
        resource.set("service.name", "old");
        resource.set("service.name", "shop");
        let envelope = Envelope::new(&resource, "gin", "1.2");
        for length in [0, 1, 100, 128, 20_000, 600_000] {
            let long = vec![7_u8; length];
            let mut spans = Writer::new();
            spans.bytes(SPAN, &long);
            spans.bytes(SPAN, b"second");
            let chunk = Chunk { bytes: spans.into_vec(), spans: 2, first: Instant::now() };
            let mut payload = envelope.batch(chunk).payload(&[]);
            let bytes = payload.copy_to_bytes(payload.remaining());
            let [resource_spans] = only(&bytes, 1)[..] else { panic!("{length}") };
            let [resource] = only(resource_spans, 1)[..] else { panic!("{length}") };
            assert_eq!(resource, b"\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04shop");
            let [scope_spans] = only(resource_spans, 2)[..] else { panic!("{length}") };
            assert_eq!(only(scope_spans, 1), [b"\x0a\x03gin\x12\x031.2"]);
            let expected = [&long[..], b"second"];
            assert_eq!(only(scope_spans, 2), expected[usize::from(length == 0)..], "{length}");
        }
    }

    #[test]
    fn a_buffer_comes_back_when_nobody_has_its_bytes() {
        let envelope = Envelope::new(&Resource::default(), "gin", "");
        let chunk = || {
            let mut bytes = Vec::with_capacity(1000);
            bytes.extend_from_slice(b"\x12\x01s");
            Chunk { bytes, spans: 1, first: Instant::now() }
        };
        let batch = envelope.batch(chunk());
        drop(batch.payload(b"12345"));
        assert_eq!(batch.into_buffer().capacity(), 1000);
        let batch = envelope.batch(chunk());
        let payload = batch.payload(b"");
        assert_eq!(batch.into_buffer().capacity(), 0);
        drop(payload);
    }

    #[test]
    fn rejected_spans_are_read() {
        assert_eq!(partial_success(b""), Ok((0, &b""[..])));
        assert_eq!(partial_success(b"\x0a\x00"), Ok((0, &b""[..])));
        assert_eq!(partial_success(b"\x0a\x06\x08\x03\x12\x02no"), Ok((3, &b"no"[..])));
        let negative = b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(partial_success(negative), Ok((0, &b""[..])));
        assert!(partial_success(b"<html>").is_err());
    }
}
