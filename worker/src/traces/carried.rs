//! A future in its span.
//!
//! A future that is dropped in the middle, as the one of a request whose client has gone, ends in its span, too: a query that it waits
//! for then has a span, below this one.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::current::{self, Frame};
use super::open::Open;

pin_project_lite::pin_project! {
    /// A future that works for a span whenever it runs: see [`carry`](super::carry).
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is polled"]
    pub struct Carried<F> {
        // None in the midst of the drop alone.
        #[pin]
        future: Option<F>,
        slot: Option<Frame>,
        must_end: bool,
    }

    impl<F> PinnedDrop for Carried<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut future = this.future;
            current::within(this.slot, || future.set(None));
            if let Some(Frame::Recording(open)) = this.slot
                && *this.must_end
            {
                open.cancelled();
            }
        }
    }
}

impl<F> Carried<F> {
    /// The future in this frame. `None`: it stays where it is polled.
    pub(super) fn new(future: F, slot: Option<Frame>) -> Self {
        Self { future: Some(future), slot, must_end: false }
    }

    /// The same for a span that is recorded.
    pub(super) fn open(future: F, open: Option<Box<Open>>) -> Self {
        Self::new(future, open.map(Frame::Recording))
    }

    /// The same where the span has failed if the future is dropped before its end. An application may give up a future of its own
    /// whenever it likes: in a `select!`, say.
    pub(super) fn must_end(mut self) -> Self {
        self.must_end = true;
        self
    }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
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
        // None in the midst of the drop alone.
        #[pin]
        future: Option<F>,
        open: &'a mut Option<Box<Open>>,
    }

    impl<F> PinnedDrop for Around<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut future = this.future;
            current::within_open(this.open, || future.set(None));
        }
    }
}

impl<'a, F> Around<'a, F> {
    pub(super) fn new(future: F, open: &'a mut Option<Box<Open>>) -> Self {
        Self { future: Some(future), open }
    }
}

impl<F: Future> Future for Around<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        current::within_open(this.open, || future.poll(cx))
    }
}
