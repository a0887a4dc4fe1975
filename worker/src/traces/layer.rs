//! Spans and events of `tracing`, as spans and events of traces: where the current span is sampled, and nowhere else.

use std::fmt;
use std::time::Instant;

use gin_otlp::{SpanKind, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes as Given, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::current::{self, Active, Recorder};
use super::open::{Attributes, EventAttributes, Open};
use crate::request_id::ACCESS;

/// Targets that make no spans and no events: the request has its span already, and the sender of spans would feed itself.
const LEFT_OUT: [&str; 3] = ["gin_otlp", "gin_worker::request", ACCESS];

/// Makes a layer for an application that has a subscriber of its own: spans of `tracing` become parts of traces, and events at INFO and
/// above events of their span. The log of this library has the layer already. A span that the subscriber filters is not traced.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(gin_worker::traces::layer());
/// ```
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    TracingLayer
}

#[derive(Debug, Clone, Copy)]
struct TracingLayer;

fn is_left_out(target: &str) -> bool {
    LEFT_OUT.iter().any(|out| target.strip_prefix(out).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

/// The span that another one is made in, if it is recorded.
fn above<S: Subscriber + for<'a> LookupSpan<'a>>(given: &Given<'_>, context: &Context<'_, S>) -> Option<Active> {
    let active = match given.parent() {
        Some(parent) => {
            let span = context.span(parent)?;
            let extensions = span.extensions();
            extensions.get::<Box<Open>>().map(|open| open.active.clone())
        }
        None if given.is_root() => None,
        None => current::with(|active| active.records().then(|| active.clone())).flatten(),
    };
    active.filter(Active::records)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TracingLayer {
    fn on_new_span(&self, given: &Given<'_>, id: &Id, context: Context<'_, S>) {
        if is_left_out(given.metadata().target()) {
            return;
        }
        let Some(above) = above(given, &context) else { return };
        let Some(mut open) = Open::within(&above, SpanKind::Internal, Instant::now) else { return };
        open.set_name(given.metadata().name());
        let mut fields = SpanFields::default();
        given.record(&mut fields);
        open.attributes().append(&fields.0);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Box::new(open));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if span.extensions().get::<Box<Open>>().is_none() {
            return;
        }
        // The application's code runs here, which may log: no lock is held.
        let mut fields = SpanFields::default();
        values.record(&mut fields);
        if let Some(open) = span.extensions_mut().get_mut::<Box<Open>>() {
            open.attributes().append(&fields.0);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let active = span.extensions().get::<Box<Open>>().map(|open| open.active.clone());
        if let Some(active) = active {
            current::enter(id.into_u64(), active);
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        current::leave(id.into_u64());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || is_left_out(metadata.target()) {
            return;
        }
        let Some(recorder) = current::recorder() else { return };
        let at = Instant::now();
        let mut fields = EventFields { is_error: *metadata.level() == Level::ERROR, ..EventFields::default() };
        // As above: this may log.
        event.record(&mut fields);
        fields.finish(metadata.level().as_str(), metadata.target());
        let name = if fields.is_error { "exception" } else { fields.message.as_str() };
        match recorder {
            Recorder::Frame => current::record(|open| open.event(at, name, &fields.attributes)),
            Recorder::Tracing(id) => {
                let Some(span) = context.span(&Id::from_u64(id)) else { return };
                if let Some(open) = span.extensions_mut().get_mut::<Box<Open>>() {
                    open.event(at, name, &fields.attributes);
                }
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let open = span.extensions_mut().remove::<Box<Open>>();
        // It is sent without the lock.
        drop(open);
    }
}

/// Puts a field's value where it belongs.
trait Fields {
    fn put(&mut self, field: &Field, value: Value<'_>);
}

/// Fields of a span.
#[derive(Debug, Default)]
struct SpanFields(Attributes);

impl Fields for SpanFields {
    fn put(&mut self, field: &Field, value: Value<'_>) {
        self.0.set(field.name(), value);
    }
}

/// Fields of an event.
#[derive(Debug, Default)]
struct EventFields {
    message: String,
    attributes: EventAttributes,
    is_error: bool,
}

impl EventFields {
    fn finish(&mut self, level: &str, target: &str) {
        self.attributes.set("level", Value::Text(level));
        self.attributes.set("target", Value::Text(target));
        if self.is_error {
            self.attributes.set("exception.message", Value::Text(&self.message));
            self.attributes.set("exception.type", Value::Text(target));
        }
        self.attributes.finish();
    }
}

impl Fields for EventFields {
    fn put(&mut self, field: &Field, value: Value<'_>) {
        match value {
            Value::Text(text) if field.name() == "message" => text.clone_into(&mut self.message),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
                self.attributes.set(field.name(), value);
            }
        }
    }
}

/// Values of `tracing`, as those of attributes.
macro_rules! visit {
    ($($fields:ty),*) => {$(
        impl Visit for $fields {
            fn record_f64(&mut self, field: &Field, value: f64) {
                self.put(field, Value::Float(value));
            }

            fn record_i64(&mut self, field: &Field, value: i64) {
                self.put(field, Value::Integer(value));
            }

            fn record_u64(&mut self, field: &Field, value: u64) {
                match i64::try_from(value) {
                    Ok(value) => self.put(field, Value::Integer(value)),
                    Err(_) => self.put(field, Value::Text(&value.to_string())),
                }
            }

            fn record_bool(&mut self, field: &Field, value: bool) {
                self.put(field, Value::Boolean(value));
            }

            fn record_str(&mut self, field: &Field, value: &str) {
                self.put(field, Value::Text(value));
            }

            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.put(field, Value::Text(&format!("{value:?}")));
            }
        }
    )*};
}

visit!(SpanFields, EventFields);
