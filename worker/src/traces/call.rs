//! Spans around calls of this library: to a database, to Redis, to a cache.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use gin_otlp::{SpanKind, Value};

use super::carried::Around;
use super::open::{Attributes, Open};

/// A span around a call. It ends when it is dropped. Where the current span is not recorded, it is nothing.
#[derive(Debug)]
pub(crate) struct Call(Option<Box<Open>>);

impl Call {
    /// Begins a child of the current span.
    pub(crate) fn begin(kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        let Some(mut open) = Open::of_current(kind, Instant::now) else { return Self(None) };
        open.set_name(&name());
        Self(Some(Box::new(open)))
    }

    /// Adds attributes.
    pub(crate) fn set(&mut self, fill: impl FnOnce(&mut Attributes)) {
        if let Some(open) = &mut self.0 {
            fill(open.attributes());
        }
    }

    /// Says that the call has failed, with a word for the kind of the error.
    pub(crate) fn fail(&mut self, kind: &'static str, message: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.fail_as(kind, &message());
        }
    }

    /// Runs the call in its span, which has failed if the call is given up.
    pub(crate) async fn around<F: Future>(&mut self, future: F) -> F::Output {
        let mut way = UnderWay { open: &mut self.0, is_over: false };
        let output = Around::new(future, way.open).await;
        way.is_over = true;
        output
    }
}

/// A call that has no answer yet.
struct UnderWay<'a> {
    open: &'a mut Option<Box<Open>>,
    is_over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(open) = self.open
        {
            open.cancelled();
        }
    }
}

/// Makes a child of the current span that ends now.
pub(crate) fn ended(kind: SpanKind, elapsed: Duration, fill: impl FnOnce(&mut Ended<'_>)) {
    let began = || {
        let now = Instant::now();
        now.checked_sub(elapsed).unwrap_or(now)
    };
    if let Some(mut open) = Open::of_current(kind, began) {
        fill(&mut Ended(&mut open));
    }
}

/// A span that ends now.
#[derive(Debug)]
pub(crate) struct Ended<'a>(&'a mut Open);

impl Ended<'_> {
    pub(crate) fn name(&mut self, name: &str) {
        self.0.set_name(name);
    }

    pub(crate) fn set(&mut self, key: &'static str, value: Value<'_>) {
        self.0.attributes().set(key, value);
    }

    /// Says that it has failed, with a word for the kind of the error.
    pub(crate) fn fail(&mut self, kind: &'static str, message: &str) {
        self.0.fail_as(kind, message);
    }
}
