//! Body of a request: what comes of it, for as long as the client keeps its side.
//!
//! ```text
//! tiny   joins tiny pieces
//! wait   the client's time
//! ```
//!
//! It tells the connection's activity whether it was read to its end. A client that gives nothing for too long, or whose body
//! costs far more memory than it carries, gets a [`Verdict`]: the body ends with an error, and the response is 408 or 413. So does a
//! client whose body does not come while the worker is short of memory: the response is 503.

mod tiny;
mod verdict;
mod wait;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::connections::activity::Activity;
use crate::connections::bounds::Bounds;
use crate::connections::held::{Held, HeldBody};
use crate::pressure::{self, Looks};
use tiny::TinyPieces;
pub(super) use verdict::Answers;
pub(crate) use verdict::Verdict;
use verdict::{Ended, Reason};
use wait::Wait;

/// Body of a request that has one.
pub(super) struct RequestBody {
    pieces: TinyPieces<Incoming>,
    /// `None` once the body has been read, and over HTTP/2.
    reader: Option<Reader>,
    wait: Wait,
    /// `None` if the body is waited for however short the memory is.
    looks: Option<Looks>,
    verdict: Verdict,
    bounds: Bounds,
}

/// Request of HTTP/1.1 to which a body belongs. HTTP/2 has a stream for each request: there is nothing to report.
struct Reader {
    activity: Arc<Activity>,
    number: u64,
}

impl RequestBody {
    /// Body of the request of this number over HTTP/1.1.
    pub(super) fn of_http1(body: Incoming, activity: &Arc<Activity>, number: u64, bounds: Bounds) -> Self {
        activity.reading(number);
        let reader = Reader { activity: Arc::clone(activity), number };
        // The connection has no other body meanwhile.
        Self::new(body, Some(reader), Held::new(usize::MAX), bounds)
    }

    /// Body of a stream of HTTP/2, among those of its connection.
    pub(super) fn of_http2(body: Incoming, held: &Arc<Held>, bounds: Bounds) -> Self {
        Self::new(body, None, Arc::clone(held), bounds)
    }

    fn new(body: Incoming, reader: Option<Reader>, held: Arc<Held>, bounds: Bounds) -> Self {
        let pieces = TinyPieces::new(body, HeldBody::new(held), reader.is_none());
        let looks = bounds.limits.memory.map(|_| Looks::default());
        Self { pieces, reader, wait: Wait::default(), looks, verdict: Verdict::default(), bounds }
    }

    /// Has the body waited for however short the memory is: its connection was handed over, so its client has nobody else.
    pub(super) fn is_handed_over(&mut self) {
        self.looks = None;
    }

    /// The verdict on this body, for whoever answers.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Ends the body with an error.
    fn end(&mut self, reason: Reason) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.pieces.held().give_back();
        self.verdict.pronounce(reason);
        Poll::Ready(Some(Err(Box::new(Ended(reason)))))
    }

    /// True if there is no memory for the rest of this body any more. Else the task is woken when there is reason to ask again.
    fn is_shed(&mut self, cx: &mut Task<'_>, waits_since: Instant, now: Instant) -> bool {
        let Some(looks) = &mut self.looks else { return false };
        looks.await_next(cx);
        pressure::ends_body(waits_since, now) && !self.verdict.is_answering()
    }

    fn poll_late(&mut self, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let now = Instant::now();
        let since = self.wait.since(now);
        if self.is_shed(cx, since, now) {
            return self.end(Reason::ShortOfMemory);
        }
        while self.wait.is_late(cx, &self.bounds) {
            // A client may be silent for as long as it is being answered: both talk, or it watches.
            if !self.verdict.is_answering() {
                return self.end(Reason::Late(self.bounds.timeouts.read));
            }
            self.wait.begin_anew();
        }
        Poll::Pending
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if !this.pieces.held().may_go_on(cx) {
            // It is not the client that is waited for.
            this.wait.rest();
            let now = Instant::now();
            return if this.is_shed(cx, now, now) { this.end(Reason::ShortOfMemory) } else { Poll::Pending };
        }
        let Self { wait, pieces, .. } = this;
        match wait.poll(cx, |cx| pieces.poll_frame(cx)) {
            Poll::Pending => this.poll_late(cx),
            Poll::Ready(Some(Ok(frame))) => {
                this.wait.moved(frame.data_ref().map_or(0, Bytes::len));
                this.pieces.held().went_on();
                if this.pieces.held().has_too_many() {
                    return this.end(Reason::Costly);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.pieces.held().give_back();
                if let Some(reader) = this.reader.take() {
                    reader.activity.has_read(reader.number);
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.pieces.held().give_back();
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.pieces.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        match self.reader.take() {
            Some(reader) if self.pieces.is_end_stream() => reader.activity.has_read(reader.number),
            Some(reader) => reader.activity.left_unread(reader.number),
            None => {}
        }
    }
}
