//! Spans of the application.

use std::borrow::Cow;
use std::time::Instant;

use gin_otlp::{SpanKind, Value};

use super::carried::Carried;
use super::current::{self, Frame};
use super::open::Open;
use super::tracer;

/// A span of the application: a part of a trace with a name, a beginning and an end. It ends with the work that it is around, or when it is
/// dropped. Where nothing is recorded, it is nothing.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Open>>);

/// Begins a child of the current span: nothing, where that is not sampled. Within a background task it is the root of a trace of its own,
/// as such a task has no end.
///
/// ```
/// use gin_worker::traces;
///
/// async fn check_out(items: i64) -> Result<(), std::io::Error> {
///     let mut span = traces::span("check out");
///     span.set("cart.items", items);
///     span.around(async {
///         // Queries and calls in here are children of the span.
///         Ok(())
///     })
///     .await
/// }
/// ```
pub fn span(name: &'static str) -> Span {
    Span::named(name, Open::of_current(SpanKind::Internal, Instant::now))
}

/// Begins a trace of its own, if `monitoring.jaeger.sample_rate` takes it: for work that belongs to no request.
///
/// ```
/// use gin_worker::traces;
///
/// fn nightly() {
///     traces::root("nightly report").within(|| { /* ... */ });
/// }
/// ```
pub fn root(name: &'static str) -> Span {
    let tracer = current::with(|active| active.tracer).or_else(tracer::of_process);
    Span::named(name, tracer.and_then(|tracer| Open::root(tracer, SpanKind::Internal, Instant::now)))
}

/// Has a future belong to the current span wherever it runs: a task that a handler spawns, say. The span may have ended before.
///
/// ```
/// # async fn f() {
/// use gin_worker::traces;
///
/// tokio::spawn(traces::carry(async {
///     traces::span("send the mail").around(async { /* ... */ }).await;
/// }));
/// # }
/// ```
pub fn carry<F: Future>(future: F) -> Carried<F> {
    Carried::new(future, current::with(|active| Frame::Bare(active.clone())))
}

impl Span {
    fn named(name: &str, open: Option<Open>) -> Self {
        Self(open.map(|mut open| {
            open.set_name(name);
            Box::new(open)
        }))
    }

    /// Adds an attribute. A span has 64 at most; a text has at most 4 KiB, and the rest of it is cut off.
    pub fn set(&mut self, key: &'static str, value: impl Into<Attribute>) -> &mut Self {
        if let Some(open) = &mut self.0 {
            let value = value.into();
            open.attributes().set(key, value.value());
        }
        self
    }

    /// Says that the work has failed. The first message counts.
    pub fn fail(&mut self, message: &str) -> &mut Self {
        if let Some(open) = &mut self.0 {
            open.fail(message);
        }
        self
    }

    /// True if the span is recorded: whatever is costly to find out is worth it then alone.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_some()
    }

    /// Runs a future in the span, which ends with it.
    pub async fn around<F: Future>(self, future: F) -> F::Output {
        Carried::open(future, self.0).await
    }

    /// Runs `f` in the span, which ends with it.
    pub fn within<T>(self, f: impl FnOnce() -> T) -> T {
        let mut slot = self.0.map(Frame::Recording);
        current::within(&mut slot, f)
    }
}

/// Value of an attribute of a [`Span`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A truth.
    Boolean(bool),
}

impl Attribute {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Integer(number) => Value::Integer(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Boolean(is) => Value::Boolean(*is),
        }
    }
}

impl From<&'static str> for Attribute {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Attribute {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Attribute {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Attribute {
    fn from(is: bool) -> Self {
        Self::Boolean(is)
    }
}
