//! The request that lines of the log belong to.
//!
//! While its handler runs, the request is the current one of the thread ([`crate::current_request`]), which costs no allocation: our own
//! formats write its name into each line. Any other subscriber, and journald, get a span of tracing if they want one: `request`, with the
//! fields `id`, `method` and `route`, and `trace_id` and `span_id` where the request is traced.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use tracing::Span;

use crate::current_request::{self, Current};
use crate::observed::{Ids, Observer};
use crate::request_id::Name;
use crate::route_name;

/// The target of the spans, for filters.
const TARGET: &str = "gin_worker::request";

/// True if the log's format writes the names.
static WRITES_NAMES: AtomicBool = AtomicBool::new(false);

/// The log's format writes the names from now on: there are no spans.
pub(crate) fn write_names() {
    WRITES_NAMES.store(true, Ordering::Relaxed);
}

/// The scope of one request. Lines that are logged within it belong to the request.
#[derive(Debug)]
pub(crate) struct Scope {
    current: Option<Current>,
    span: Option<Span>,
}

impl Scope {
    /// The scope of a request of this name.
    pub(crate) fn of<O: Observer>(request: &Request, name: Name, told: O::Told) -> Self {
        // Constant where nobody observes.
        let span = (!WRITES_NAMES.load(Ordering::Relaxed)).then(|| match O::ids(told) {
            None => span(request, &name),
            Some(ids) => traced_span(request, &name, ids),
        });
        Self { current: Some(Current::of(request, name)), span }
    }

    /// The same as where the log's format writes the names.
    #[cfg(test)]
    pub(crate) fn without_span(self) -> Self {
        Self { span: None, ..self }
    }

    /// Runs `f` in it. A panic leaves it.
    pub(crate) fn run<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let span = self.span.as_ref();
        current_request::within(&mut self.current, || match span {
            Some(span) => span.in_scope(f),
            None => f(),
        })
    }

    /// The same future, which is in this scope whenever it runs.
    pub(crate) fn around<F>(self, future: F) -> Scoped<F> {
        Scoped { future, scope: self }
    }
}

/// The span of a request. Nothing of this is evaluated where nobody wants the span.
#[inline(always)]
fn span(request: &Request, name: &Name) -> Span {
    tracing::info_span!(
        target: TARGET,
        "request",
        id = name.id().as_str(),
        method = request.method().as_str(),
        route = request.extensions().get::<MatchedPath>().map(|route| route_name::of(route.as_str()))
    )
}

/// The same with the ids of its trace.
fn traced_span(request: &Request, name: &Name, ids: Ids) -> Span {
    tracing::info_span!(
        target: TARGET,
        "request",
        id = name.id().as_str(),
        method = request.method().as_str(),
        route = request.extensions().get::<MatchedPath>().map(|route| route_name::of(route.as_str())),
        trace_id = %ids.trace,
        span_id = %ids.span
    )
}

pin_project_lite::pin_project! {
    /// A future in a scope.
    #[derive(Debug)]
    pub(crate) struct Scoped<F> {
        #[pin]
        future: F,
        scope: Scope,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future;
        this.scope.run(|| future.poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;
    use crate::RequestId;
    use crate::observed::Unobserved;

    fn scope(text: &'static str) -> Scope {
        let mut request = Request::default();
        request.headers_mut().insert(RequestId::HEADER, text.parse().unwrap());
        let name = Name::of(&request);
        Scope::of::<Unobserved>(&request, name, ())
    }

    fn name() -> Option<String> {
        current_request::named(str::to_owned)
    }

    #[test]
    fn a_name_is_current_while_its_future_runs_and_no_longer() {
        let waits = Box::pin(scope("a").around(async {
            assert_eq!(name().as_deref(), Some("a"));
            // A router in a router.
            let inner = scope("b").around(async { assert_eq!(name().as_deref(), Some("b")) });
            inner.await;
            assert_eq!(name().as_deref(), Some("a"));
            pending::<()>().await;
        }));
        assert!(waits.now_or_never().is_none());
        assert_eq!(name(), None);
        assert_eq!(scope("c").around(ready(1)).now_or_never(), Some(1));
        assert_eq!(name(), None);
    }
}
