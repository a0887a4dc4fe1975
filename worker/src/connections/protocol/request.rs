//! Body of a request: it tells the connection's activity whether it was read to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::connections::activity::Activity;

/// Body of a request. If it is dropped before its end, the activity hears of it.
pub(super) struct RequestBody {
    body: Incoming,
    /// `None` once the body has been read, and for a body that has no bytes.
    reader: Option<Reader>,
}

/// Request to which a body belongs.
struct Reader {
    activity: Arc<Activity>,
    number: u64,
}

impl RequestBody {
    /// Body of the request of this number. HTTP/2 has a stream for each request: there is nothing to report.
    pub(super) fn new(body: Incoming, activity: &Arc<Activity>, number: u64, is_http1: bool) -> Self {
        let reader = (is_http1 && !body.is_end_stream()).then(|| {
            activity.reading(number);
            Reader { activity: Arc::clone(activity), number }
        });
        Self { body, reader }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        match self.reader.take() {
            Some(reader) if self.body.is_end_stream() => reader.activity.has_read(reader.number),
            Some(reader) => reader.activity.left_unread(reader.number),
            None => {}
        }
    }
}
