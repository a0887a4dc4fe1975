//! Spans around handlers. What lies between such a span and the request's is middleware. A handler whose client has gone, or whose time
//! is over, has failed.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use gin_otlp::{SpanKind, Value};
use tower::{Layer, Service};

use super::carried::Carried;
use super::current::{self, Frame};
use super::open::Open;

/// Puts a span around a handler.
#[derive(Debug, Clone)]
pub(crate) struct HandlerLayer {
    name: Arc<str>,
    function: &'static str,
}

impl HandlerLayer {
    /// Makes the layer of the handler of this name. `function` is the function with its modules, as the conventions have it.
    pub(crate) fn new(name: Arc<str>, function: &'static str) -> Self {
        Self { name, function }
    }
}

impl<S> Layer<S> for HandlerLayer {
    type Service = Handled<S>;

    fn layer(&self, inner: S) -> Handled<S> {
        Handled { name: Arc::clone(&self.name), function: self.function, inner }
    }
}

/// A handler with a span around it.
#[derive(Debug, Clone)]
pub(crate) struct Handled<S> {
    name: Arc<str>,
    function: &'static str,
    inner: S,
}

impl<R, S: Service<R>> Service<R> for Handled<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Carried<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Carried<S::Future> {
        let mut slot = Open::of_current(SpanKind::Internal, Instant::now).map(|mut open| {
            open.set_name(&self.name);
            open.attributes().set("code.function.name", Value::Text(self.function));
            Frame::Recording(Box::new(open))
        });
        let future = current::within(&mut slot, || self.inner.call(request));
        Carried::new(future, slot).must_end()
    }
}
