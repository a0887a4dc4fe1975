//! Server-sent events in a drain: the stream ends where an event does.

use std::future::Future;
use std::pin::Pin;
use std::task::Context as Task;

use crate::graceful::Life;

/// Finds the end of an event in a stream that never ends by itself, so that the client goes on from there (HTML, section 9.2).
pub(super) struct Events {
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_draining: bool,
    /// Last bytes that were sent.
    last: [u8; 4],
}

impl Events {
    /// Follows a stream that ends when this worker drains.
    pub(super) fn until_drain(life: &Life) -> Self {
        let life = life.clone();
        // Before the first event nothing is half sent.
        Self { draining: Box::pin(async move { life.draining().await }), is_draining: false, last: *b"\0\0\n\n" }
    }

    /// Follows bytes that are sent.
    pub(super) fn sent(&mut self, data: &[u8]) {
        for byte in &data[data.len().saturating_sub(self.last.len())..] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
        }
    }

    /// True if the next byte would begin an event, and the worker drains.
    pub(super) fn are_over(&mut self, cx: &mut Task<'_>) -> bool {
        self.is_draining = self.is_draining || self.draining.as_mut().poll(cx).is_ready();
        self.is_draining && (self.last.ends_with(b"\n\n") || self.last.ends_with(b"\r\r") || self.last == *b"\r\n\r\n")
    }
}
