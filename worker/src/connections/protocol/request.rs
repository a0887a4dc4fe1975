//! Body of a request: what comes of it, for as long as the client keeps its side.
//!
//! ```text
//! tiny   joins tiny pieces
//! wait   the client's time
//! ```
//!
//! It tells the connection's activity whether it was read to its end. A client that gives nothing for too long, or whose body
//! costs far more memory than it carries, gets a [`Verdict`]: the body ends with an error, and the response is 408 or 413.

mod tiny;
mod verdict;
mod wait;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::connections::activity::Activity;
use crate::connections::bounds::Bounds;
use crate::connections::held::{Held, May, Turn};
use tiny::TinyPieces;
pub(crate) use verdict::Verdict;
use verdict::{Ended, Reason};
use wait::Wait;

/// Body of a request that has one.
pub(super) struct RequestBody {
    pieces: TinyPieces<Incoming>,
    /// `None` once the body has been read, and over HTTP/2.
    reader: Option<Reader>,
    turn: Turn,
    wait: Wait,
    verdict: Verdict,
    held: Arc<Held>,
    bounds: Bounds,
}

/// Request of HTTP/1.1 to which a body belongs. HTTP/2 has a stream for each request: there is nothing to report.
struct Reader {
    activity: Arc<Activity>,
    number: u64,
}

impl RequestBody {
    /// Body of the request of this number over HTTP/1.1, or `None` over HTTP/2.
    pub(super) fn new(body: Incoming, of: Option<(&Arc<Activity>, u64)>, held: &Arc<Held>, bounds: Bounds) -> Self {
        let reader = of.map(|(activity, number)| {
            activity.reading(number);
            Reader { activity: Arc::clone(activity), number }
        });
        let pieces = TinyPieces::new(body, Arc::clone(held), reader.is_none());
        let (turn, wait, verdict) = (Turn::new(Arc::clone(held)), Wait::default(), Verdict::default());
        Self { pieces, reader, turn, wait, verdict, held: Arc::clone(held), bounds }
    }

    /// The verdict on this body, for whoever answers.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    fn ended(&self, reason: Reason) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.verdict.pronounce(reason);
        Poll::Ready(Some(Err(Box::new(Ended(reason)))))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this.turn.poll(cx) {
            May::GoOn => {}
            May::Wait => {
                // It is not the client that is waited for.
                this.wait.rest();
                return Poll::Pending;
            }
            May::End => return this.ended(Reason::Late(this.bounds.timeouts.read)),
        }
        match this.pieces.poll_frame(cx) {
            Poll::Pending if this.wait.is_late(cx, &this.bounds) => {
                this.turn.stalled();
                this.ended(Reason::Late(this.bounds.timeouts.read))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                this.wait.moved(frame.data_ref().map_or(0, Bytes::len));
                if this.held.has_too_many() {
                    return this.ended(Reason::Costly);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.turn.give_back();
                if let Some(reader) = this.reader.take() {
                    reader.activity.has_read(reader.number);
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
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
