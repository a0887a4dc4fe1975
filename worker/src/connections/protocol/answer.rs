//! One request: its body's end and its response's are the connection's business, too.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::connections::activity::Activity;
use crate::connections::protocol::http1::{Connection, Shared};
use crate::websocket::spread;

/// Has the application answer. From this call on, not from the first poll, for hyper may have parsed a request that it does not
/// poll yet.
pub(crate) fn answer(
    mut request: Request<Incoming>,
    connection: Connection,
    activity: &Arc<Activity>,
) -> impl Future<Output = Result<Response<Guarded>, Infallible>> + Send + use<> {
    let number = activity.begin();
    let guard = Busy(Arc::clone(activity));
    let shared = Arc::clone(connection.shared());
    request.extensions_mut().insert(connection);
    let is_http1 = request.version() <= Version::HTTP_11;
    let is_get = request.method() == Method::GET;
    // HTTP/2 has a stream a request.
    let reader = (is_http1 && !request.body().is_end_stream()).then(|| {
        activity.reading(number);
        Reader { activity: Arc::clone(activity), number }
    });
    let request = request.map(|body| Body::new(Read { body, reader }));
    async move {
        let response = match shared.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        Ok(finish(response, &shared, guard, is_http1, is_get))
    }
}

/// What the connection has to know of the answer.
fn finish(
    mut response: Response<Body>,
    shared: &Arc<Shared>,
    guard: Busy,
    is_http1: bool,
    is_get: bool,
) -> Response<Guarded> {
    if is_http1 && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let protocol = response.headers().get(header::UPGRADE);
        if protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            guard.0.speak_websocket(goodbye(Arc::clone(shared)).boxed().shared());
        }
    } else if is_http1 && shared.ends_connections() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        shared.life.tally().closes();
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    // Browsers ask for them by GET, and ask again. Of compressed ones nobody sees here where an event ends, and one whose length is
    // announced has an end of its own.
    let events = is_get
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
        && ![header::CONTENT_ENCODING, header::CONTENT_LENGTH].iter().any(|name| response.headers().contains_key(name));
    let events = events.then(|| Box::new(Events::until_drain(shared)));
    response.map(|body| Guarded { body, events, _guard: guard })
}

/// When clients of WebSockets are to be told that the worker ends, one after the other.
async fn goodbye(shared: Arc<Shared>) {
    shared.life.draining().await;
    tokio::time::sleep(shared.timeouts.idle_grace.mul_f64(spread())).await;
    shared.life.tally().closes();
}

/// Server-sent events never end by themselves: in a drain they end where an event does, so that the client goes on from there
/// (HTML, section 9.2).
struct Events {
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    drains: bool,
    /// The last bytes that were sent.
    last: [u8; 4],
}

impl Events {
    fn until_drain(shared: &Shared) -> Self {
        let life = shared.life.clone();
        // Before the first one there is nothing half sent.
        Self { draining: Box::pin(async move { life.draining().await }), drains: false, last: *b"\0\0\n\n" }
    }

    fn sent(&mut self, data: &[u8]) {
        for byte in &data[data.len().saturating_sub(self.last.len())..] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
        }
    }

    /// Whether the next byte would begin an event that nobody is to send here any more.
    fn are_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.drains = self.drains || self.draining.as_mut().poll(cx).is_ready();
        self.drains && (self.last.ends_with(b"\n\n") || self.last.ends_with(b"\r\r") || self.last == *b"\r\n\r\n")
    }
}

/// A request's body, which tells if it is dropped before its end.
struct Read {
    body: Incoming,
    /// None, once it has been read.
    reader: Option<Reader>,
}

/// Whose body it is.
struct Reader {
    activity: Arc<Activity>,
    number: u64,
}

impl HttpBody for Read {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None))
            && let Some(reader) = this.reader.take()
        {
            reader.activity.has_read(reader.number);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        match self.reader.take() {
            Some(reader) if self.body.is_end_stream() => reader.activity.has_read(reader.number),
            Some(reader) => reader.activity.left_unread(reader.number),
            None => {}
        }
    }
}

/// A request is being answered for as long as this lives.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A response's body; its end is the end of the request.
pub(crate) struct Guarded {
    body: Body,
    events: Option<Box<Events>>,
    _guard: Busy,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Some(events) = &mut this.events
            && events.are_over(cx)
        {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let (Some(events), Poll::Ready(Some(Ok(frame)))) = (&mut this.events, &frame)
            && let Some(data) = frame.data_ref()
        {
            events.sent(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
