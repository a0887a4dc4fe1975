//! Body of a response: its end is the end of the request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::connections::activity::Activity;
use crate::connections::protocol::events::Events;
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

/// Body of a response.
pub(super) struct ResponseBody {
    body: Body,
    /// Of HTTP/2.
    stream: Option<Arc<Stream>>,
    /// What is left of a frame that is given in pieces.
    rest: Bytes,
    events: Option<Box<Events>>,
    _answering: Answering,
}

impl ResponseBody {
    pub(super) fn new(
        body: Body,
        stream: Option<Arc<Stream>>,
        events: Option<Box<Events>>,
        answering: Answering,
    ) -> Self {
        Self { body, stream, rest: Bytes::new(), events, _answering: answering }
    }

    /// Bytes as a piece that tells when it is taken. A long frame is given in pieces, so that progress with it is seen.
    fn piece(&mut self, mut bytes: Bytes) -> Piece {
        let Some(stream) = &self.stream else { return bytes.into() };
        if bytes.len() > PIECE {
            self.rest = bytes.split_off(PIECE);
        }
        stream.give(bytes)
    }
}

/// Longest piece of a response over HTTP/2, in bytes.
const PIECE: usize = 64 << 10;

impl HttpBody for ResponseBody {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(Frame::data(this.piece(rest)))));
        }
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
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(|data| this.piece(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame: nothing is left of one then.
        self.body.size_hint()
    }
}
