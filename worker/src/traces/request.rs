//! The span of a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{HOST, USER_AGENT};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use gin_otlp::{SpanKind, Value};
use gin_shared::trace_context::{TraceContext, tracestate};

use super::current::{self, Active, Clock, Frame, Place};
use super::open::{Open, Parent};
use super::random;
use super::tracer::Tracer;
use crate::observed::ids::Ids;
use crate::request_id::RequestId;
use crate::request_path::AsSent;
use crate::route_name;

pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Methods that a span tells by their names.
static METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::CONNECT,
    Method::TRACE,
];

/// Facts of a request that its head alone does not tell.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) client: Option<IpAddr>,
    pub(crate) is_tls: bool,
    pub(crate) id: Option<RequestId>,
}

/// The span of a request, sampled or not.
#[derive(Debug)]
pub(crate) struct RequestSpan(Option<Frame>);

impl RequestSpan {
    /// Begins the span. `is_trusted`: the other end is a proxy whose word counts. `facts` are asked for where the request is sampled.
    pub(crate) fn begin(
        tracer: &'static Tracer,
        request: &Request,
        began: Instant,
        is_trusted: impl FnOnce() -> bool,
        facts: impl FnOnce() -> Facts,
    ) -> Self {
        let told = parent(request.headers());
        let counting = told.filter(|_| tracer.believes(is_trusted));
        let span = random::span_id();
        let context = match counting {
            Some(parent) => TraceContext { span, ..parent },
            None => {
                let trace = random::trace_id();
                TraceContext { trace, span, is_sampled: tracer.takes(trace) }
            }
        };
        let state = counting.and_then(|_| state(request.headers()));
        let clock = if context.is_sampled { Clock::read(began) } else { Clock::unread(began) };
        let active = Active { tracer, context, state, clock, place: Place::Trace };
        if !context.is_sampled {
            return Self(Some(Frame::Bare(active)));
        }
        let parent = counting.map(|parent| Parent { span: parent.span, is_remote: true });
        let mut open = Box::new(Open::new(active, parent, SpanKind::Server, began));
        if let (Some(told), None) = (&told, &counting) {
            open.link(told);
        }
        describe(&mut open, request, &facts());
        Self(Some(Frame::Recording(open)))
    }

    /// Runs one poll of the request.
    #[inline]
    pub(crate) fn within<T>(&mut self, f: impl FnOnce() -> T) -> T {
        current::within(&mut self.0, f)
    }

    /// Ids for the request's own lines.
    pub(crate) fn ids(&self) -> Option<Ids> {
        self.0.as_ref().map(|frame| {
            let TraceContext { trace, span, .. } = frame.active().context;
            Ids { trace, span }
        })
    }

    /// Ends the span with the answer.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(Frame::Recording(mut open)) = self.0.take() {
            open.attributes().set("http.response.status_code", Value::Integer(status.as_u16().into()));
            if status.is_server_error() {
                open.fail_as(status.as_str(), "");
            }
        }
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if let Some(Frame::Recording(open)) = &mut self.0 {
            open.fail_as("cancelled", "the client has gone before the answer");
        }
    }
}

/// The span that a client says to be above this request. Two of them are none.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(&TRACEPARENT).iter();
    let first = all.next()?;
    if all.next().is_some() { None } else { TraceContext::parse(first.as_bytes()) }
}

fn state(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut all = headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes).peekable();
    all.peek()?;
    tracestate(all).map(Arc::from)
}

/// Adds name and attributes, by OpenTelemetry's conventions for HTTP. The query is left out: secrets stand there.
fn describe(open: &mut Open, request: &Request, facts: &Facts) {
    let method = request.method();
    let known = METHODS.contains(method).then(|| method.as_str());
    let route = request.extensions().get::<MatchedPath>().map(|route| route_name::of(route.as_str()));
    let name = known.unwrap_or("HTTP");
    match route {
        Some(route) => open.set_name(&format!("{name} {route}")),
        None => open.set_name(name),
    }
    let attributes = open.attributes();
    attributes.set("http.request.method", Value::Text(known.unwrap_or("_OTHER")));
    if known.is_none() {
        attributes.set("http.request.method_original", Value::Text(method.as_str()));
    }
    if let Some(route) = route {
        attributes.set("http.route", Value::Text(route));
    }
    let uri = request.extensions().get::<AsSent>().map_or_else(|| request.uri(), |AsSent(uri)| uri);
    attributes.set("url.path", Value::Text(uri.path()));
    attributes.set("url.scheme", Value::Text(if facts.is_tls { "https" } else { "http" }));
    let told = || request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    if let Some(host) = request.uri().authority().cloned().or_else(told) {
        attributes.set("server.address", Value::Text(host.host()));
        if let Some(port) = host.port_u16() {
            attributes.set("server.port", Value::Integer(port.into()));
        }
    }
    if let Some(client) = facts.client {
        attributes.set("client.address", Value::Text(&client.to_string()));
    }
    if let Some(version) = version(request.version()) {
        attributes.set("network.protocol.version", Value::Text(version));
    }
    if let Some(agent) = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        attributes.set("user_agent.original", Value::Text(agent));
    }
    if let Some(id) = &facts.id {
        attributes.set("gin.request_id", Value::Text(id.as_str()));
    }
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}
