//! Spans of background tasks, and of the worker's own life.

use std::sync::Arc;
use std::time::Instant;

use gin_otlp::{SpanKind, Value};
use gin_shared::inherit::identity;
use gin_shared::trace_context::TraceContext;

use super::carried::Carried;
use super::current::{Active, Clock, Frame, Place};
use super::open::{Open, Parent};
use super::random;
use super::tracer::{self, Tracer};

/// A background task in its span.
pub(crate) type Task<F> = Carried<F>;

/// Puts a background task into a span, which ends with it. Spans within begin traces of their own. A task that is dropped before its end
/// has failed.
pub(crate) fn task<F: Future>(tracer: &'static Tracer, name: Arc<str>, future: F) -> Task<F> {
    let (trace, span, began) = (random::trace_id(), random::span_id(), Instant::now());
    let is_sampled = tracer.takes(trace);
    let context = TraceContext { trace, span, is_sampled };
    let clock = if is_sampled { Clock::read(began) } else { Clock::unread(began) };
    let title = format!("background {name}");
    let active = Active { tracer, context, state: None, clock, place: Place::Task(name) };
    if !is_sampled {
        return Carried::new(future, Some(Frame::Bare(active)));
    }
    let mut open = Open::new(active, None, SpanKind::Internal, began);
    open.set_name(&title);
    Carried::open(future, Some(Box::new(open))).must_end()
}

/// A span of the worker's own life, until it is dropped. Without a sampled parent it is nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Phase(Option<Box<Open>>);

/// Begins the span of the worker's start.
pub(crate) fn starting(parent: Option<TraceContext>) -> Phase {
    Phase::begin("start", parent)
}

/// Begins the span of the worker's drain.
pub(crate) fn draining(parent: Option<TraceContext>) -> Phase {
    Phase::begin("drain", parent)
}

impl Phase {
    fn begin(name: &str, parent: Option<TraceContext>) -> Self {
        let Some((tracer, parent)) = tracer::of_process().zip(parent.filter(|parent| parent.is_sampled)) else {
            return Self(None);
        };
        let began = Instant::now();
        let (context, clock) = (TraceContext { span: random::span_id(), ..parent }, Clock::read(began));
        let active = Active { tracer, context, state: None, clock, place: Place::Trace };
        let parent = Parent { span: parent.span, is_remote: true };
        let mut open = Open::new(active, Some(parent), SpanKind::Internal, began);
        open.set_name(name);
        if let Some(identity) = identity() {
            let generation = i64::try_from(identity.generation.0).unwrap_or(i64::MAX);
            open.attributes().set("gin.generation", Value::Integer(generation));
            open.attributes().set("gin.slot", Value::Integer(identity.slot.0.into()));
        }
        Self(Some(Box::new(open)))
    }

    /// Ends it.
    pub(crate) fn end(self) {}

    /// Ends it as failed.
    pub(crate) fn fail(mut self, message: &str) {
        if let Some(open) = &mut self.0 {
            open.fail_as("failed", message);
        }
    }

    /// Ends it as given up.
    pub(crate) fn cancel(mut self) {
        if let Some(open) = &mut self.0 {
            open.cancelled();
        }
    }

    /// Begins a step of it.
    pub(crate) fn step(&self, name: &str) -> Self {
        let open = self.0.as_ref().and_then(|open| Open::within(&open.active, SpanKind::Internal, Instant::now));
        Self(open.map(|mut open| {
            open.set_name(name);
            Box::new(open)
        }))
    }
}
