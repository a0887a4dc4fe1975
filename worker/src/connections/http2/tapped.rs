//! The I/O of hyper for a connection of HTTP/2: the client's bytes go through a tap on their way.
//!
//! hyper has one half of it, and the protocol the other: it asks whether the connection rests, closes and opens the gate, and takes the
//! connection out. Both are in one task. What waits for the client goes out at the end of hyper's turn ([`TappedIo::poll_turn`]): h2
//! flushes behind each frame of a body, and answers that are ready together leave together, in one call of the system.
//!
//! hyper drops all streams when the client closes its side. Requests that wait at the gate would go unanswered because we have held them
//! back: then the gate opens, and hyper hears of the end once they are answered.

use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connections::http2::hpack;
use crate::connections::http2::state::Http2State;
use crate::connections::http2::tap::Tap;
use crate::connections::io::Io;

/// Bytes that are read at once: usually, and while requests wait at the gate. What waits there travels in one packet.
const CHUNK: usize = 16 << 10;
const CHUNK_GATED: usize = 8 << 10;
/// Bytes that may wait for the client before hyper has to wait, too.
const OUT_MAX: usize = 64 << 10;
/// Bytes of which no more are gathered for the client: as many as one write of TLS takes go out at the next flush.
const GATHERED: usize = 32 << 10;
/// Most bytes that a buffer may have held that is kept.
const KEPT: usize = 16 << 10;
/// Largest header table of a connection that is parked, in the bytes that it travels in. A full one has fewer, even with a browser's cookies:
/// each entry counts 32 bytes beside its text. Only Huffman codes that are longer than their text take more.
const PARKED_TABLE_MAX: usize = hpack::SIZE;
/// Resets of a client that are always forgiven.
const RESETS_FREE: u32 = 20;

/// Reads and writes a connection through its tap. Clones are the same connection.
#[derive(Debug, Clone)]
pub(crate) struct TappedIo(Arc<Mutex<Tapped>>);

#[derive(Debug)]
struct Tapped {
    /// `None` once the connection was taken out.
    io: Option<Io>,
    tap: Tap,
    /// True if hyper has flushed all that it has written. It may still wait here.
    is_flushed: bool,
    /// True if the stream holds nothing of what it was given.
    is_out: bool,
    /// True if so much has waited for the client that its buffer is not kept.
    has_gathered: bool,
    /// Number of requests of which the answer had ended at the last turn.
    answered: u64,
    /// True if the last turn has sent nothing, so that other answers could end.
    has_waited: bool,
    /// True if hyper wants to read, and must not yet.
    is_blocked: bool,
    /// True if the client has closed its side while requests waited at the gate.
    holds_end: bool,
    /// Woken when there is something to read.
    reader: Option<Waker>,
}

impl TappedIo {
    pub(crate) fn new(io: Io, tap: Tap) -> Self {
        let (answered, _) = io.activity().answered();
        let tapped = Tapped {
            io: Some(io),
            tap,
            is_flushed: false,
            is_out: true,
            has_gathered: false,
            answered,
            has_waited: false,
            is_blocked: false,
            holds_end: false,
            reader: None,
        };
        Self(Arc::new(Mutex::new(tapped)))
    }

    fn tapped(&self) -> MutexGuard<'_, Tapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a turn of hyper: sends what waits for the client, which hyper's own flush does not. If an answer has ended and requests are under
    /// way, those have one turn of the runtime before that: a stream wakes the connection with its answer, and tokio would run the connection
    /// before the next stream.
    pub(crate) fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut tapped = self.tapped();
        if tapped.waits_for_others() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        tapped.poll_flush(cx)
    }

    /// Sends what waits for the client.
    pub(crate) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tapped().poll_flush(cx)
    }

    /// True if the connection can be taken out now.
    pub(crate) fn is_quiet(&self) -> bool {
        let tapped = self.tapped();
        tapped.is_flushed && tapped.is_out && tapped.tap.is_quiet()
    }

    /// False if the connection will have no quiet moment any more.
    pub(crate) fn may_move(&self) -> bool {
        self.tapped().tap.may_move()
    }

    /// True if frames of hyper wait for the client's window.
    pub(crate) fn holds(&self) -> bool {
        self.tapped().tap.holds()
    }

    /// True if the connection may be parked at a quiet moment. `requests`: those that it has served. Not one with a header table that is
    /// larger than its text; nor one in the middle of a frame, which would wake up at once; nor one whose client resets many requests: hyper
    /// counts resets, and each parking makes a new hyper.
    pub(crate) fn may_park(&self, requests: u64) -> bool {
        let tapped = self.tapped();
        let resets = tapped.tap.resets();
        let resets_many = resets > RESETS_FREE && u64::from(resets) * 4 > requests;
        !tapped.tap.has_unread() && tapped.tap.table_length() <= PARKED_TABLE_MAX && !resets_many
    }

    /// Holds new requests back from here on.
    pub(crate) fn close_gate(&self) {
        self.tapped().tap.close_gate();
    }

    /// Lets requests go on, first those that have waited.
    pub(crate) fn open_gate(&self) {
        let mut tapped = self.tapped();
        tapped.tap.open_gate();
        tapped.note_held();
        tapped.wake_reader();
    }

    /// Takes the connection out, at a quiet moment: hyper reads and writes nothing afterwards. Returns what another hyper has to know, and
    /// the client's bytes that this one has not seen, which come before those that the I/O still has. `None` if it was taken before.
    pub(crate) fn leave(&self) -> Option<(Io, Http2State, Bytes)> {
        let mut tapped = self.tapped();
        let io = tapped.io.take()?;
        let (state, unread) = tapped.tap.leave();
        Some((io, state, unread))
    }
}

impl Tapped {
    /// True if this turn sends nothing: an answer has ended in it, and others may until the next. No two turns in a row.
    fn waits_for_others(&mut self) -> bool {
        let Some(io) = &self.io else { return false };
        let (answered, under_way) = io.activity().answered();
        let has_answered = mem::replace(&mut self.answered, answered) != answered;
        let has_some = !self.tap.for_wire().is_empty();
        self.has_waited = has_answered && under_way > 0 && has_some && !self.has_waited;
        self.has_waited
    }

    /// Gives the stream what waits for the client, until so much is left at most.
    fn poll_out(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        let waiting = self.tap.for_wire();
        self.has_gathered |= waiting.len() > KEPT;
        while waiting.len() > left {
            self.is_out = false;
            let count = ready!(Pin::new(&mut *io).poll_write(cx, waiting))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            waiting.advance(count);
        }
        if waiting.is_empty() && mem::take(&mut self.has_gathered) {
            *waiting = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits for the client, and what the stream holds of it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx, 0))?;
        if !self.is_out
            && let Some(io) = &mut self.io
        {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.is_out = true;
        }
        self.note_held();
        Poll::Ready(Ok(()))
    }

    /// Reads from the client into the tap. Returns the number of bytes: 0 if the client has closed its side.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(0)) };
        let most = if self.tap.gate.is_open() { CHUNK } else { CHUNK_GATED };
        let mut space = [MaybeUninit::uninit(); CHUNK];
        let mut buffer = ReadBuf::uninit(&mut space[..most]);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        match buffer.filled() {
            [] => self.tap.client_closed(),
            bytes => self.tap.from_wire(bytes),
        }
        let count = buffer.filled().len();
        self.note_held();
        Poll::Ready(Ok(count))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let waiting = self.tap.for_hyper();
            if !waiting.is_empty() {
                let count = waiting.len().min(buffer.remaining());
                buffer.put_slice(&waiting[..count]);
                waiting.advance(count);
                return Poll::Ready(Ok(()));
            }
            if !self.tap.may_read() {
                self.is_blocked = true;
                return Poll::Pending;
            }
            if !self.holds_end {
                if ready!(self.poll_in(cx))? > 0 {
                    continue;
                }
                if !self.tap.gate.is_holding() {
                    return Poll::Ready(Ok(()));
                }
                self.holds_end = true;
                self.tap.open_gate();
            } else if self.tap.ledger.owes_answers() {
                self.is_blocked = true;
                return Poll::Pending;
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Frames that wait for the client's window wait for the client, as bytes do that the socket does not take.
    fn note_held(&mut self) {
        if self.tap.holds()
            && let Some(io) = &self.io
        {
            io.activity().wrote(&Poll::Pending);
        }
    }

    fn remember_reader(&mut self, cx: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
    }

    /// Wakes hyper if it can read now and could not before.
    fn wake_reader(&mut self) {
        let may_go_on = self.is_blocked && self.tap.may_read();
        let has_bytes = !self.tap.for_hyper().is_empty();
        if (may_go_on || has_bytes)
            && let Some(reader) = self.reader.take()
        {
            self.is_blocked = false;
            reader.wake();
        }
    }
}

impl AsyncRead for TappedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut tapped = self.tapped();
        tapped.is_blocked = false;
        let read = tapped.poll_read(cx, buffer);
        if read.is_pending() {
            tapped.remember_reader(cx);
        }
        read
    }
}

impl AsyncWrite for TappedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    /// Takes all bytes. They go out at the end of hyper's turn: the head of a response and its beginning are one write.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut tapped = self.tapped();
        tapped.is_flushed = false;
        if tapped.tap.for_wire().len() > OUT_MAX {
            ready!(tapped.poll_out(cx, GATHERED))?;
        }
        for part in parts {
            tapped.tap.from_hyper(part);
        }
        tapped.note_held();
        tapped.wake_reader();
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    /// True: the head of a frame and its payload come in one call, and h2 copies nothing of the payload.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sends what has become much. The rest is packed with what comes behind it in this turn.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut tapped = self.tapped();
        ready!(tapped.poll_out(cx, GATHERED))?;
        tapped.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    /// Closes our side, once all is out that hyper takes for sent: frames may wait for the client's window.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tapped = &mut *self.tapped();
        loop {
            ready!(tapped.poll_flush(cx))?;
            if !tapped.tap.holds() || ready!(tapped.poll_in(cx))? == 0 {
                break;
            }
            // Nobody reads any more.
            tapped.tap.for_hyper().clear();
        }
        tapped.io.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_shutdown(cx))
    }
}
