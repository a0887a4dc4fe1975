//! A background task that traces, the list of those that are alive, or both follow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Observed;
use super::requests::{Watch, What};
use crate::traces;

/// Follows a background task to its end.
pub(crate) fn task<F>(
    observed: &'static Observed,
    name: &str,
    future: F,
) -> Pin<Box<dyn Future<Output = F::Output> + Send>>
where
    F: Future + Send + 'static,
    F::Output: 'static,
{
    let name: Arc<str> = Arc::from(name);
    let watch = observed.requests.map(|requests| requests.enter(What::Task { name: Arc::clone(&name) }));
    let future = Watching { future, watch };
    match observed.traces {
        Some(tracer) => Box::pin(traces::task(tracer, name, future)),
        None => Box::pin(future),
    }
}

pin_project_lite::pin_project! {
    /// A task that is followed.
    struct Watching<F> {
        #[pin]
        future: F,
        watch: Option<Watch>,
    }
}

impl<F: Future> Future for Watching<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future;
        let polled = match &this.watch {
            Some(watch) => watch.within(|| future.poll(cx)),
            None => future.poll(cx),
        };
        if polled.is_ready() {
            // The task is over, also where its owner keeps it.
            *this.watch = None;
        }
        polled
    }
}
