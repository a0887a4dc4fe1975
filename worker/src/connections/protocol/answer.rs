//! The answer to one request, by the application's router; and what the connection has to know of it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use futures_util::FutureExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::connections::activity::Activity;
use crate::connections::context::{Connection, Context};
use crate::connections::protocol::events::Events;
use crate::connections::protocol::request::RequestBody;
use crate::connections::protocol::response::{Answering, ResponseBody};

/// Has the application answer. The request counts from this call on, not from the first poll: hyper may have parsed a request that it
/// does not poll yet.
pub(super) fn answer(
    mut request: Request<Incoming>,
    connection: Connection,
    activity: &Arc<Activity>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + use<> {
    let (answering, number) = Answering::begin(activity);
    let context = Arc::clone(connection.context());
    request.extensions_mut().insert(connection);
    let is_http1 = request.version() <= Version::HTTP_11;
    let is_get = request.method() == Method::GET;
    let request = request.map(|body| Body::new(RequestBody::new(body, activity, number, is_http1)));
    async move {
        let response = match context.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        Ok(finish(response, &context, answering, is_http1, is_get))
    }
}

/// Notes an upgrade, says whether the connection ends, and follows a stream of events.
fn finish(
    mut response: Response<Body>,
    context: &Arc<Context>,
    answering: Answering,
    is_http1: bool,
    is_get: bool,
) -> Response<ResponseBody> {
    if is_http1 && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        answering.activity().upgrade();
        let protocol = response.headers().get(header::UPGRADE);
        if protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            answering.activity().speak_websocket(close_time(Arc::clone(context)).boxed().shared());
        }
    } else if is_http1 && context.drain.ends_connections() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        context.drain.life.tally().closes();
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    // Browsers ask for events by GET, and ask again. Event boundaries are invisible in compressed streams, and a response of
    // announced length has an end of its own.
    let is_stream = is_get
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
        && ![header::CONTENT_ENCODING, header::CONTENT_LENGTH].iter().any(|name| response.headers().contains_key(name));
    let events = is_stream.then(|| Box::new(Events::until_drain(&context.drain.life)));
    response.map(|body| ResponseBody::new(body, events, answering))
}

/// Ends when the client of a WebSocket is to be told that the worker ends: one client after the other.
async fn close_time(context: Arc<Context>) {
    context.drain.life.draining().await;
    tokio::time::sleep(context.drain.spread_grace()).await;
    context.drain.life.tally().closes();
}
