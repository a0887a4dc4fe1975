//! Spans as a receiver reads them.

use std::collections::BTreeMap;

use gin_shared::protobuf::{Field, Reader};

use super::super::tracer::Tracer;

#[derive(Debug, Default)]
pub(super) struct Span {
    pub(super) trace: Vec<u8>,
    pub(super) id: Vec<u8>,
    pub(super) parent: Vec<u8>,
    pub(super) name: String,
    pub(super) kind: u64,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) events: Vec<Event>,
    pub(super) dropped: Dropped,
    /// Trace and span of each.
    pub(super) links: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) error: Option<String>,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
}

/// Numbers of those for which there was no room.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pub(super) attributes: u64,
    pub(super) events: u64,
}

#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Span {
    pub(super) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

/// All spans that have ended so far, in the order of their ends.
pub(super) fn spans(tracer: &Tracer) -> Vec<Span> {
    tracer.pushed.lock().unwrap().iter().map(|bytes| span(bytes)).collect()
}

/// The span of this name.
pub(super) fn named(tracer: &Tracer, name: &str) -> Span {
    let all = spans(tracer);
    let names: Vec<_> = all.iter().map(|span| span.name.clone()).collect();
    all.into_iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}: {names:?}"))
}

fn fields(bytes: &[u8]) -> Vec<(u32, Field<'_>)> {
    let (mut reader, mut all) = (Reader::new(bytes), Vec::new());
    while let Some(field) = reader.next().unwrap() {
        all.push(field);
    }
    all
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn span(bytes: &[u8]) -> Span {
    let mut span = Span::default();
    for field in fields(bytes) {
        match field {
            (1, Field::Bytes(id)) => span.trace = id.to_vec(),
            (2, Field::Bytes(id)) => span.id = id.to_vec(),
            (4, Field::Bytes(id)) => span.parent = id.to_vec(),
            (5, Field::Bytes(name)) => span.name = text(name),
            (6, Field::Number(kind)) => span.kind = kind,
            (7, Field::Fixed64(time)) => span.began_ns = time,
            (8, Field::Fixed64(time)) => span.ended_ns = time,
            (9, Field::Bytes(one)) => span.attributes.extend([attribute(one)]),
            (10, Field::Number(count)) => span.dropped.attributes = count,
            (11, Field::Bytes(one)) => span.events.push(event(one)),
            (12, Field::Number(count)) => span.dropped.events = count,
            (13, Field::Bytes(one)) => span.links.push(link(one)),
            (15, Field::Bytes(one)) => span.error = status(one),
            _ => {}
        }
    }
    span
}

fn attribute(bytes: &[u8]) -> (String, String) {
    let (mut key, mut value) = (String::new(), String::new());
    for field in fields(bytes) {
        match field {
            (1, Field::Bytes(bytes)) => key = text(bytes),
            (2, Field::Bytes(bytes)) => value = fields(bytes).into_iter().map(any).collect(),
            _ => {}
        }
    }
    (key, value)
}

/// `AnyValue`
fn any(field: (u32, Field<'_>)) -> String {
    match field {
        (1, Field::Bytes(bytes)) => text(bytes),
        (2, Field::Number(number)) => (number == 1).to_string(),
        (3, Field::Number(number)) => number.cast_signed().to_string(),
        (4, Field::Fixed64(bits)) => f64::from_bits(bits).to_string(),
        other => panic!("{other:?}"),
    }
}

fn event(bytes: &[u8]) -> Event {
    let mut event = Event::default();
    for field in fields(bytes) {
        match field {
            (2, Field::Bytes(name)) => event.name = text(name),
            (3, Field::Bytes(one)) => event.attributes.extend([attribute(one)]),
            _ => {}
        }
    }
    event
}

fn link(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut trace, mut span) = (Vec::new(), Vec::new());
    for field in fields(bytes) {
        match field {
            (1, Field::Bytes(id)) => trace = id.to_vec(),
            (2, Field::Bytes(id)) => span = id.to_vec(),
            _ => {}
        }
    }
    (trace, span)
}

/// Status: the message if it is an error.
fn status(bytes: &[u8]) -> Option<String> {
    let (mut message, mut is_error) = (String::new(), false);
    for field in fields(bytes) {
        match field {
            (2, Field::Bytes(bytes)) => message = text(bytes),
            (3, Field::Number(code)) => is_error = code == 2,
            _ => {}
        }
    }
    is_error.then_some(message)
}
