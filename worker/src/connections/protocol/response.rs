//! Body of a response: its end is the end of the request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::connections::activity::Activity;
use crate::connections::protocol::events::Events;

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
    events: Option<Box<Events>>,
    _answering: Answering,
}

impl ResponseBody {
    pub(super) fn new(body: Body, events: Option<Box<Events>>, answering: Answering) -> Self {
        Self { body, events, _answering: answering }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
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
