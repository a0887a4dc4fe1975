//! Tasks beside the loop. The loop lives by what they tell it, so a task that panics takes the master with it.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::task::{JoinHandle, yield_now};

/// Turns of the loop in which work takes in what has come: the kernel's events first, and then the steps of who reads them.
const TURNS: usize = 8;

/// Runs `future` beside the loop, on its thread.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio::task::spawn_local(until_panic(future))
}

/// Has `work` take in everything that has come; gives its outcome if it is done then.
///
/// tokio looks at the kernel's events between two turns of its loop. So a process that was stopped, or busy for long, knows of what
/// has come meanwhile after the next turn only.
pub async fn catch_up<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    for _ in 0..TURNS {
        tokio::select! {
            biased;
            done = work.as_mut() => return Some(done),
            () = yield_now() => {}
        }
    }
    None
}

/// Waits for `work`, for `time` at most. What has come in time counts, however late this process looks at it.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = work.as_mut() => Some(done),
        () = tokio::time::sleep(time) => catch_up(work.as_mut()).await,
    }
}

/// Runs `future`, and aborts the process if it panics.
///
/// A master that panics ends as one that is killed does: at once, with everything left for the next one to adopt. It must not
/// go on without a part of itself, and not know of its workers what it has to.
pub async fn until_panic<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            crate::telemetry::flush();
            std::process::abort()
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_has_come_in_time_counts_though_the_time_is_over() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(within(Duration::ZERO, ours.read_u8()).await.unwrap().unwrap(), b'x');
        assert!(within(Duration::ZERO, ours.read_u8()).await.is_none());
    }
}
