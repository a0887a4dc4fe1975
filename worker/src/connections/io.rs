//! Bytes of an active connection: what was read ahead comes first, and closing waits for the client's end.
//!
//! [`Io`] stands between a transport and a protocol. It notes in [`Activity`] what moves, sends a WebSocket's close frame at its
//! time, and closes in an orderly way: so that what is still on its way from the client is not answered by a reset. It knows no
//! protocol's requests, and no transport by name.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

use crate::connections::activity::Activity;
use crate::connections::alarm::Alarm;
use crate::connections::bounds::Bounds;
use crate::connections::room::Place;
use crate::connections::transport::{Probe, Stream};
use crate::connections::websocket_closer::{Half, WebSocketCloser};

/// Longest time, and largest number of bytes, to read after our side is closed: what a client still sends would otherwise be
/// answered by a reset, which would destroy the response on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Reads and writes an active connection.
#[derive(Debug)]
pub(crate) struct Io {
    stream: Stream,
    held: Held,
    ahead: Bytes,
    closer: Option<Box<WebSocketCloser>>,
    /// Time of a drain.
    shutdown: Duration,
    closing: Closing,
    /// True if the stream holds bytes that the client has not taken: the last flush had to wait.
    is_flushing: bool,
    /// For an upgraded connection, which no protocol's timer looks after.
    writing: Writing,
}

/// The connection's place. Whoever has it next, or counts its end, gets what the protocol knows of that.
#[derive(Debug)]
struct Held {
    /// `None` once it was taken.
    place: Option<Place>,
    activity: Arc<Activity>,
}

impl Held {
    fn new(place: Place, activity: Arc<Activity>) -> Self {
        activity.ending.set(place.ending());
        Self { place: Some(place), activity }
    }

    fn release(&mut self) -> Option<Place> {
        let mut place = self.place.take()?;
        place.set_ending(self.activity.ending.get());
        Some(place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.release());
    }
}

/// Time that a client has to take what is written.
#[derive(Debug)]
struct Writing {
    patience: Duration,
    min_rate: u64,
    alarm: Alarm,
}

#[derive(Debug)]
enum Closing {
    Open,
    /// Our side is being closed: the stream still has bytes to send.
    Ending {
        until: Pin<Box<Sleep>>,
    },
    Lingering {
        until: Pin<Box<Sleep>>,
        left: usize,
    },
    Closed,
}

impl Closing {
    fn lingering() -> Self {
        Self::Lingering { until: Box::pin(tokio::time::sleep(LINGER)), left: LINGER_BYTES }
    }
}

impl Io {
    pub(crate) fn new(stream: Stream, place: Place, ahead: Bytes, activity: Arc<Activity>, bounds: &Bounds) -> Self {
        let (patience, min_rate) = (bounds.timeouts.write, bounds.limits.min_rate);
        let writing = Writing { patience, min_rate, alarm: Alarm::default() };
        let (held, shutdown) = (Held::new(place, activity), bounds.timeouts.shutdown);
        Self { stream, held, ahead, closer: None, shutdown, closing: Closing::Open, is_flushing: false, writing }
    }

    /// True if the client of an upgraded connection takes nothing, or too little.
    fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        let Writing { patience, min_rate, alarm } = &mut self.writing;
        let deadline =
            self.held.activity.is_upgraded().then(|| self.held.activity.write_deadline(*patience, *min_rate)).flatten();
        deadline.is_some_and(|deadline| alarm.is_late(cx, deadline))
    }

    /// Sends no close frame: the handler does so itself.
    pub(crate) fn send_no_close_frame(&mut self) {
        drop(self.held.activity.take_close_time());
        self.closer = None;
    }

    fn poll_closer(&mut self, cx: &mut Context<'_>, half: Half) {
        if let Some(at) = self.held.activity.take_close_time() {
            self.closer = Some(Box::new(WebSocketCloser::new(at, self.shutdown)));
        }
        if let Some(closer) = &mut self.closer {
            let mut stream = Pin::new(&mut self.stream);
            // An error is the application's to see, at its own next call.
            let _ = closer.poll(cx, half, |cx, bytes| stream.as_mut().poll_write(cx, bytes));
            if closer.is_sending() {
                self.held.activity.ending.tell();
                // The stream may have accepted the frame and still hold it.
                let _ = stream.poll_flush(cx);
            }
        }
    }

    /// The error for a writer whose client takes nothing, or too little.
    fn gives_up(&mut self, cx: &mut Context<'_>) -> Option<io::ErrorKind> {
        if self.closer.as_mut().is_some_and(|closer| closer.is_stuck(cx)) {
            return Some(io::ErrorKind::BrokenPipe);
        }
        self.is_stuck(cx).then_some(io::ErrorKind::TimedOut)
    }

    /// Sends what the stream still holds, and closes our side.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Activity of the connection.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.held.activity
    }

    /// Takes it apart: the connection, its place, and the bytes that nobody has read yet.
    pub(crate) fn into_parts(mut self) -> (Stream, Place, Bytes) {
        let place = self.held.release().expect("it is taken here alone, and once");
        (self.stream, place, self.ahead)
    }

    /// Reads some bytes.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read(self, buffer).await
    }

    /// Puts back bytes that were read: they come first again.
    pub(crate) fn unread(&mut self, read: &[u8]) {
        self.ahead = [read, &self.ahead].concat().into();
    }

    /// Closes our side, then reads until the client has closed its own, for a while.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        AsyncWriteExt::shutdown(self).await
    }

    /// Sends what the stream still holds, and closes our side. Nothing more of the client is awaited.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_end(cx)).await
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
            if this.ahead.is_empty() {
                // Without a byte it still holds its allocation, which a connection that rests would keep.
                this.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        this.poll_closer(cx, Half::Reader);
        if this.closer.as_mut().is_some_and(|closer| closer.is_over(cx)) {
            // Who is told so drops the connection: over TLS, the client would not hear of its end.
            let _ = this.poll_end(cx);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.held.activity.read();
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
        this.poll_closer(cx, Half::Writer);
        if let Some(late) = this.closer.as_ref().and_then(|closer| closer.late_write()) {
            if late.is_err() {
                // As when it reads.
                let _ = this.poll_end(cx);
            }
            return Poll::Ready(late.map(|()| parts.iter().map(|part| part.len()).sum()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.held.activity.wrote(&written);
        if written.is_pending()
            && let Some(error) = this.gives_up(cx)
        {
            return Poll::Ready(Err(error.into()));
        }
        if let (Some(closer), Poll::Ready(Ok(count))) = (&mut this.closer, &written) {
            let mut left = *count;
            for part in parts {
                let count = left.min(part.len());
                closer.wrote(&part[..count]);
                left -= count;
            }
            this.poll_closer(cx, Half::Writer);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        if flushed.is_pending() {
            this.is_flushing = true;
            this.held.activity.wrote(&Poll::Pending);
            return this.gives_up(cx).map_or(Poll::Pending, |error| Poll::Ready(Err(error.into())));
        }
        // A socket alone holds nothing, and knows nothing of a client that a write waits for.
        if std::mem::take(&mut this.is_flushing) {
            this.held.activity.flushed();
        }
        flushed
    }

    /// Closes our side, then reads until the client has closed its own, for a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.closing {
                Closing::Open => {
                    this.held.activity.closing();
                    match this.poll_end(cx)? {
                        Poll::Ready(()) => this.closing = Closing::lingering(),
                        // A client that takes nothing does not keep the connection.
                        Poll::Pending => {
                            let until = Box::pin(tokio::time::sleep(this.writing.patience));
                            this.closing = Closing::Ending { until };
                        }
                    }
                }
                Closing::Ending { until } => {
                    if until.as_mut().poll(cx).is_ready() {
                        this.closing = Closing::Closed;
                    } else {
                        ready!(this.poll_end(cx))?;
                        this.closing = Closing::lingering();
                    }
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::connections::progress::Progress;
    use crate::connections::room::Room;
    use crate::graceful::Life;

    /// An owner of bytes: another count of it tells whether somebody holds them.
    struct Counted {
        _count: Arc<()>,
    }

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            b"GET /"
        }
    }

    #[tokio::test]
    async fn bytes_that_were_read_ahead_are_freed_once_they_are_read() {
        let (stream, _client) = UnixStream::pair().unwrap();
        let place = Room::new(Life::default(), 1, None).take_over().unwrap();
        let activity = Arc::new(Activity::resume(&Progress::fresh()));
        let count = Arc::new(());
        let ahead = Bytes::from_owner(Counted { _count: Arc::clone(&count) });
        let mut io = Io::new(Stream::Unix(stream), place, ahead, activity, &Bounds::default());
        let mut read = [0; 4];
        assert_eq!(io.read(&mut read).await.unwrap(), 4);
        assert_eq!((&read, Arc::strong_count(&count)), (b"GET ", 2));
        assert_eq!(io.read(&mut read).await.unwrap(), 1);
        assert_eq!((read[0], Arc::strong_count(&count)), (b'/', 1));
    }
}
