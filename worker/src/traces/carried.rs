//! A future in its span.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::current::{self, Frame};
use super::open::Open;

pin_project_lite::pin_project! {
    /// A future that works for a span whenever it runs: see [`carry`](super::carry).
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is polled"]
    pub struct Carried<F> {
        #[pin]
        future: F,
        slot: Option<Frame>,
    }
}

impl<F> Carried<F> {
    /// The future in this frame. `None`: it stays where it is polled.
    pub(super) fn new(future: F, slot: Option<Frame>) -> Self {
        Self { future, slot }
    }

    /// The same for a span that is recorded.
    pub(super) fn open(future: F, open: Option<Box<Open>>) -> Self {
        Self::new(future, open.map(Frame::Recording))
    }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future;
        let polled = current::within(this.slot, || future.poll(cx));
        if polled.is_ready() {
            // The span ends here, and not with the last owner of the future.
            *this.slot = None;
        }
        polled
    }
}

pin_project_lite::pin_project! {
    /// A future in a span of somebody else.
    pub(super) struct Around<'a, F> {
        #[pin]
        future: F,
        open: &'a mut Option<Box<Open>>,
    }
}

impl<'a, F> Around<'a, F> {
    pub(super) fn new(future: F, open: &'a mut Option<Box<Open>>) -> Self {
        Self { future, open }
    }
}

impl<F: Future> Future for Around<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future;
        current::within_open(this.open, || future.poll(cx))
    }
}
