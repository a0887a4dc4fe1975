//! The body of a request, in pieces that a parser of forms asks for.
//!
//! multer reads all that is there before it looks at any of it. So its stream gives nothing until the parser needs more, and then one piece:
//! what a client sends faster than it is written waits in the socket. A parser that gets 256 KiB, or 4096 pieces, without finding a part or
//! its data has a form without an end, or a part whose head has none.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tokio::runtime::Handle;

/// Most bytes of a piece.
const PIECE: usize = 64 << 10;
/// Bytes that may lead to nothing.
const IDLE_MAX: usize = 256 << 10;
/// A smaller piece counts as one of so many bytes: the parser looks through all that it has at each piece.
const PIECE_LEAST: usize = 64;
/// Time in which the rest of a form is read that nobody wants.
const REST: Duration = Duration::from_secs(5);

/// A body that gives nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FeedError {
    /// Its pieces lead to nothing.
    #[error("no part within 256 KiB")]
    Idle,
    /// It is larger than all files may be.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// It is not complete.
    #[error("cut off")]
    Broken,
}

/// Both ends of a body: the parser's stream, and the form that opens it.
#[derive(Debug, Clone)]
pub(super) struct Feed(Arc<Mutex<Source>>);

#[derive(Debug)]
struct Source {
    body: Body,
    /// The rest of a piece that was too large.
    rest: Bytes,
    limit: u64,
    given: u64,
    /// Bytes since the parser found something.
    idle: usize,
    /// True while the parser may have one piece.
    is_open: bool,
    /// True if the client is waited for.
    waits: bool,
    is_over: bool,
}

impl Feed {
    /// `limit`: of the whole body, in bytes.
    pub(super) fn new(body: Body, limit: u64) -> Self {
        let (rest, given, idle) = (Bytes::new(), 0, 0);
        Self(Arc::new(Mutex::new(Source {
            body,
            rest,
            limit,
            given,
            idle,
            is_open: false,
            waits: false,
            is_over: false,
        })))
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the parser, and gives it a piece only where it can do nothing without one.
    pub(super) fn poll<T>(&self, cx: &mut Context<'_>, mut parser: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        loop {
            let polled = parser(cx);
            if polled.is_ready() {
                return polled;
            }
            self.source().open();
            let polled = parser(cx);
            if self.source().close() || polled.is_ready() {
                return polled;
            }
        }
    }

    /// Notes that the parser has found something.
    pub(super) fn went_on(&self) {
        self.source().idle = 0;
    }

    /// Reads and drops what nobody has read, so that the client sees the answer and not a reset: so many bytes at most, for 5 s at most.
    /// The connection is closed if that was not all.
    pub(super) fn drop_rest(&self, most: u64) {
        let body = {
            let mut source = self.source();
            if source.is_over || source.body.is_end_stream() {
                return;
            }
            source.is_over = true;
            std::mem::take(&mut source.body)
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(REST, read_rest(body, most)));
        }
    }
}

async fn read_rest(mut body: Body, most: u64) {
    let mut read = 0;
    while read <= most {
        let Some(Ok(frame)) = body.frame().await else { return };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, FeedError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.source().poll(cx)
    }
}

impl Source {
    fn open(&mut self) {
        (self.is_open, self.waits) = (true, false);
    }

    /// True if the client is waited for.
    fn close(&mut self) -> bool {
        self.is_open = false;
        self.waits
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, FeedError>>> {
        if !self.is_open {
            return Poll::Pending;
        }
        while self.rest.is_empty() {
            if self.is_over {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.waits = true;
                    return Poll::Pending;
                }
                Poll::Ready(None) => self.is_over = true,
                Poll::Ready(Some(Err(_))) => return self.end(FeedError::Broken),
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.is_open = false;
        self.given += piece.len() as u64;
        self.idle += piece.len().max(PIECE_LEAST);
        if self.given > self.limit {
            // The rest may be read on, and dropped.
            return Poll::Ready(Some(Err(FeedError::TooLarge { limit: self.limit })));
        }
        if self.idle > IDLE_MAX {
            return Poll::Ready(Some(Err(FeedError::Idle)));
        }
        Poll::Ready(Some(Ok(piece)))
    }

    fn end(&mut self, error: FeedError) -> Poll<Option<Result<Bytes, FeedError>>> {
        self.is_over = true;
        Poll::Ready(Some(Err(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    fn feed(pieces: &[usize], limit: u64) -> Feed {
        let pieces: Vec<_> = pieces.iter().map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![0; *size]))).collect();
        Feed::new(Body::from_stream(stream::iter(pieces)), limit)
    }

    /// The next piece, as a parser takes it that always needs more.
    async fn next(feed: &Feed) -> Option<Result<usize, FeedError>> {
        let mut stream = feed.clone();
        let piece = poll_fn(|cx| feed.poll(cx, |cx| stream.poll_next_unpin(cx))).await;
        piece.map(|piece| piece.map(|bytes| bytes.len()))
    }

    #[tokio::test]
    async fn a_parser_gets_one_piece_for_each_time_that_it_needs_one() {
        let feed = feed(&[10, PIECE + 5, 0, 20], u64::MAX);
        let mut shut = feed.clone();
        assert!(shut.next().now_or_never().is_none(), "it was not asked for");
        for expected in [10, PIECE, 5, 20] {
            assert_eq!(next(&feed).await, Some(Ok(expected)));
            assert!(shut.next().now_or_never().is_none());
        }
        assert_eq!(next(&feed).await, None);
    }

    #[tokio::test]
    async fn a_body_ends_that_is_too_large_or_leads_to_nothing() {
        let large = feed(&[60, 40, 1], 100);
        assert_eq!((next(&large).await, next(&large).await), (Some(Ok(60)), Some(Ok(40))));
        assert_eq!(next(&large).await, Some(Err(FeedError::TooLarge { limit: 100 })));
        let idle = feed(&[IDLE_MAX, PIECE, 1], u64::MAX);
        for _ in 0..3 {
            assert_eq!(next(&idle).await, Some(Ok(PIECE)));
        }
        idle.went_on();
        assert_eq!(next(&idle).await, Some(Ok(PIECE)), "something was found");
        assert_eq!(next(&idle).await, Some(Ok(PIECE)));
        let endless = feed(&[2 * IDLE_MAX], u64::MAX);
        for _ in 0..4 {
            assert_eq!(next(&endless).await, Some(Ok(PIECE)));
        }
        assert_eq!(next(&endless).await, Some(Err(FeedError::Idle)));
    }

    #[tokio::test]
    async fn so_many_pieces_may_lead_to_nothing_however_small() {
        let most = IDLE_MAX / PIECE_LEAST;
        let slow = feed(&vec![1; most + 1], u64::MAX);
        for _ in 0..most {
            assert_eq!(next(&slow).await, Some(Ok(1)));
        }
        assert_eq!(next(&slow).await, Some(Err(FeedError::Idle)));
    }

    #[tokio::test]
    async fn a_client_that_has_gone_is_told_apart_from_the_end() {
        let gone = stream::iter([Ok(Bytes::from_static(b"x")), Err(std::io::Error::other("gone"))]);
        let feed = Feed::new(Body::from_stream(gone), 100);
        assert_eq!(next(&feed).await, Some(Ok(1)));
        assert_eq!(next(&feed).await, Some(Err(FeedError::Broken)));
        assert_eq!(next(&feed).await, None);
    }
}
