//! The last word on a WebSocket that the application serves by other means than [`crate::websocket`]: close code 1001, put between
//! two frames of what it writes, when the worker drains.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Sleep;

use crate::connections::FrameHead;

/// A server's close frame, code 1001 (RFC 6455, sections 5.5.1 and 7.4.1).
const AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// How long a client has for its own close frame.
const LEAVE: Duration = Duration::from_secs(1);
/// How long it may take nothing, in the midst of a frame.
const STUCK: Duration = Duration::from_secs(5);

/// When it is to be said: in a drain, a little later for each.
pub(crate) type When = Shared<BoxFuture<'static, ()>>;

/// Who is woken then: the two may be different tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Reader,
    Writer,
}

/// What is written on an upgraded connection, as far as frames go.
pub(crate) struct Goodbye {
    reader: Option<When>,
    writer: Option<When>,
    /// How much of it is written, and whether it was begun.
    said: usize,
    saying: bool,
    /// How long the client's own is awaited, or the rest of a frame taken; the same, for the writer to be woken.
    leave: Option<Pin<Box<Sleep>>>,
    late: Option<Pin<Box<Sleep>>>,
    outgoing: Outgoing,
}

impl std::fmt::Debug for Goodbye {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Goodbye").field("said", &self.said).field("outgoing", &self.outgoing).finish_non_exhaustive()
    }
}

/// Where in the bytes that are written.
#[derive(Debug)]
enum Outgoing {
    /// An answer's head, of which so many bytes have come, and so many of its end: that of the 101, or of one before it.
    Head { status: [u8; STATUS], have: usize, matched: usize },
    /// A frame's head, as far as it has come.
    Frame { head: [u8; 10], have: usize },
    /// So much of a frame's payload is still to come.
    Payload(u64),
}

/// How long `HTTP/1.1 101` is.
const STATUS: usize = 12;
const HEAD: Outgoing = Outgoing::Head { status: [0; STATUS], have: 0, matched: 0 };
const BETWEEN: Outgoing = Outgoing::Frame { head: [0; 10], have: 0 };

impl Goodbye {
    pub(crate) fn new(when: When) -> Self {
        let (reader, writer) = (Some(when.clone()), Some(when));
        Self { reader, writer, said: 0, saying: false, leave: None, late: None, outgoing: HEAD }
    }

    /// Whether what the application writes comes too late: nothing may follow a close frame. It is passed over while the client
    /// takes its leave, and an error after that.
    pub(crate) fn is_said(&self) -> Option<Result<(), io::Error>> {
        let leave = self.leave.as_ref()?;
        // Only readers poll it.
        let is_over = leave.deadline() <= tokio::time::Instant::now();
        match (is_over, self.saying) {
            (true, _) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            (false, true) => Some(Ok(())),
            (false, false) => None,
        }
    }

    /// Whether the client has taken nothing for too long. A writer that waits for it is woken then.
    pub(crate) fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(leave) = &self.leave else { return false };
        let deadline = leave.deadline();
        self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline))).as_mut().poll(cx).is_ready()
    }

    /// Whether the client has had its time: what it does not say until then is not waited for.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.leave.as_mut().is_some_and(|leave| leave.as_mut().poll(cx).is_ready())
    }

    /// These bytes were written.
    pub(crate) fn wrote(&mut self, mut bytes: &[u8]) {
        if let Some(leave) = self.leave.as_mut().filter(|_| !self.saying) {
            leave.as_mut().reset(tokio::time::Instant::now() + STUCK);
            self.late = None;
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

    /// Says it, once it is time and no frame is half written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        by: By,
        mut write: impl FnMut(&mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let when = match by {
            By::Reader => &mut self.reader,
            By::Writer => &mut self.writer,
        };
        if let Some(own) = when {
            ready!(own.poll_unpin(cx));
            *when = None;
        }
        if self.said == 0 && !matches!(self.outgoing, Outgoing::Frame { have: 0, .. }) {
            // The application goes on writing, or there would be no half a frame; if the client takes it.
            self.leave.get_or_insert_with(|| Box::pin(tokio::time::sleep(STUCK)));
            return Poll::Pending;
        }
        if !self.saying {
            (self.saying, self.late) = (true, None);
            self.leave = Some(Box::pin(tokio::time::sleep(LEAVE)));
        }
        while self.said < AWAY.len() {
            self.said += ready!(write(cx, &AWAY[self.said..]))?;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn it_is_said_between_two_frames_alone() {
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let heads = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\nA: b\r\n\r\n";
        let sent = [heads.to_vec(), b"\x81\x02hi".to_vec(), long, vec![0x89, 0]];
        for chunk in [1, 3, 1000] {
            for (whole, _) in sent.iter().enumerate() {
                let mut goodbye = Goodbye::new(std::future::ready(()).boxed().shared());
                let mut cx = Context::from_waker(Waker::noop());
                let bytes = sent[..=whole].concat();
                for (number, piece) in bytes.chunks(chunk).enumerate() {
                    goodbye.wrote(piece);
                    let written = (number * chunk + piece.len()).min(bytes.len());
                    let ends = (1..=sent.len()).any(|count| sent[..count].concat().len() == written);
                    let between = matches!(goodbye.outgoing, Outgoing::Frame { have: 0, .. });
                    assert_eq!(between, ends, "{written} bytes in pieces of {chunk}");
                }
                let mut said = Vec::new();
                let outcome = goodbye.poll(&mut cx, By::Reader, |_, bytes| {
                    said.extend_from_slice(&bytes[..1]);
                    Poll::Ready(Ok(1))
                });
                assert!(outcome.is_ready() && said == AWAY && goodbye.is_said().is_some());
            }
        }
    }

    #[tokio::test]
    async fn half_a_frame_is_waited_for_while_the_client_takes_some_of_it() {
        let mut goodbye = Goodbye::new(std::future::ready(()).boxed().shared());
        let poll = |goodbye: &mut Goodbye, by| {
            goodbye.poll(&mut Context::from_waker(Waker::noop()), by, |_, bytes| Poll::Ready(Ok(bytes.len())))
        };
        let deadline = |goodbye: &Goodbye| goodbye.leave.as_ref().unwrap().deadline();
        goodbye.wrote(b"HTTP/1.1 101 Switching\r\n\r\n\x81\x03a");
        assert!(poll(&mut goodbye, By::Writer).is_pending() && goodbye.is_said().is_none());
        let first = deadline(&goodbye);
        goodbye.wrote(b"b");
        assert!(deadline(&goodbye) > first && goodbye.is_said().is_none());
        // It takes nothing more.
        goodbye.leave.as_mut().unwrap().as_mut().reset(tokio::time::Instant::now());
        let stuck = |cx: &mut Context<'_>| if goodbye.is_stuck(cx) { Poll::Ready(()) } else { Poll::Pending };
        std::future::poll_fn(stuck).await;
        assert!(goodbye.is_said().is_some_and(|late| late.is_err()));
        // Or does, in the last moment.
        goodbye.wrote(b"c");
        assert!(poll(&mut goodbye, By::Reader).is_ready() && goodbye.is_said().is_some_and(|late| late.is_ok()));
    }
}
