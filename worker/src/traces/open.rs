//! A span that is being recorded: its attributes and events are bytes of OTLP from the start, in buffers that the thread uses again.

use std::cell::Cell;
use std::thread::LocalKey;
use std::time::Instant;

use gin_otlp::{SpanHead, SpanKind, SpanStatus, Value, link, write_attribute, write_event, write_span};
use gin_shared::protobuf::Writer;
use gin_shared::trace_context::{SpanId, TraceContext};

use super::current::{self, Active, Clock, Place};
use super::random;
use super::tracer::Tracer;

/// Most attributes of a span, and of an event. More are counted.
const ATTRIBUTES_MAX: u32 = 64;
/// Most events of a span. More are counted.
const EVENTS_MAX: u32 = 32;
/// Longest text, in bytes. A longer one is cut.
const TEXT_MAX: usize = 4096;
/// Buffers that a thread keeps.
const KEPT: usize = 8;
/// Most bytes of a buffer that is kept.
const KEPT_BYTES: usize = 16 << 10;

/// Fields of the messages `Span` and `Event`.
const SPAN_ATTRIBUTES: u32 = 9;
const SPAN_DROPPED_ATTRIBUTES: u32 = 10;
const EVENT_ATTRIBUTES: u32 = 3;
const EVENT_DROPPED_ATTRIBUTES: u32 = 4;

thread_local! {
    static BUFFERS: Cell<Vec<Buffers>> = const { Cell::new(Vec::new()) };
    static SCRATCH: Cell<Writer> = Cell::new(Writer::new());
}

/// A span that is being recorded. It ends when it is dropped, and is sent then.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) active: Active,
    parent: Option<Parent>,
    kind: SpanKind,
    began: Instant,
    buffers: Buffers,
    failure: Option<String>,
    /// True if it has the attribute `error.type`.
    has_error_type: bool,
}

/// The span above another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent {
    pub(super) span: SpanId,
    /// True if another process has it.
    pub(super) is_remote: bool,
}

impl Open {
    /// A span that begins now, or began at this moment.
    pub(super) fn new(active: Active, parent: Option<Parent>, kind: SpanKind, began: Instant) -> Self {
        let buffers = changed(&BUFFERS, Vec::pop).flatten().unwrap_or_default();
        Self { active, parent, kind, began, buffers, failure: None, has_error_type: false }
    }

    /// A child of the thread's current span, if that is recorded.
    pub(super) fn of_current(kind: SpanKind, began: impl FnOnce() -> Instant) -> Option<Self> {
        current::with(|active| Self::within(active, kind, began)).flatten()
    }

    /// A span within another one, if it is recorded: a child, and in a background task the root of a trace.
    pub(super) fn within(active: &Active, kind: SpanKind, began: impl FnOnce() -> Instant) -> Option<Self> {
        match &active.place {
            Place::Trace if active.context.is_sampled => {
                let context = TraceContext { span: random::span_id(), ..active.context };
                let parent = Parent { span: active.context.span, is_remote: false };
                Some(Self::new(Active { context, ..active.clone() }, Some(parent), kind, began()))
            }
            Place::Trace => None,
            Place::Task(name) => {
                let mut open = Self::root(active.tracer, kind, began)?;
                open.attributes().set("gin.task", Value::Text(name));
                Some(open)
            }
        }
    }

    /// The root of a trace, if the rate takes it.
    pub(super) fn root(tracer: &'static Tracer, kind: SpanKind, began: impl FnOnce() -> Instant) -> Option<Self> {
        let (trace, span) = (random::trace_id(), random::span_id());
        tracer.takes(trace).then(|| {
            let (began, context) = (began(), TraceContext { trace, span, is_sampled: true });
            let clock = Clock::read(began);
            Self::new(Active { tracer, context, state: None, clock, place: Place::Trace }, None, kind, began)
        })
    }

    pub(super) fn set_name(&mut self, name: &str) {
        self.buffers.name.clear();
        self.buffers.name.push_str(cut(name));
    }

    pub(super) fn attributes(&mut self) -> &mut Attributes {
        &mut self.buffers.attributes
    }

    /// The span has to do with another one.
    pub(super) fn link(&mut self, context: &TraceContext) {
        link(&mut self.buffers.attributes.bytes, context);
    }

    /// The span has failed. The first message counts.
    pub(super) fn fail(&mut self, message: &str) {
        self.failure.get_or_insert_with(|| cut(message).to_owned());
    }

    /// The same, with a word for the kind of the error.
    pub(super) fn fail_as(&mut self, kind: &str, message: &str) {
        if !self.has_error_type {
            self.has_error_type = true;
            self.attributes().set("error.type", Value::Text(kind));
        }
        self.fail(message);
    }

    pub(super) fn panicked(&mut self) {
        self.fail("panicked");
    }

    /// Nobody waits for the end of the work any more. A failure that is known already counts.
    pub(super) fn cancelled(&mut self) {
        if self.failure.is_none() {
            self.fail_as("cancelled", "given up before its end");
        }
    }

    /// Something has happened in the span.
    pub(super) fn event(&mut self, at: Instant, name: &str, attributes: &EventAttributes) {
        if self.buffers.events_count == EVENTS_MAX {
            self.buffers.events_dropped += 1;
            return;
        }
        self.buffers.events_count += 1;
        let at_ns = self.active.clock.ns(at);
        write_event(&mut self.buffers.events, at_ns, cut(name), attributes.0.bytes.as_slice());
    }

    fn send(&mut self) {
        let ended = Instant::now();
        let Buffers { name, attributes, events, events_dropped, .. } = &mut self.buffers;
        attributes.tell_dropped(SPAN_DROPPED_ATTRIBUTES);
        let Active { tracer, context, state, clock, .. } = &self.active;
        let head = SpanHead {
            context: *context,
            parent: self.parent.map(|parent| parent.span),
            is_parent_remote: self.parent.is_some_and(|parent| parent.is_remote),
            state: state.as_deref(),
            name: name.as_str(),
            kind: self.kind,
            start_ns: clock.ns(self.began),
            end_ns: clock.ns(ended),
            status: self.failure.as_deref().map_or(SpanStatus::Unset, SpanStatus::Error),
        };
        // Taken out, for the sink may log.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        scratch.clear();
        write_span(&mut scratch, &head, attributes.bytes.as_slice(), events.as_slice(), *events_dropped);
        tracer.push(scratch.as_slice());
        if scratch.len() <= KEPT_BYTES {
            let _ = SCRATCH.try_with(|own| own.set(scratch));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.send();
        let mut buffers = std::mem::take(&mut self.buffers);
        if buffers.len() <= KEPT_BYTES {
            buffers.clear();
            changed(&BUFFERS, |kept| {
                if kept.len() < KEPT {
                    kept.push(buffers);
                }
            });
        }
    }
}

/// Changes a thread's own value. At the end of the thread there is none.
fn changed<V: Default, T>(own: &'static LocalKey<Cell<V>>, f: impl FnOnce(&mut V) -> T) -> Option<T> {
    let change = |own: &Cell<V>| {
        let mut value = own.take();
        let result = f(&mut value);
        own.set(value);
        result
    };
    own.try_with(change).ok()
}

/// Everything of a span that has no fixed length.
#[derive(Debug, Default)]
struct Buffers {
    name: String,
    attributes: Attributes,
    events: Writer,
    events_count: u32,
    events_dropped: u32,
}

impl Buffers {
    fn len(&self) -> usize {
        self.name.len() + self.attributes.bytes.len() + self.events.len()
    }

    fn clear(&mut self) {
        self.name.clear();
        self.attributes.clear();
        self.events.clear();
        (self.events_count, self.events_dropped) = (0, 0);
    }
}

/// Attributes of a span.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    bytes: Writer,
    count: u32,
    dropped: u32,
}

impl Attributes {
    /// Adds an attribute.
    pub(crate) fn set(&mut self, key: &'static str, value: Value<'_>) -> &mut Self {
        self.add(SPAN_ATTRIBUTES, key, value);
        self
    }

    /// Adds all of these.
    pub(super) fn append(&mut self, others: &Self) {
        if self.count + others.count > ATTRIBUTES_MAX {
            self.dropped += others.count + others.dropped;
            return;
        }
        self.bytes.raw(others.bytes.as_slice());
        self.count += others.count;
        self.dropped += others.dropped;
    }

    fn add(&mut self, field: u32, key: &'static str, value: Value<'_>) {
        if self.count == ATTRIBUTES_MAX {
            self.dropped += 1;
            return;
        }
        self.count += 1;
        let value = match value {
            Value::Text(text) => Value::Text(cut(text)),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value,
        };
        write_attribute(&mut self.bytes, field, key, value);
    }

    fn tell_dropped(&mut self, field: u32) {
        self.bytes.number(field, self.dropped.into());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.dropped) = (0, 0);
    }
}

/// Attributes of an event.
#[derive(Debug, Default)]
pub(super) struct EventAttributes(Attributes);

impl EventAttributes {
    pub(super) fn set(&mut self, key: &'static str, value: Value<'_>) {
        self.0.add(EVENT_ATTRIBUTES, key, value);
    }

    /// The attributes are complete.
    pub(super) fn finish(&mut self) {
        self.0.tell_dropped(EVENT_DROPPED_ATTRIBUTES);
    }
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}
