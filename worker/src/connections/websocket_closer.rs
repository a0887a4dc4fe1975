//! Close frame for a WebSocket that the application serves by other means than [`crate::websocket`] (with axum's, say).
//!
//! In a drain its client is sent close code 1001: when three quarters of the time are over, or within `timeouts.idle_grace` if nobody takes
//! connections. The frame is put between two frames of what the application writes,
//! so the bytes that are written are followed here. Nothing is read or understood of what the client sends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Sleep;

use crate::connections::websocket_frame::FrameHead;

/// A server's close frame, code 1001 (RFC 6455, sections 5.5.1 and 7.4.1).
const AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// Longest time for the client's own close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Part of a drain that this may take: the last ones are told an eighth before its end, and none is to be cut for it.
const CLOSE_PART: u32 = 16;
/// Time in which the client may take nothing, while a frame is half written.
const STALL: Duration = Duration::from_secs(5);

/// The moment to send the close frame: in a drain, a little later for each connection.
pub(crate) type CloseTime = Shared<BoxFuture<'static, ()>>;

/// Half of the connection that polls. The two may be different tasks, and both must be woken in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Reader,
    Writer,
}

/// Sends the close frame at its time, between two frames.
pub(crate) struct WebSocketCloser {
    reader: Option<CloseTime>,
    writer: Option<CloseTime>,
    /// Bytes of the close frame that are written.
    sent: usize,
    /// True from the moment at which the frame may be sent.
    is_sending: bool,
    /// Deadline of the client: for its own close frame, or for taking the rest of a frame that is half written.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Time for the client's own close frame.
    close_wait: Duration,
    /// The same deadline, for the writer to be woken.
    writer_deadline: Option<Pin<Box<Sleep>>>,
    outgoing: Outgoing,
}

impl std::fmt::Debug for WebSocketCloser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketCloser")
            .field("sent", &self.sent)
            .field("outgoing", &self.outgoing)
            .finish_non_exhaustive()
    }
}

/// Position in the bytes that the application writes.
#[derive(Debug)]
enum Outgoing {
    /// In the head of an answer: the 101, or one before it. `have` bytes of the status have come, `matched` of the head's end.
    Head { status: [u8; STATUS], have: usize, matched: usize },
    /// In the head of a frame, or between two frames.
    Frame { head: [u8; 10], have: usize },
    /// In a frame's payload, of which so much is still to come.
    Payload(u64),
}

/// Length of `HTTP/1.1 101`.
const STATUS: usize = 12;
const HEAD: Outgoing = Outgoing::Head { status: [0; STATUS], have: 0, matched: 0 };
const BETWEEN: Outgoing = Outgoing::Frame { head: [0; 10], have: 0 };

impl WebSocketCloser {
    /// `shutdown` is the time of a drain.
    pub(crate) fn new(at: CloseTime, shutdown: Duration) -> Self {
        let (reader, writer) = (Some(at.clone()), Some(at));
        let close_wait = (shutdown / CLOSE_PART).min(CLOSE_WAIT);
        let (deadline, writer_deadline) = (None, None);
        Self { reader, writer, sent: 0, is_sending: false, deadline, close_wait, writer_deadline, outgoing: HEAD }
    }

    /// The outcome of a write that comes after the close frame, as nothing may follow it: thrown away until the deadline, and an error
    /// after that. `None`: the close frame is still to come.
    pub(crate) fn late_write(&self) -> Option<Result<(), io::Error>> {
        let deadline = self.deadline.as_ref()?;
        // Only readers poll it.
        let is_over = deadline.deadline() <= tokio::time::Instant::now();
        match (is_over, self.is_sending) {
            (true, _) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            (false, true) => Some(Ok(())),
            (false, false) => None,
        }
    }

    /// True once the close frame may be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// True if the client has taken nothing for too long. A writer that waits for it is woken then.
    pub(crate) fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = &self.deadline else { return false };
        let deadline = deadline.deadline();
        self.writer_deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)))
            .as_mut()
            .poll(cx)
            .is_ready()
    }

    /// True if the client's deadline has passed: nothing more of it is awaited.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }

    /// Follows bytes that were written.
    pub(crate) fn wrote(&mut self, mut bytes: &[u8]) {
        if let Some(deadline) = self.deadline.as_mut().filter(|_| !self.is_sending) {
            deadline.as_mut().reset(tokio::time::Instant::now() + STALL);
            self.writer_deadline = None;
        }
        while let Some((first, rest)) = bytes.split_first() {
            self.outgoing = match self.outgoing {
                Outgoing::Head { mut status, mut have, matched } => {
                    bytes = rest;
                    if have < STATUS {
                        status[have] = *first;
                        have += 1;
                    }
                    let matched = match *first == b"\r\n\r\n"[matched] {
                        true => matched + 1,
                        false => usize::from(*first == b'\r'),
                    };
                    match matched {
                        4 if status.ends_with(b" 101") => BETWEEN,
                        // A `100 Continue`, say.
                        4 => HEAD,
                        matched => Outgoing::Head { status, have, matched },
                    }
                }
                Outgoing::Frame { mut head, mut have } => {
                    bytes = rest;
                    head[have] = *first;
                    have += 1;
                    match FrameHead::parse(&head[..have]).map(|head| head.payload) {
                        Some(0) => BETWEEN,
                        Some(length) => Outgoing::Payload(length),
                        None => Outgoing::Frame { head, have },
                    }
                }
                Outgoing::Payload(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[count..];
                    match left - count as u64 {
                        0 => BETWEEN,
                        left => Outgoing::Payload(left),
                    }
                }
            };
        }
    }

    /// Sends the close frame, once it is time and no frame is half written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        half: Half,
        mut write: impl FnMut(&mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let time = match half {
            Half::Reader => &mut self.reader,
            Half::Writer => &mut self.writer,
        };
        if let Some(own) = time {
            ready!(own.poll_unpin(cx));
            *time = None;
        }
        if self.sent == 0 && !matches!(self.outgoing, Outgoing::Frame { have: 0, .. }) {
            // The application goes on writing, or there would be no half a frame; if the client takes it.
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
            return Poll::Pending;
        }
        if !self.is_sending {
            (self.is_sending, self.writer_deadline) = (true, None);
            self.deadline = Some(Box::pin(tokio::time::sleep(self.close_wait)));
        }
        while self.sent < AWAY.len() {
            self.sent += ready!(write(cx, &AWAY[self.sent..]))?;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_close_frame_is_sent_between_two_frames_alone() {
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let heads = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\nA: b\r\n\r\n";
        let sent = [heads.to_vec(), b"\x81\x02hi".to_vec(), long, vec![0x89, 0]];
        for chunk in [1, 3, 1000] {
            for (whole, _) in sent.iter().enumerate() {
                let mut closer = WebSocketCloser::new(std::future::ready(()).boxed().shared(), DRAIN);
                let mut cx = Context::from_waker(Waker::noop());
                let bytes = sent[..=whole].concat();
                for (number, piece) in bytes.chunks(chunk).enumerate() {
                    closer.wrote(piece);
                    let written = (number * chunk + piece.len()).min(bytes.len());
                    let ends = (1..=sent.len()).any(|count| sent[..count].concat().len() == written);
                    let between = matches!(closer.outgoing, Outgoing::Frame { have: 0, .. });
                    assert_eq!(between, ends, "{written} bytes in pieces of {chunk}");
                }
                let mut sent_frame = Vec::new();
                let outcome = closer.poll(&mut cx, Half::Reader, |_, bytes| {
                    sent_frame.extend_from_slice(&bytes[..1]);
                    Poll::Ready(Ok(1))
                });
                assert!(outcome.is_ready() && sent_frame == AWAY && closer.late_write().is_some());
            }
        }
    }

    #[tokio::test]
    async fn the_rest_of_a_frame_is_awaited_while_the_client_takes_some_of_it() {
        let mut closer = WebSocketCloser::new(std::future::ready(()).boxed().shared(), DRAIN);
        let poll = |closer: &mut WebSocketCloser, half| {
            closer.poll(&mut Context::from_waker(Waker::noop()), half, |_, bytes| Poll::Ready(Ok(bytes.len())))
        };
        let deadline = |closer: &WebSocketCloser| closer.deadline.as_ref().unwrap().deadline();
        closer.wrote(b"HTTP/1.1 101 Switching\r\n\r\n\x81\x03a");
        assert!(poll(&mut closer, Half::Writer).is_pending() && closer.late_write().is_none());
        let first = deadline(&closer);
        closer.wrote(b"b");
        assert!(deadline(&closer) > first && closer.late_write().is_none());
        // It takes nothing more.
        closer.deadline.as_mut().unwrap().as_mut().reset(tokio::time::Instant::now());
        let stuck = |cx: &mut Context<'_>| if closer.is_stuck(cx) { Poll::Ready(()) } else { Poll::Pending };
        std::future::poll_fn(stuck).await;
        assert!(closer.late_write().is_some_and(|late| late.is_err()));
        // Or does, in the last moment.
        closer.wrote(b"c");
        assert!(poll(&mut closer, Half::Reader).is_ready() && closer.late_write().is_some_and(|late| late.is_ok()));
    }

    #[tokio::test]
    async fn the_wait_for_the_clients_own_close_frame_fits_into_the_rest_of_a_short_drain() {
        for (drain, wait) in [(DRAIN, CLOSE_WAIT), (Duration::from_secs(8), Duration::from_millis(500))] {
            let mut closer = WebSocketCloser::new(std::future::ready(()).boxed().shared(), drain);
            closer.wrote(b"HTTP/1.1 101 Switching\r\n\r\n");
            let before = tokio::time::Instant::now();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(closer.poll(&mut cx, Half::Reader, |_, bytes| Poll::Ready(Ok(bytes.len()))).is_ready());
            let (after, deadline) = (tokio::time::Instant::now(), closer.deadline.as_ref().unwrap().deadline());
            assert!((before + wait..=after + wait).contains(&deadline), "{:?} of {drain:?}", deadline - before);
        }
    }
}
