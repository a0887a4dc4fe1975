//! Small pieces of a body, joined: a body in pieces of one byte would cost seventy times its size to whoever gathers it.
//!
//! Pieces that come together are passed on together, and wait for nothing. Small ones are copied: a piece keeps all of the buffer that it
//! came in. Tiny ones that come one by one are passed on one by one, but count for as long as they are held.

use std::pin::Pin;
use std::task::{Context as Task, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::connections::held::{HeldBody, TINY};

/// Number of small pieces of a body that are passed on as they come: most bodies have no more.
const FREE: u32 = 64;
/// Pieces below this length are small, and are joined up to it.
const JOINED: usize = 4096;

/// A body whose tiny pieces are joined.
pub(super) struct TinyPieces<B> {
    body: B,
    held: HeldBody,
    /// True if every piece counts for as long as it is held, not only tiny ones.
    counts_all: bool,
    /// Number of small pieces, up to [`FREE`].
    passed: u32,
    joined: BytesMut,
    /// The piece, or the end, that came behind the joined ones.
    behind: Option<Option<Result<Frame<Bytes>, hyper::Error>>>,
    /// True if the connection had its turn since the last piece came.
    has_waited: bool,
}

impl<B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin> TinyPieces<B> {
    pub(super) fn new(body: B, held: HeldBody, counts_all: bool) -> Self {
        Self { body, held, counts_all, passed: 0, joined: BytesMut::new(), behind: None, has_waited: false }
    }

    /// The body among those of its connection.
    pub(super) fn held(&mut self) -> &mut HeldBody {
        &mut self.held
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.joined.is_empty() && self.behind.is_none() && self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let behind = self.behind.iter().flatten().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>();
        let ours = (self.joined.len() + behind) as u64;
        let (lower, upper) = (hint.lower(), hint.upper());
        if let Some(upper) = upper {
            hint.set_upper(upper + ours);
        }
        hint.set_lower(lower + ours);
        hint
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(behind) = self.behind.take() {
            return Poll::Ready(behind.map(|frame| frame.map(|frame| self.count(frame))));
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if self.joins(&frame) => {
                    self.has_waited = false;
                    self.joined.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                    if self.joined.len() >= JOINED {
                        return self.pass_joined();
                    }
                }
                Poll::Ready(other) if self.joined.is_empty() => {
                    return Poll::Ready(other.map(|frame| frame.map(|frame| self.count(frame))));
                }
                Poll::Ready(other) => {
                    self.behind = Some(other);
                    return self.pass_joined();
                }
                Poll::Pending if self.joined.is_empty() => return Poll::Pending,
                // hyper gives the next piece once its own task had a turn.
                Poll::Pending if !std::mem::replace(&mut self.has_waited, true) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => return self.pass_joined(),
            }
        }
    }

    /// True for a piece that is to be joined with others.
    fn joins(&mut self, frame: &Frame<Bytes>) -> bool {
        let is_small = frame.data_ref().is_some_and(|data| data.len() < JOINED);
        if is_small && self.passed < FREE {
            self.passed += 1;
            return false;
        }
        is_small
    }

    fn pass_joined(&mut self) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let piece = self.joined.split().freeze();
        let frame = self.count(Frame::data(piece));
        Poll::Ready(Some(Ok(frame)))
    }

    /// Has a piece count for as long as it is held.
    fn count(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let counts = |data: &Bytes| self.counts_all || (data.len() < TINY && self.passed >= FREE);
        frame.map_data(|data| if counts(&data) { self.held.keep(data) } else { data })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::connections::held::Held;

    /// A body that gives these pieces; `None` is a pause.
    struct Script(VecDeque<Option<Bytes>>);

    impl HttpBody for Script {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            match self.get_mut().0.pop_front() {
                Some(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn pieces(script: Vec<Option<Bytes>>) -> TinyPieces<Script> {
        TinyPieces::new(Script(script.into()), HeldBody::new(Held::new(usize::MAX)), false)
    }

    /// All that is passed on: the pieces, and how often nothing came.
    fn read(body: &mut TinyPieces<Script>) -> (Vec<Bytes>, usize) {
        let (mut passed, mut pauses) = (Vec::new(), 0);
        loop {
            match body.poll_frame(&mut Task::from_waker(std::task::Waker::noop())) {
                Poll::Ready(Some(frame)) => passed.push(frame.unwrap().into_data().unwrap()),
                Poll::Ready(None) => return (passed, pauses),
                Poll::Pending => pauses += 1,
            }
        }
    }

    fn byte(number: usize) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&[u8::try_from(number % 251).unwrap()]))
    }

    #[test]
    fn pieces_that_come_together_are_passed_on_together() {
        let free = FREE as usize;
        let script = (0..10_000).map(byte).chain([Some(Bytes::from(vec![7; 5000])), None]).chain((0..5).map(byte));
        let script: Vec<_> = script.collect();
        let whole: Vec<u8> = script.iter().flatten().flatten().copied().collect();
        let (passed, _) = read(&mut pieces(script));
        assert_eq!(passed.concat(), whole);
        assert!(passed[..free].iter().all(|piece| piece.len() == 1));
        // 9,936 bytes in pieces of 4,096, the longer piece, and the last five.
        assert_eq!(passed.len(), free + 3 + 1 + 1);
    }

    #[test]
    fn pieces_that_come_one_by_one_wait_for_nothing_and_count_while_they_are_held() {
        // hyper gives nothing before its task had a turn: each piece is behind two pauses.
        let script = (0..3000).flat_map(|number| [byte(number), None, None]).collect();
        let mut body = pieces(script);
        let (passed, _) = read(&mut body);
        assert_eq!(passed.len(), 3000);
        assert!(body.held.has_too_many());
        drop(passed);
        assert!(!body.held.has_too_many());
    }

    #[test]
    fn a_small_piece_keeps_no_buffer() {
        let buffer = Bytes::from(vec![0; 1 << 20]);
        let script = (0..100).map(|at| Some(buffer.slice(at * 300..(at + 1) * 300))).collect();
        let (passed, _) = read(&mut pieces(script));
        let within = |piece: &Bytes| buffer.as_ptr_range().contains(&piece.as_ptr());
        assert_eq!(passed.iter().filter(|piece| within(piece)).count(), FREE as usize);
        assert_eq!(passed.concat().len(), 30_000);
    }
}
