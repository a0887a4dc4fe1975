//! A connection's bytes: what was read ahead comes first, and closing waits for the client's last word.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use crate::connections::activity::Activity;
use crate::connections::transport::{Probe, Stream};
use crate::connections::websocket_closer::{By, Goodbye};
use crate::graceful::OpenConnection;

/// How long, and how much, is read after our side is closed, so that what a client still sends is not answered by a
/// reset that would destroy the response on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// What a connection holds for as long as its socket lives, which an upgrade may make longer than HTTP's part of it.
#[derive(Debug)]
#[expect(dead_code, reason = "held, and given back when dropped")]
pub(crate) struct Held {
    pub(crate) open: OpenConnection,
    pub(crate) slot: Option<OwnedSemaphorePermit>,
}

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(crate) struct Io {
    stream: Stream,
    held: Held,
    ahead: Bytes,
    activity: Arc<Activity>,
    goodbye: Option<Box<Goodbye>>,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    Open,
    Lingering { until: Pin<Box<Sleep>>, left: usize },
    Closed,
}

impl Io {
    pub(crate) fn new(stream: Stream, held: Held, ahead: Bytes, activity: Arc<Activity>) -> Self {
        Self { stream, held, ahead, activity, goodbye: None, closing: Closing::Open }
    }

    /// Whoever has it now says goodbye itself.
    pub(crate) fn says_no_goodbye(&mut self) {
        drop(self.activity.goodbye());
        self.goodbye = None;
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>, by: By) {
        if let Some(when) = self.activity.goodbye() {
            self.goodbye = Some(Box::new(Goodbye::new(when)));
        }
        if let Some(goodbye) = &mut self.goodbye {
            let stream = &mut self.stream;
            // An error is the application's to see, at its own next call.
            let _ = goodbye.poll(cx, by, |cx, bytes| Pin::new(&mut *stream).poll_write(cx, bytes));
        }
    }

    /// What it is doing.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Requests served on it.
    pub(crate) fn requests(&self) -> u64 {
        self.activity.requests()
    }

    /// What it was made of, and the bytes that nobody has read yet.
    pub(crate) fn into_parts(self) -> (Stream, Held, Bytes) {
        (self.stream, self.held, self.ahead)
    }

    /// Reads some of what comes first.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read(self, buffer).await
    }

    /// Gives back what was read: it comes first again.
    pub(crate) fn unread(&mut self, read: &[u8]) {
        self.ahead = [read, &self.ahead].concat().into();
    }

    /// A look at the socket, for as long as the connection lives.
    pub(crate) fn probe(&self) -> Probe {
        self.stream.probe()
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let count = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..count]);
            this.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        this.poll_goodbye(cx, By::Reader);
        if this.goodbye.as_mut().is_some_and(|goodbye| goodbye.is_over(cx)) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_goodbye(cx, By::Writer);
        if let Some(late) = this.goodbye.as_ref().and_then(|goodbye| goodbye.is_said()) {
            return Poll::Ready(late.map(|()| parts.iter().map(|part| part.len()).sum()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.activity.stalled(written.is_pending());
        if written.is_pending() && this.goodbye.as_mut().is_some_and(|goodbye| goodbye.is_stuck(cx)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let (Some(goodbye), Poll::Ready(Ok(count))) = (&mut this.goodbye, &written) {
            let mut left = *count;
            for part in parts {
                let count = left.min(part.len());
                goodbye.wrote(&part[..count]);
                left -= count;
            }
            this.poll_goodbye(cx, By::Writer);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have no buffer of their own to flush.
        Poll::Ready(Ok(()))
    }

    /// Closes our side, then reads until the client has closed its own, for a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.closing {
                Closing::Open => {
                    this.activity.closing();
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    let until = Box::pin(tokio::time::sleep(LINGER));
                    this.closing = Closing::Lingering { until, left: LINGER_BYTES };
                }
                Closing::Lingering { until, left } => {
                    let mut scratch = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut scratch);
                    let count = match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) => buffer.filled().len(),
                        Poll::Ready(Err(_)) => 0,
                        Poll::Pending => {
                            ready!(until.as_mut().poll(cx));
                            0
                        }
                    };
                    if count == 0 || count >= *left {
                        this.closing = Closing::Closed;
                    } else {
                        *left -= count;
                    }
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}
