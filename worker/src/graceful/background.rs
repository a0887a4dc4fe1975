//! Tasks of the application beside its requests, which end with the worker.

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Life;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One of them.
pub(crate) struct Background {
    name: String,
    /// How long it may take after the last connection.
    timeout: Duration,
    task: Box<dyn FnOnce(Life) -> Task + Send>,
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("name", &self.name).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Those that run.
#[derive(Debug)]
pub(crate) struct Running(Vec<(String, Duration, JoinHandle<()>)>);

impl Background {
    pub(crate) fn new<F, R>(name: &str, timeout: Duration, task: F) -> Self
    where
        F: FnOnce(Life) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self { name: name.to_owned(), timeout, task: Box::new(|life| Box::pin(task(life))) }
    }

    /// Puts the task into a future that `wrap` makes of its name and the task.
    pub(crate) fn map(self, wrap: impl FnOnce(&str, Task) -> Task + Send + 'static) -> Self {
        let Self { name, timeout, task } = self;
        let own = name.clone();
        Self { name, timeout, task: Box::new(move |life| wrap(&own, task(life))) }
    }

    pub(crate) fn start(all: Vec<Self>, life: &Life) -> Running {
        let start = |one: Self| (one.name, one.timeout, tokio::spawn((one.task)(life.clone())));
        Running(all.into_iter().map(start).collect())
    }
}

impl Running {
    /// How long they may take at most.
    pub(crate) fn patience(&self) -> Duration {
        self.0.iter().map(|(_, timeout, _)| *timeout).max().unwrap_or_default()
    }

    /// They have their time at once, not one after the other. Returns what went wrong, a sentence for each task.
    pub(crate) async fn finish(self) -> Vec<String> {
        let (began, mut failures) = (Instant::now(), Vec::new());
        for (name, timeout, mut task) in self.0 {
            let left = timeout.saturating_sub(began.elapsed());
            match tokio::time::timeout(left, &mut task).await {
                Ok(Ok(())) => tracing::info!(task = name, "background task done"),
                Ok(Err(panic)) => {
                    tracing::error!(task = name, "background task panicked: {panic}");
                    failures.push(format!("background task {name:?} panicked: {panic}"));
                }
                Err(_) => {
                    task.abort();
                    tracing::error!(task = name, "background task did not end within {timeout:?}");
                    failures.push(format!("background task {name:?} did not end within {timeout:?}"));
                }
            }
        }
        failures
    }
}
