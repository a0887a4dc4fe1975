//! The context of a trace in calls to other services.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use gin_otlp::{SpanKind, Value};
use gin_shared::trace_context::TraceContext;
use tower::{Layer, Service};

use super::carried::Around;
use super::current::{self, Active, Place};
use super::open::Open;
use super::random;
use super::request::{TRACEPARENT, TRACESTATE};
use crate::observed::doing::{Doing, DoingGuard, doing};

/// Context of the current span, sampled or not; nothing where requests are not traced.
#[must_use]
pub fn context() -> Option<TraceContext> {
    current::with(|active| active.context)
}

/// Sets `traceparent` and `tracestate` of the current span, for a call to another service that no span is around. Without a current span
/// the headers stay as they are.
pub fn inject(headers: &mut HeaderMap) {
    if let Some(told) = current::with(Told::of) {
        told.put(headers);
    }
}

/// Context that another service is told.
#[derive(Debug)]
struct Told {
    context: TraceContext,
    state: Option<Arc<str>>,
}

impl Told {
    fn of(active: &Active) -> Self {
        Self { context: active.context, state: active.state.clone() }
    }

    /// The context of a call that is not recorded: in a background task that is a trace that is not sampled.
    fn unrecorded(active: &Active) -> Self {
        match active.place {
            Place::Trace => Self::of(active),
            Place::Task(_) => {
                let (trace, span) = (random::trace_id(), random::span_id());
                Self { context: TraceContext { trace, span, is_sampled: false }, state: None }
            }
        }
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let parent = HeaderValue::from_bytes(&self.context.text()).ok().map(|value| (TRACEPARENT.clone(), value));
        let state = self.state.as_deref().and_then(|state| HeaderValue::from_str(state).ok());
        parent.into_iter().chain(state.map(|value| (TRACESTATE.clone(), value)))
    }

    fn put(&self, headers: &mut HeaderMap) {
        headers.remove(&TRACESTATE);
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }
}

/// A call to another service. Its span ends with [`Self::answered`] or [`Self::failed`]; without either, the call was given up. Until it is
/// dropped, `/debug/pprof/goroutine` tells that the request waits for the call, whether the request is traced or not.
#[derive(Debug)]
#[must_use = "the call's span ends when this is dropped"]
pub struct Outgoing {
    open: Option<Box<Open>>,
    told: Option<Told>,
    /// The request that makes the call waits for it, whether it is traced or not.
    _doing: DoingGuard,
}

/// Begins the span of a call to another service, for a client that [`ClientLayer`] cannot be put around.
///
/// ```
/// use gin_worker::axum::http::{Method, Uri};
/// use gin_worker::traces;
///
/// /// Stands for the call of any client: `reqwest`, say.
/// async fn send(headers: Vec<(String, String)>) -> Result<u16, std::io::Error> {
///     Ok(200)
/// }
///
/// async fn price() -> Result<u16, std::io::Error> {
///     let mut call = traces::outgoing(&Method::GET, &Uri::from_static("http://prices.local/1"));
///     let headers = call.headers().map(as_texts).collect();
///     match call.around(send(headers)).await {
///         Ok(status) => {
///             call.answered(status);
///             Ok(status)
///         }
///         Err(error) => {
///             call.failed(&error.to_string());
///             Err(error)
///         }
///     }
/// }
/// # use gin_worker::axum::http::{HeaderName, HeaderValue};
/// # fn as_texts((name, value): (HeaderName, HeaderValue)) -> (String, String) {
/// #     (name.to_string(), value.to_str().unwrap_or_default().to_owned())
/// # }
/// ```
pub fn outgoing(method: &Method, uri: &Uri) -> Outgoing {
    let doing = doing(Doing::Outgoing);
    let Some(mut open) = Open::of_current(SpanKind::Client, Instant::now) else {
        return Outgoing { open: None, told: current::with(Told::unrecorded), _doing: doing };
    };
    open.set_name(method.as_str());
    let attributes = open.attributes();
    attributes.set("http.request.method", Value::Text(method.as_str()));
    attributes.set("url.full", Value::Text(&without_secrets(uri)));
    if let Some(host) = uri.host() {
        attributes.set("server.address", Value::Text(host));
    }
    if let Some(port) = uri.port_u16().or_else(|| port_of(uri)) {
        attributes.set("server.port", Value::Integer(port.into()));
    }
    let told = Some(Told::of(&open.active));
    Outgoing { open: Some(Box::new(open)), told, _doing: doing }
}

/// A URL without its user and its query: secrets stand there.
fn without_secrets(uri: &Uri) -> Cow<'_, str> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Cow::Borrowed(uri.path());
    };
    let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    Cow::Owned(format!("{scheme}://{host}{}", uri.path()))
}

fn port_of(uri: &Uri) -> Option<u16> {
    match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}

impl Outgoing {
    /// Headers for the call: `traceparent`, and `tracestate` if the request had one. None where requests are not traced.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.told.as_ref().map(Told::headers).into_iter().flatten()
    }

    /// Runs the call in its span.
    pub async fn around<F: Future>(&mut self, future: F) -> F::Output {
        Around::new(future, &mut self.open).await
    }

    /// Ends the span with the status of the answer. One of 400 and above is a failure.
    pub fn answered(mut self, status: u16) {
        if let Some(mut open) = self.open.take() {
            open.attributes().set("http.response.status_code", Value::Integer(status.into()));
            if status >= 400 {
                open.fail_as(&status.to_string(), "");
            }
        }
    }

    /// Ends the span of a call that got no answer.
    pub fn failed(mut self, error: &str) {
        if let Some(mut open) = self.open.take() {
            open.fail_as("error", error);
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            open.fail_as("cancelled", "given up before the answer");
        }
    }
}

/// Puts a span around each call of an HTTP client, and the context into its headers. The client is a service of tower's, `hyper_util`'s
/// legacy client for one:
///
/// ```
/// # use gin_worker::axum::http::{Request, Response};
/// # use std::convert::Infallible;
/// use gin_worker::traces::ClientLayer;
/// use tower::{Layer, service_fn};
///
/// let client = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
/// let client = ClientLayer.layer(client);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientLayer;

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;

    fn layer(&self, inner: S) -> Client<S> {
        Client { inner }
    }
}

/// An HTTP client whose calls have spans: see [`ClientLayer`].
#[derive(Debug, Clone, Copy)]
pub struct Client<S> {
    inner: S,
}

impl<S, B, C> Service<Request<B>> for Client<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Error: fmt::Display,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Calling<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Calling<S::Future> {
        let mut outgoing = outgoing(request.method(), request.uri());
        if let Some(told) = &outgoing.told {
            told.put(request.headers_mut());
        }
        let future = current::within_open(&mut outgoing.open, || self.inner.call(request));
        Calling { future, outgoing: Some(outgoing) }
    }
}

pin_project_lite::pin_project! {
    /// A call of a [`Client`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is polled"]
    pub struct Calling<F> {
        #[pin]
        future: F,
        outgoing: Option<Outgoing>,
    }
}

impl<F, C, E> Future for Calling<F>
where
    F: Future<Output = Result<Response<C>, E>>,
    E: fmt::Display,
{
    type Output = Result<Response<C>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let future = this.future;
        let polled = match this.outgoing {
            Some(outgoing) => current::within_open(&mut outgoing.open, || future.poll(cx)),
            None => future.poll(cx),
        };
        if let Poll::Ready(result) = &polled
            && let Some(outgoing) = this.outgoing.take()
        {
            match result {
                Ok(response) => outgoing.answered(response.status().as_u16()),
                Err(error) => outgoing.failed(&error.to_string()),
            }
        }
        polled
    }
}
