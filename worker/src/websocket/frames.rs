//! Bytes of a WebSocket, cut where a frame ends.
//!
//! tungstenite reads from here. It is given one frame at most with each read, so that it holds nothing ahead: between two messages
//! all bytes that were read are here, and can go to another worker with the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connections::{FrameHead, Pace};
use crate::websocket::rate::Rate;

/// Bytes read at once.
const CHUNK: usize = 4096;
/// Length of a mask, in bytes.
const MASK: usize = 4;

/// Reads a client's frames (RFC 6455, section 5.2), one after the other.
#[derive(Debug)]
pub(crate) struct Frames<T> {
    io: T,
    /// Bytes that were read and not passed on.
    ahead: BytesMut,
    /// Bytes that are left of the frame that is being passed on.
    left: u64,
    /// True if a message has begun whose last frame has not come.
    in_message: bool,
    /// The moment at which bytes came last.
    heard: Instant,
    /// Pace of the client with the message that is under way.
    pace: Pace,
    rate: Option<Rate>,
}

impl<T> Frames<T> {
    /// Frames of a client, of which so many may come a second.
    pub(crate) fn new(io: T, ahead: &[u8], rate: Option<u32>) -> Self {
        let (heard, rate) = (Instant::now(), rate.map(Rate::new));
        Self { io, ahead: ahead.into(), left: 0, in_message: false, heard, pace: Pace::default(), rate }
    }

    /// Pace of the client with the message that is under way, if one is.
    pub(crate) fn pace(&self) -> Option<&Pace> {
        (!self.is_between_messages()).then_some(&self.pace)
    }

    /// True if frames wait because too many have come.
    pub(crate) fn is_held_back(&self) -> bool {
        self.rate.as_ref().is_some_and(Rate::is_waiting)
    }

    /// The moment at which bytes came last.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// True if the client is between two messages, as far as they were passed on.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.left == 0 && !self.in_message
    }

    /// The connection.
    pub(crate) fn io(&mut self) -> &mut T {
        &mut self.io
    }

    /// Takes it apart: the connection, and the bytes that were not passed on.
    pub(crate) fn into_parts(self) -> (T, Bytes) {
        (self.io, self.ahead.freeze())
    }

    /// Begins the next frame if its head and mask are there.
    fn begin(&mut self) -> bool {
        let Some(head) = FrameHead::parse(&self.ahead) else { return false };
        let length = head.length + if head.is_masked { MASK } else { 0 };
        if self.ahead.len() < length {
            return false;
        }
        if !head.is_control() {
            if !self.in_message {
                self.pace = Pace::default();
            }
            self.in_message = !head.is_last();
        }
        self.left = head.payload.saturating_add(length as u64);
        true
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.left == 0
                && !this.ahead.is_empty()
                && let Some(rate) = &mut this.rate
            {
                ready!(rate.poll_ready(cx));
            }
            let is_new = this.left == 0;
            if (this.left > 0 || this.begin()) && !this.ahead.is_empty() {
                if let (Some(rate), true) = (&mut this.rate, is_new) {
                    rate.count();
                }
                let left = usize::try_from(this.left).unwrap_or(usize::MAX);
                let count = left.min(this.ahead.len()).min(buffer.remaining());
                buffer.put_slice(&this.ahead[..count]);
                this.ahead.advance(count);
                this.left -= count as u64;
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            if Pin::new(&mut this.io).poll_read(cx, &mut read)?.is_pending() {
                this.pace.wait(Instant::now());
                return Poll::Pending;
            }
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.heard = Instant::now();
            this.pace.moved(read.filled().len(), Instant::now);
            this.ahead.extend_from_slice(read.filled());
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A masked frame of a client.
    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = match payload.len() {
            short @ 0..126 => vec![0x80 | u8::try_from(short).unwrap()],
            medium @ 126..65536 => [&[0xfe][..], &u16::try_from(medium).unwrap().to_be_bytes()].concat(),
            long => [&[0xff][..], &(long as u64).to_be_bytes()].concat(),
        };
        [&[first][..], &length, &[1, 2, 3, 4], payload].concat()
    }

    #[tokio::test]
    async fn nothing_of_the_next_frame_is_passed_on_with_this_one() {
        let sent = [
            client_frame(0x81, b"hello"),
            client_frame(0x01, &[b'x'; 300]),
            client_frame(0x89, b"ping"),
            client_frame(0x80, &[b'y'; 70_000]),
            client_frame(0x88, b""),
        ];
        let between = [true, false, false, true, true];
        let all = sent.concat();
        for chunk in [1, 7, 4096, all.len()] {
            let mut reader = tokio_test_reader(&all, chunk);
            let mut frames = Frames::new(&mut reader, b"", None);
            for (frame, between) in sent.iter().zip(between) {
                let mut read = Vec::new();
                while read.len() < frame.len() {
                    let mut buffer = vec![0; 100_000];
                    let count = frames.read(&mut buffer).await.unwrap();
                    read.extend_from_slice(&buffer[..count]);
                }
                assert_eq!(&read, frame, "in pieces of {chunk}");
                assert_eq!(frames.is_between_messages(), between);
            }
        }
    }

    /// Gives `chunk` bytes a read.
    fn tokio_test_reader(bytes: &[u8], chunk: usize) -> impl AsyncRead + Unpin {
        struct Pieces(Vec<u8>, usize);
        impl AsyncRead for Pieces {
            fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                let count = self.1.min(self.0.len()).min(to.remaining());
                let rest = self.0.split_off(count);
                to.put_slice(&std::mem::replace(&mut self.0, rest));
                Poll::Ready(Ok(()))
            }
        }
        Pieces(bytes.to_vec(), chunk)
    }
}
