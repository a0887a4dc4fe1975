//! Frames a second: more wait in the socket.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Allowance of one WebSocket: a second's worth may come at once.
#[derive(Debug)]
pub(super) struct Rate {
    /// Time that a frame takes up.
    each: Duration,
    /// The moment at which all frames that have come would have come at an even pace.
    even: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Rate {
    /// A rate of so many frames a second.
    pub(super) fn new(a_second: u32) -> Self {
        Self { each: Duration::from_secs(1) / a_second, even: Instant::now(), sleep: None }
    }

    /// Waits until one more frame may come.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let from = self.even + self.each;
        let now = Instant::now();
        if from <= now + Duration::from_secs(1) {
            self.sleep = None;
            return Poll::Ready(());
        }
        let at = from.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        let polled = sleep.as_mut().poll(cx);
        if polled.is_ready() {
            self.sleep = None;
        }
        polled
    }

    /// True if a frame waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.sleep.is_some()
    }

    /// Counts a frame that has come.
    pub(super) fn count(&mut self) {
        self.even = self.even.max(Instant::now()) + self.each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_seconds_worth_comes_at_once_and_the_rest_at_an_even_pace() {
        // Time does not pass by itself here: the even moment is moved.
        let mut rate = Rate::new(10);
        let ready = |rate: &mut Rate| rate.poll_ready(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
        for number in 0..10 {
            assert!(ready(&mut rate), "frame {number}");
            rate.count();
        }
        assert!(!ready(&mut rate));
        rate.even -= Duration::from_millis(200);
        rate.sleep = None;
        assert!(ready(&mut rate));
    }
}
