//! The task of a part that removes what has expired.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

/// Time between two sweeps.
const PAUSE: Duration = Duration::from_secs(60);

/// The task, while it runs. A part that was never closed, as in a test, leaves no task behind.
#[derive(Default)]
pub(crate) struct Sweeper(Mutex<Option<JoinHandle<()>>>);

impl Sweeper {
    /// Begins the task, in place of one that runs: it sweeps after this time, and then once a minute.
    pub(crate) fn begin<F>(&self, first: Duration, sweep: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task: JoinHandle<()> = tokio::spawn(async move {
            if !first.is_zero() {
                tokio::time::sleep(first).await;
            }
            loop {
                let one = sweep();
                one.await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Ends the task.
    pub(crate) fn end(&self) {
        let task = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.end();
    }
}
