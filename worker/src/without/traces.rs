//! In place of `traces`, without the feature `otel`: nothing is traced.

#![allow(dead_code, reason = "the rest uses what it needs of the names of `traces`")]

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use gin_shared::inherit::Identity;
use gin_shared::trace_context::{Ratio, TraceContext};
use tower::Layer;

use crate::observed::ids::Ids;
use crate::request_id::RequestId;
use crate::{Config, StartError};

/// Maker of the spans of a server: there is none.
#[derive(Debug)]
pub(crate) struct Tracer(Infallible);

impl Tracer {
    /// # Errors
    /// Always: the configuration is checked for it before.
    pub(crate) fn new(_: &Config, _: &str, _: Option<&Identity>) -> Result<(&'static Self, Exporter), StartError> {
        Err(StartError::Traces("this program was built without the feature \"otel\" of gin-worker".to_owned()))
    }

    pub(crate) fn spawn(&'static self, _: Exporter, _: &str) {
        match self.0 {}
    }

    pub(crate) fn set_ratio(&self, _: Ratio) {
        match self.0 {}
    }

    pub(crate) fn sink(&self) -> &Sink {
        match self.0 {}
    }
}

/// In place of the sender of spans.
#[derive(Debug)]
pub(crate) struct Exporter(());

/// In place of the spans that wait.
#[derive(Debug, Clone)]
pub(crate) struct Sink(());

impl Sink {
    pub(crate) fn hurry(&self) {}

    pub(crate) async fn flush(&self, _: Duration) -> u64 {
        0
    }

    pub(crate) fn waiting(&self) -> (u64, usize) {
        (0, 0)
    }
}

/// Value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// Role of a span in a call between two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// True if requests are traced.
#[inline(always)]
pub(crate) const fn is_on() -> bool {
    false
}

/// Ids of the current span.
#[inline(always)]
pub(crate) fn ids() -> Option<Ids> {
    None
}

/// A span around a call.
#[derive(Debug)]
pub(crate) struct Call(());

impl Call {
    #[inline(always)]
    pub(crate) fn begin(_: SpanKind, _: impl FnOnce() -> Cow<'static, str>) -> Self {
        Self(())
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, _: impl FnOnce(&mut Attributes)) {}

    #[inline(always)]
    pub(crate) fn fail(&mut self, _: &'static str, _: impl FnOnce() -> String) {}

    #[inline(always)]
    pub(crate) async fn around<F: Future>(&mut self, future: F) -> F::Output {
        future.await
    }
}

/// Attributes of a span around a call.
#[derive(Debug)]
pub(crate) struct Attributes(());

impl Attributes {
    pub(crate) fn set(&mut self, _: &'static str, _: Value<'_>) -> &mut Self {
        self
    }
}

/// Makes a child of the current span that ends now.
#[inline(always)]
pub(crate) fn ended(_: SpanKind, _: Duration, _: impl FnOnce(&mut Ended<'_>)) {}

/// A span that ends now.
#[derive(Debug)]
pub(crate) struct Ended<'a>(PhantomData<&'a ()>);

impl Ended<'_> {
    pub(crate) fn name(&mut self, _: &str) {}

    pub(crate) fn set(&mut self, _: &'static str, _: Value<'_>) {}

    pub(crate) fn fail(&mut self, _: &'static str, _: &str) {}
}

/// Facts of a request that its head alone does not tell.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) client: Option<IpAddr>,
    pub(crate) is_tls: bool,
    pub(crate) id: Option<RequestId>,
}

/// The span of a request: there is none.
#[derive(Debug)]
pub(crate) struct RequestSpan(Infallible);

impl RequestSpan {
    pub(crate) fn begin(
        tracer: &'static Tracer,
        _: &Request,
        _: Instant,
        _: impl FnOnce() -> bool,
        _: impl FnOnce() -> Facts,
    ) -> Self {
        match tracer.0 {}
    }

    pub(crate) fn within<T>(&mut self, _: impl FnOnce() -> T) -> T {
        match self.0 {}
    }

    pub(crate) fn ids(&self) -> Option<Ids> {
        match self.0 {}
    }

    pub(crate) fn answered(&mut self, _: StatusCode) {
        match self.0 {}
    }
}

/// A background task in its span.
pub(crate) type Task<F> = F;

/// Puts a background task into a span.
pub(crate) fn task<F: Future>(tracer: &'static Tracer, _: Arc<str>, _: F) -> Task<F> {
    match tracer.0 {}
}

/// A span around a handler.
#[derive(Debug, Clone)]
pub(crate) struct HandlerLayer(());

impl HandlerLayer {
    pub(crate) fn new(_: Arc<str>, _: &'static str) -> Self {
        Self(())
    }
}

impl<S> Layer<S> for HandlerLayer {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

/// A span of the worker's own life, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Phase(());

/// Begins the span of the worker's start.
pub(crate) fn starting(_: Option<TraceContext>) -> Phase {
    Phase(())
}

/// Begins the span of the worker's drain.
pub(crate) fn draining(_: Option<TraceContext>) -> Phase {
    Phase(())
}

impl Phase {
    /// Ends it.
    pub(crate) fn end(self) {}

    /// Ends it as failed.
    pub(crate) fn fail(self, _: &str) {}

    /// Ends it as given up.
    pub(crate) fn cancel(self) {}

    /// Begins a step of it.
    pub(crate) fn step(&self, _: &str) -> Self {
        Self(())
    }
}
