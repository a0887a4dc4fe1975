//! Spans that wait to be sent.

use std::time::Duration;

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
#[derive(Debug, Clone, Default)]
pub struct Sink(());

impl Sink {
    /// Takes a whole message `Span`. Without room for it, it is dropped and counted.
    pub fn push(&self, _: &[u8]) {}

    /// Sends spans after 100 ms at most from now on, for the process is about to end.
    pub fn hurry(&self) {}

    /// Waits until no span waits, within this time, and returns the number of spans that were lost. Spans that come later are dropped.
    pub async fn flush(&self, _: Duration) -> u64 {
        0
    }

    /// The same for a thread without a runtime.
    pub fn flush_blocking(&self, _: Duration) -> u64 {
        0
    }

    /// Number of the spans that wait or are being sent, and of their bytes.
    #[must_use]
    pub fn waiting(&self) -> (u64, usize) {
        (0, 0)
    }
}
