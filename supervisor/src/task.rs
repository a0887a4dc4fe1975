//! Tasks beside the loop. The loop lives by what they tell it, so a task that panics takes the master with it.

use std::panic::AssertUnwindSafe;

use tokio::task::JoinHandle;

/// Runs `future` beside the loop, on its thread.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio::task::spawn_local(until_panic(future))
}

/// Runs `future`, and aborts the process if it panics.
///
/// A master that panics ends as one that is killed does: at once, with everything left for the next one to adopt. It must not
/// go on without a part of itself, and not know of its workers what it has to.
pub async fn until_panic<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            crate::telemetry::flush();
            std::process::abort()
        })
    })
    .await
}
