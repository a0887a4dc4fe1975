//! Spans that wait to be sent.
//!
//! They are bytes, in chunks. A chunk is what one batch takes. Each buffer counts in full against the bound of the memory, also one that
//! is kept for later spans, and the one of the batch that is being sent.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::waiting::{Next, Pushed, Waiting};

/// Longest wait of a span once the end of the process is near.
const HURRY: Duration = Duration::from_millis(100);

/// An end that spans come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has taken them.
    Sent,
    /// The receiver has refused them.
    Refused,
    /// There was no room for them.
    Dropped,
    /// They still waited at the end.
    Lost,
}

/// Counts spans by their ends.
pub trait Counts: Send + Sync + 'static {
    /// Adds spans that have come to this end.
    fn add(&self, outcome: Outcome, spans: u64);
}

/// Takes spans for an exporter.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    counts: Arc<dyn Counts>,
    /// URL of the receiver, for the log.
    receiver: String,
    /// Wakes the exporter.
    wake: Notify,
    /// Wakes those who flush.
    settled: Notify,
    /// Wakes threads that flush.
    settled_blocking: Condvar,
}

impl Sink {
    pub(crate) fn new(receiver: String, interval: Duration, memory: usize, counts: Arc<dyn Counts>) -> Self {
        let waiting = Mutex::new(Waiting::new(interval, memory));
        let (wake, settled, settled_blocking) = (Notify::new(), Notify::new(), Condvar::new());
        Self(Arc::new(Shared { waiting, counts, receiver, wake, settled, settled_blocking }))
    }

    /// Takes a whole message `Span`. Without room for it, it is dropped and counted.
    pub fn push(&self, span: &[u8]) {
        let pushed = self.lock().push(span);
        match pushed {
            Pushed::Added => {}
            Pushed::Due => self.0.wake.notify_one(),
            Pushed::Dropped => self.0.counts.add(Outcome::Dropped, 1),
        }
    }

    /// Sends spans after 100 ms at most from now on, for the process is about to end.
    pub fn hurry(&self) {
        self.lock().hurry(HURRY);
        self.0.wake.notify_one();
    }

    /// Waits until no span waits, within this time, and returns the number of spans that were lost. Spans that come later are dropped.
    pub async fn flush(&self, within: Duration) -> u64 {
        self.close();
        let settled = async {
            loop {
                let told = self.0.settled.notified();
                if let Some(lost) = self.lost() {
                    return lost;
                }
                told.await;
            }
        };
        match timeout(within, settled).await {
            Ok(lost) => lost,
            Err(_) => self.give_up_after(within),
        }
    }

    /// The same for a thread without a runtime.
    pub fn flush_blocking(&self, within: Duration) -> u64 {
        self.close();
        let is_open = |waiting: &mut Waiting| waiting.lost().is_none();
        let waited = self.0.settled_blocking.wait_timeout_while(self.lock(), within, is_open);
        let lost = waited.unwrap_or_else(PoisonError::into_inner).0.lost();
        lost.unwrap_or_else(|| self.give_up_after(within))
    }

    /// Number of the spans that wait or are being sent, and of their bytes.
    #[must_use]
    pub fn waiting(&self) -> (u64, usize) {
        self.lock().count()
    }

    fn close(&self) {
        self.lock().close();
        self.0.wake.notify_one();
    }

    fn lost(&self) -> Option<u64> {
        self.lock().lost()
    }

    fn give_up_after(&self, within: Duration) -> u64 {
        self.give_up(&format!("no answer from {} within {within:?}", self.0.receiver))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exporter's side.
impl Sink {
    pub(crate) fn receiver(&self) -> &str {
        &self.0.receiver
    }

    /// Waits until there is something to look at: a chunk, an end, or another interval.
    pub(crate) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    /// Takes a chunk that is full or old enough. After [`Sink::flush`] each is.
    pub(crate) fn take(&self, now: Instant) -> Next {
        self.lock().take(now)
    }

    /// True if a flush has begun.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed()
    }

    /// True if nothing is sent any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.lost().is_some()
    }

    /// Number of the spans that had no room so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped()
    }

    /// Ends a batch: its buffer of `capacity` bytes is kept for other spans, where it comes back. Spans that were given up meanwhile are
    /// counted as lost already.
    pub(crate) fn finish(&self, buffer: Vec<u8>, capacity: usize, outcomes: &[(Outcome, u64)]) {
        let is_counted_here = self.lock().finish(buffer, capacity);
        if is_counted_here {
            for (outcome, spans) in outcomes.iter().filter(|(_, spans)| *spans > 0) {
                self.0.counts.add(*outcome, *spans);
            }
        }
    }

    /// Counts all spans as lost that still wait, and returns their number. Only the first call does so.
    pub(crate) fn give_up(&self, why: &str) -> u64 {
        let settled = self.lock().settle();
        self.0.settled.notify_waiters();
        self.0.settled_blocking.notify_all();
        self.0.wake.notify_one();
        if settled.is_first && settled.lost > 0 {
            self.0.counts.add(Outcome::Lost, settled.lost);
            tracing::warn!(target: "gin_otlp", "{} spans were not sent: {why}", settled.lost);
        }
        settled.lost
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("receiver", &self.0.receiver)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
