//! The body of a request, which says when it is waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Alive, Waiting};

/// A request's body.
#[derive(Debug)]
pub(super) struct WatchedBody {
    inner: Body,
    alive: Arc<Alive>,
    kind: u8,
    /// Between a poll that gave nothing and the next one that gives something.
    waiting: Option<Waiting>,
}

impl WatchedBody {
    pub(super) fn new(inner: Body, alive: Arc<Alive>, kind: u8) -> Self {
        Self { inner, alive, kind, waiting: None }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let own = self.get_mut();
        let polled = Pin::new(&mut own.inner).poll_frame(cx);
        if polled.is_ready() {
            own.waiting = None;
        } else if own.waiting.is_none() {
            own.waiting = Some(Waiting::begin(Arc::clone(&own.alive), own.kind));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
