//! The answer to one request, by the application's router; and what the connection has to know of it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use futures_util::FutureExt;
use http_body::Body as _;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::Error;
use crate::connections::activity::Activity;
use crate::connections::context::{Connection, Context};
use crate::connections::drain_state::{DrainState, Spread, age_end};
use crate::connections::protocol::events::Events;
use crate::connections::protocol::redirect;
use crate::connections::protocol::request::{RequestBody, Verdict};
use crate::connections::protocol::response::{Answering, Parts, ResponseBody};
use crate::connections::protocol::well_formed::{self, Malformed};
use crate::connections::streams::Streams;
use crate::request_path::{self, TooLong};

/// Has the application answer. The request counts from this call on, not from the first poll: hyper may have parsed a request that it
/// does not poll yet.
pub(super) fn answer(
    mut request: Request<Incoming>,
    connection: Connection,
    activity: &Arc<Activity>,
    spread: Spread,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + use<> {
    let (answering, number) = Answering::begin(activity);
    let context = Arc::clone(connection.context());
    let checked =
        well_formed::check(&request, &context.drain.bounds.limits)
            .and_then(|()| {
                if request.body().is_end_stream() { Ok(()) } else { well_formed::check_codings(request.headers()) }
            })
            // Before the router looks at it.
            .and_then(|()| request_path::normalize(&mut request).map_err(|TooLong| well_formed::TOO_LONG));
    let refused = checked.err().map(|malformed| Box::new(refuse(&request, malformed)));
    let refused = refused.or_else(|| redirect::answer(&connection.info().listener, &request).map(Box::new));
    let stream = connection.streams().map(Streams::begin);
    let opened = connection.opened();
    let asked = Asked { is_http1: stream.is_none(), is_get: request.method() == Method::GET, spread, opened };
    let (request, verdict) = with_body(request, connection, activity, number);
    async move {
        let is_refused = refused.is_some();
        let response = match refused {
            Some(refused) => *refused,
            None => context.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
        };
        let is_ended = is_refused || verdict.as_ref().is_some_and(Verdict::is_out);
        let response = match &verdict {
            Some(verdict) if is_ended => verdict.on(response),
            Some(_) | None => response,
        };
        let parts = Parts { answering, stream, answers: verdict.map(Verdict::answers) };
        Ok(finish(response, &context, parts, asked, is_ended))
    }
}

/// The answer to a malformed request: the application does not see it.
fn refuse(request: &Request<Incoming>, malformed: Malformed) -> Response<Body> {
    let Malformed { status, text } = malformed;
    let (method, path, status_code) = (request.method().as_str(), request.uri().path(), status.as_u16());
    // A line as that of any request.
    tracing::info!(target: "gin_worker::access", method, path, status = status_code, error = text, "{method} {path} {status_code}");
    Error::new(status, text).into_refusal()
}

/// Facts of a request that count for its response.
#[derive(Debug, Clone, Copy)]
struct Asked {
    is_http1: bool,
    is_get: bool,
    spread: Spread,
    /// The moment at which the connection was accepted.
    opened: Instant,
}

/// The request as the application gets it: its body keeps to the bounds of a connection.
fn with_body(
    request: Request<Incoming>,
    connection: Connection,
    activity: &Arc<Activity>,
    number: u64,
) -> (Request<Body>, Option<Verdict>) {
    let (mut parts, body) = request.into_parts();
    let (body, verdict) = if body.is_end_stream() {
        (Body::empty(), None)
    } else {
        let bounds = connection.context().drain.bounds;
        let mut body = match connection.streams() {
            Some(streams) => RequestBody::of_http2(body, &streams.held, bounds),
            None => RequestBody::of_http1(body, activity, number, bounds),
        };
        if connection.is_taken_over() {
            body.is_handed_over();
        }
        let verdict = body.verdict();
        parts.extensions.insert(verdict.clone());
        (Body::new(body), Some(verdict))
    };
    // For axum's own extractor. A Unix socket tells no address.
    if let Some(peer) = connection.peer() {
        parts.extensions.insert(ConnectInfo(peer));
    }
    // For the extractors of `tls`, which know no connection.
    if let Some(tls) = &connection.info().tls {
        parts.extensions.insert(Arc::clone(tls));
    }
    parts.extensions.insert(connection);
    (Request::from_parts(parts, body), verdict)
}

/// Notes an upgrade, says whether the connection ends, and follows a stream of events.
fn finish(
    mut response: Response<Body>,
    context: &Arc<Context>,
    parts: Parts,
    asked: Asked,
    is_ended: bool,
) -> Response<ResponseBody> {
    let Asked { is_http1, is_get, spread, opened: _ } = asked;
    if is_http1 && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        parts.answering.activity().upgrade();
        let protocol = response.headers().get(header::UPGRADE);
        if protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            parts.answering.activity().speak_websocket(close_time(Arc::clone(context), spread).boxed().shared());
        }
    } else if is_http1 && is_last(&context.drain, asked) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        parts.answering.activity().ending.tell();
    }
    if is_http1 && is_ended {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let is_events = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/event-stream");
    // Browsers ask for events by GET, and ask again. Event boundaries are invisible in compressed streams, and a response of
    // known length has an end of its own.
    let is_stream = is_get
        && response.body().size_hint().exact().is_none()
        && response.headers().get(header::CONTENT_TYPE).is_some_and(is_events)
        && ![header::CONTENT_ENCODING, header::CONTENT_LENGTH].iter().any(|name| response.headers().contains_key(name));
    let events = is_stream.then(|| Box::new(Events::until_drain(&context.drain.life)));
    response.map(|body| ResponseBody::new(body, events, parts))
}

/// True if this answer is the last one of its connection: the worker drains, or the connection is old.
fn is_last(drain: &DrainState, Asked { spread, opened, .. }: Asked) -> bool {
    let ends = [drain.last_call(spread), age_end(opened, &drain.bounds.timeouts)];
    ends.into_iter().flatten().any(|at| at <= Instant::now())
}

/// Ends when the client of a WebSocket is to be told that the worker ends: one client after the other.
async fn close_time(context: Arc<Context>, spread: Spread) {
    let drain = &context.drain;
    drain.life.draining().await;
    let mut takers = drain.queue().subscribe();
    // Takers may come, or be lost, at any time.
    while let Some(at) = drain.goodbye(spread).filter(|at| *at > Instant::now()) {
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            _ = takers.changed() => {}
        }
    }
}
