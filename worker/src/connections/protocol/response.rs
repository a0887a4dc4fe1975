//! Body of a response: its end is the end of the request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::connections::activity::Activity;
use crate::connections::protocol::events::Events;
use crate::connections::protocol::request::Answers;
use crate::connections::streams::{Piece, Stream};

/// Counts a request as being answered, for as long as it lives.
pub(super) struct Answering(Arc<Activity>);

impl Answering {
    /// Begins a request. Returns its number, too.
    pub(super) fn begin(activity: &Arc<Activity>) -> (Self, u64) {
        let number = activity.begin();
        (Self(Arc::clone(activity)), number)
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Things that live as long as a response.
pub(super) struct Parts {
    pub(super) answering: Answering,
    /// Of HTTP/2.
    pub(super) stream: Option<Arc<Stream>>,
    /// For the request's body, if it has one.
    #[expect(dead_code, reason = "given back when dropped")]
    pub(super) answers: Option<Answers>,
}

/// Body of a response.
pub(super) struct ResponseBody {
    body: Body,
    /// Rest of a frame that is given in pieces.
    rest: Bytes,
    /// True once the body has ended: it may not be polled any more.
    has_ended: bool,
    events: Option<Box<Events>>,
    parts: Parts,
}

impl ResponseBody {
    pub(super) fn new(body: Body, events: Option<Box<Events>>, parts: Parts) -> Self {
        Self { body, rest: Bytes::new(), has_ended: false, events, parts }
    }

    /// Bytes as a piece that tells when it is taken. A long frame is given in pieces, so that progress with it is seen.
    fn piece(&mut self, mut bytes: Bytes) -> Piece {
        let Some(stream) = &self.parts.stream else { return bytes.into() };
        if bytes.len() > PIECE {
            self.rest = bytes.split_off(PIECE);
        }
        stream.give(bytes)
    }

    /// Waits with the end of a long body until all of it is taken: so long its stream can be reset, and nothing else.
    fn poll_end(&self, cx: &mut Task<'_>) -> Poll<()> {
        match &self.parts.stream {
            Some(stream) if stream.is_long() => stream.poll_taken(cx),
            Some(_) | None => Poll::Ready(()),
        }
    }
}

/// Longest piece of a response over HTTP/2, in bytes.
const PIECE: usize = 64 << 10;

impl HttpBody for ResponseBody {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let this = self.get_mut();
        if this.has_ended {
            return this.poll_end(cx).map(|()| None);
        }
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(Frame::data(this.piece(rest)))));
        }
        if let Some(events) = &mut this.events
            && events.are_over(cx)
        {
            this.has_ended = true;
            return this.poll_end(cx).map(|()| None);
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let (Some(events), Poll::Ready(Some(Ok(frame)))) = (&mut this.events, &frame)
            && let Some(data) = frame.data_ref()
        {
            events.sent(data);
        }
        match frame {
            Poll::Ready(None) => {
                this.has_ended = true;
                this.poll_end(cx).map(|()| None)
            }
            Poll::Ready(Some(frame)) => Poll::Ready(Some(frame.map(|frame| frame.map_data(|data| this.piece(data))))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_long = self.parts.stream.as_ref().is_some_and(|stream| stream.is_long());
        self.rest.is_empty() && !is_long && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame: nothing is left of one then.
        self.body.size_hint()
    }
}
