//! Streams of one connection of HTTP/2 whose responses are on their way: what the client has not taken yet, and for how long.
//!
//! The window of a stream is its client's, and hyper waits for it without end. So what a response gives to hyper is a [`Piece`],
//! which tells its stream when bytes of it are written. A stream of which the client takes nothing for `timeouts.write`, or less than
//! `limits.min_rate`, is reset. If only the end of a short response is left, for which no task waits any more, the connection ends.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::task::AbortHandle;

use crate::connections::alarm::LATE_LOOK;
use crate::connections::bounds::Bounds;
use crate::connections::held::Held;
use crate::connections::pace::Pace;

/// Bytes that a connection may have taken for each of its streams before one of them had its turn again. h2 gives each a frame of
/// 16 KiB in turn.
const ROUND: u64 = 32 << 10;
/// Bytes that wait for a client, on one connection, from which on little more is read ahead for it.
const WAITING_MAX: usize = 512 << 10;
/// Bytes that are read ahead for a stream: usually, and once so many wait.
const READ_AHEAD: u64 = 64 << 10;
const READ_AHEAD_LEAST: u64 = 8 << 10;
/// A longer body keeps its end back until all of it is taken. The usual window (RFC 9113, section 6.9.2) covers a shorter one: its
/// client need not open it, and the end must come with the last bytes.
const LONG: u64 = 65_535;

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct Streams {
    all: Mutex<Vec<Weak<Stream>>>,
    /// The stream that began last: its task is still to be spawned.
    newest: Mutex<Option<Arc<Stream>>>,
    /// Bytes that the client has taken.
    moved: AtomicU64,
    /// Bytes that wait for the client.
    waiting: AtomicUsize,
    /// Memory of the requests' bodies.
    pub(crate) held: Arc<Held>,
}

/// A stream whose response is on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    streams: Arc<Streams>,
    taking: Mutex<Taking>,
    task: OnceLock<AbortHandle>,
}

/// Progress of a client with one response.
#[derive(Debug, Default)]
struct Taking {
    pace: Pace,
    /// Bytes that were given.
    given: u64,
    /// Bytes of these that were not taken.
    waiting: usize,
    /// Woken when all are taken.
    taken: Option<Waker>,
    /// Bytes that this stream has taken since it began to wait.
    own: u64,
    /// The moment at which this stream began to wait, and the bytes that the whole connection had taken then.
    began: Option<Instant>,
    moved_before: u64,
    /// The last look at which it had had no turn, and the bytes that the whole connection had taken then.
    passed_over: Option<(Instant, u64)>,
    /// True if the client was found late, and is looked at once more.
    found_late: bool,
}

/// Outcome of a look at clients that take nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing. Look again at this moment, if there is one.
    Wait(Option<Instant>),
    /// A response is stuck for which no task waits: only the connection can be ended.
    EndConnection,
}

impl Streams {
    /// Streams whose requests' bodies may hold so many bytes together before one at a time goes on.
    pub(crate) fn new(share: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Mutex::default(),
            newest: Mutex::default(),
            moved: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            held: Held::new(share),
        })
    }

    /// True if bytes wait for the client.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Begins a response. Its task is the next one that is spawned.
    pub(crate) fn begin(self: &Arc<Self>) -> Arc<Stream> {
        let stream = Arc::new(Stream { streams: Arc::clone(self), taking: Mutex::default(), task: OnceLock::new() });
        let mut all = lock(&self.all);
        if all.len() == all.capacity() {
            all.retain(|stream| stream.strong_count() > 0);
        }
        all.push(Arc::downgrade(&stream));
        drop(all);
        *lock(&self.newest) = Some(Arc::clone(&stream));
        stream
    }

    /// The task that serves the stream that began last.
    pub(crate) fn spawned(&self, task: AbortHandle) {
        if let Some(stream) = lock(&self.newest).take() {
            let _ = stream.task.set(task);
        }
    }

    /// Bytes to read ahead for one more piece of a response.
    pub(crate) fn read_ahead(&self) -> u64 {
        if self.waiting.load(Ordering::Relaxed) < WAITING_MAX { READ_AHEAD } else { READ_AHEAD_LEAST }
    }

    /// Looks at all streams, and resets those whose client is late.
    pub(crate) fn look(&self, now: Instant, bounds: &Bounds) -> Verdict {
        let streams: Vec<Arc<Stream>> = lock(&self.all).iter().filter_map(Weak::upgrade).collect();
        let mut next: Option<Instant> = None;
        for stream in &streams {
            match stream.look(now, streams.len(), bounds) {
                Look::Again(at) => next = Some(next.map_or(at, |next| next.min(at))),
                Look::Nothing => {}
                Look::Late => match stream.task.get() {
                    Some(task) if !task.is_finished() => {
                        tracing::debug!("stream reset: the client takes nothing of the response, or too little");
                        task.abort();
                        // What it holds is dropped when the connection can write again.
                        stream.begin_anew(now);
                    }
                    Some(_) | None => return Verdict::EndConnection,
                },
            }
        }
        Verdict::Wait(next)
    }
}

/// A look at one stream.
enum Look {
    Nothing,
    Again(Instant),
    Late,
}

impl Stream {
    fn taking(&self) -> MutexGuard<'_, Taking> {
        lock(&self.taking)
    }

    /// Gives bytes to the client.
    pub(crate) fn give(self: &Arc<Self>, bytes: Bytes) -> Piece {
        self.streams.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        let mut taking = self.taking();
        if taking.waiting == 0 && !bytes.is_empty() {
            let now = Instant::now();
            self.wait(&mut taking, now);
            (taking.began, taking.moved_before, taking.own) =
                (Some(now), self.streams.moved.load(Ordering::Relaxed), 0);
        }
        taking.waiting += bytes.len();
        taking.given += bytes.len() as u64;
        drop(taking);
        Piece { bytes, stream: Some(Arc::clone(self)) }
    }

    /// True if the end of this body is kept back until all of it is taken.
    pub(crate) fn is_long(&self) -> bool {
        self.taking().given > LONG
    }

    /// Waits until all that was given is taken.
    pub(crate) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taking = self.taking();
        if taking.waiting == 0 {
            return Poll::Ready(());
        }
        taking.taken = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wait(&self, taking: &mut Taking, now: Instant) {
        taking.pace.wait(now);
        taking.passed_over = None;
    }

    fn begin_anew(&self, now: Instant) {
        let mut taking = self.taking();
        (taking.pace, taking.found_late) = (Pace::default(), false);
        self.wait(&mut taking, now);
    }

    /// Records that the client has taken bytes.
    fn took(&self, count: usize) {
        self.streams.moved.fetch_add(count as u64, Ordering::Relaxed);
        let (mut taking, now) = (self.taking(), Instant::now());
        taking.pace.moved(count, || now);
        taking.own += count as u64;
        self.less(taking, count, now);
    }

    /// Records that bytes were dropped: nobody will take them.
    fn dropped(&self, count: usize) {
        self.less(self.taking(), count, Instant::now());
    }

    /// Records that fewer bytes wait.
    fn less(&self, mut taking: MutexGuard<'_, Taking>, count: usize, now: Instant) {
        self.streams.waiting.fetch_sub(count, Ordering::Relaxed);
        taking.waiting -= count;
        if taking.waiting > 0 {
            return self.wait(&mut taking, now);
        }
        taking.pace.rest(now);
        let taken = taking.taken.take();
        drop(taking);
        if let Some(taken) = taken {
            taken.wake();
        }
    }

    fn look(&self, now: Instant, streams: usize, bounds: &Bounds) -> Look {
        let mut taking = self.taking();
        let (write, min_rate) = (bounds.timeouts.write, bounds.limits.min_rate);
        let Some(deadline) = taking.pace.deadline(write, min_rate) else { return Look::Nothing };
        if now < deadline {
            taking.found_late = false;
            return Look::Again(deadline);
        }
        let moved = self.streams.moved.load(Ordering::Relaxed);
        let (looked, before) = taking.passed_over.unwrap_or((taking.began.unwrap_or(now), taking.moved_before));
        let crowd = Crowd {
            streams: streams as u64,
            own: taking.own,
            all: moved - taking.moved_before,
            lately: moved - before,
            time: now.saturating_duration_since(looked),
        };
        if crowd.explains_the_wait(min_rate) {
            (taking.found_late, taking.passed_over) = (false, Some((now, moved)));
            return Look::Again(now + write);
        }
        if std::mem::replace(&mut taking.found_late, true) { Look::Late } else { Look::Again(now + LATE_LOOK) }
    }
}

/// The streams around one that waits.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    streams: u64,
    /// Bytes that this one took since it waits, and those of the whole connection.
    own: u64,
    all: u64,
    /// Bytes of these since the last look, and the time since then.
    lately: u64,
    time: Duration,
}

impl Crowd {
    /// True if a stream may have had no turn yet: the connection as a whole goes on at its pace, and all its streams share that.
    fn explains_the_wait(self, min_rate: u64) -> bool {
        let goes_on = self.lately >= min_rate.max(1).saturating_mul(self.time.as_secs().max(1));
        goes_on && self.all <= ROUND.saturating_add(self.own).saturating_mul(self.streams)
    }
}

/// Bytes of a response on their way to the client.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    /// `None` over HTTP/1.1, where the connection is the response's alone.
    stream: Option<Arc<Stream>>,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, stream: None }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(stream) = &self.stream {
            stream.took(count);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        let copied = self.bytes.copy_to_bytes(length);
        if let Some(stream) = &self.stream {
            stream.took(length);
        }
        copied
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream
            && !self.bytes.is_empty()
        {
            stream.dropped(self.bytes.len());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(streams: &Arc<Streams>) -> Arc<Stream> {
        let stream = streams.begin();
        streams.spawned(tokio::spawn(std::future::pending::<()>()).abort_handle());
        stream
    }

    fn is_reset(stream: &Stream) -> bool {
        stream.task.get().is_some_and(AbortHandle::is_finished)
    }

    #[tokio::test]
    async fn a_stream_that_nobody_takes_is_reset_and_its_neighbours_are_not() {
        let (streams, bounds) = (Streams::new(0), Bounds::default());
        let (stuck, moving) = (stream(&streams), stream(&streams));
        let _stuck_piece = stuck.give(Bytes::from_static(&[0; 1000]));
        let mut piece = moving.give(Bytes::from(vec![0; 1 << 20]));
        let late = Instant::now() + bounds.timeouts.write;
        assert!(matches!(streams.look(Instant::now(), &bounds), Verdict::Wait(Some(at)) if at <= late));
        // So much that the other one had many turns.
        piece.advance(1 << 18);
        let late = late + Duration::from_millis(10);
        assert!(matches!(streams.look(late, &bounds), Verdict::Wait(Some(_))));
        piece.advance(1);
        assert!(matches!(streams.look(late + LATE_LOOK, &bounds), Verdict::Wait(Some(_))));
        tokio::task::yield_now().await;
        assert!(is_reset(&stuck) && !is_reset(&moving));
    }

    #[tokio::test]
    async fn a_stream_that_is_taken_a_little_now_and_then_is_reset() {
        let (streams, mut bounds) = (Streams::new(0), Bounds::default());
        (bounds.timeouts.write, bounds.limits.min_rate) = (Duration::from_millis(200), 1 << 20);
        let slow = stream(&streams);
        let mut piece = slow.give(Bytes::from(vec![0; 1 << 20]));
        let began = Instant::now();
        // It takes something between any two looks.
        while !is_reset(&slow) {
            piece.advance(1000);
            streams.look(Instant::now(), &bounds);
            assert!(began.elapsed() < Duration::from_secs(10), "{} are left", piece.remaining());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_stuck_rest_that_no_task_waits_for_ends_the_connection() {
        let (streams, bounds) = (Streams::new(0), Bounds::default());
        let stuck = stream(&streams);
        let piece = stuck.give(Bytes::from_static(b"the end"));
        stuck.task.get().unwrap().abort();
        tokio::task::yield_now().await;
        let late = Instant::now() + bounds.timeouts.write;
        assert!(matches!(streams.look(late, &bounds), Verdict::Wait(_)));
        assert_eq!(streams.look(late + LATE_LOOK, &bounds), Verdict::EndConnection);
        drop(piece);
        assert_eq!(streams.look(late + LATE_LOOK, &bounds), Verdict::Wait(None));
    }

    #[test]
    fn streams_that_share_a_slow_link_wait_for_their_turn() {
        let crowd = Crowd { streams: 100, own: 0, all: 600_000, lately: 300_000, time: Duration::from_secs(30) };
        assert!(crowd.explains_the_wait(240));
        assert!(!Crowd { streams: 10, ..crowd }.explains_the_wait(240), "it had its turns");
        assert!(!Crowd { lately: 5_000, ..crowd }.explains_the_wait(240), "all of them are slow");
        assert!(!Crowd { lately: 0, ..crowd }.explains_the_wait(0));
    }
}
