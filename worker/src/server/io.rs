//! A connection's bytes: what was read ahead comes first, and closing waits for the client's last word.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::activity::Activity;
use crate::graceful::OpenConnection;

/// How long, and how much, is read after our side is closed, so that what a client still sends is not answered by a
/// reset that would destroy the response on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// Whether bytes have come that nobody has read yet.
pub(super) fn has_bytes(fd: RawFd) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(fd, &mut [0], flags).is_ok_and(|count| count > 0)
}

/// What a connection holds for as long as its socket lives, which an upgrade may make longer than HTTP's part of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _open: OpenConnection,
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    _held: Held,
    ahead: Bytes,
    activity: Arc<Activity>,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    Open,
    Lingering { until: Pin<Box<Sleep>>, left: usize },
    Closed,
}

impl Io {
    pub(super) fn new(stream: Stream, held: Held, activity: Arc<Activity>) -> Self {
        Self { stream, _held: held, ahead: Bytes::new(), activity, closing: Closing::Open }
    }

    /// Reads some of what comes first.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read(self, buffer).await
    }

    /// Gives back what was read: it comes first again.
    pub(super) fn unread(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    /// The descriptor, for as long as the connection lives.
    pub(super) fn raw_fd(&self) -> RawFd {
        self.stream.raw_fd()
    }
}

fn poll_read(stream: &mut Stream, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    match stream {
        Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
        Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
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
        let before = buffer.filled().len();
        ready!(poll_read(&mut this.stream, cx, buffer))?;
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
        let written = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        };
        this.activity.stalled(written.is_pending());
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
                    ready!(match &mut this.stream {
                        Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
                        Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
                    })?;
                    let until = Box::pin(tokio::time::sleep(LINGER));
                    this.closing = Closing::Lingering { until, left: LINGER_BYTES };
                }
                Closing::Lingering { until, left } => {
                    let mut scratch = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut scratch);
                    let count = match poll_read(&mut this.stream, cx, &mut buffer) {
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
