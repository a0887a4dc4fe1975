//! What the application does at the end: named steps in the order they were registered, each with its own time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::millis_since;

type HookResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;
type HookFuture = Pin<Box<dyn Future<Output = HookResult> + Send>>;

/// One step.
pub(crate) struct Hook {
    name: String,
    /// How long it may take.
    pub(crate) timeout: Duration,
    run: Box<dyn FnOnce() -> HookFuture + Send>,
}

impl Hook {
    pub(crate) fn new<F, R>(name: impl Into<String>, timeout: Duration, run: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = HookResult> + Send + 'static,
    {
        Self { name: name.into(), timeout, run: Box::new(|| Box::pin(run())) }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("name", &self.name).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Runs all, whatever becomes of each. Returns what went wrong, a sentence for each hook.
pub(crate) async fn run_hooks(hooks: Vec<Hook>) -> Vec<String> {
    let mut failures = Vec::new();
    for hook in hooks {
        let began = Instant::now();
        // A task of its own: a panic in one must not keep the others from running.
        let mut task = tokio::spawn((hook.run)());
        let outcome = tokio::time::timeout(hook.timeout, &mut task).await;
        let (name, took_ms) = (hook.name, millis_since(began));
        match outcome {
            Ok(Ok(Ok(()))) => tracing::info!(hook = name, took_ms, "shutdown hook done"),
            Ok(Ok(Err(error))) => {
                tracing::error!(hook = name, took_ms, "shutdown hook failed: {error}");
                failures.push(format!("shutdown hook {name:?} failed: {error}"));
            }
            Ok(Err(panic)) => {
                tracing::error!(hook = name, took_ms, "shutdown hook panicked: {panic}");
                failures.push(format!("shutdown hook {name:?} panicked: {panic}"));
            }
            Err(_) => {
                task.abort();
                tracing::error!(hook = name, took_ms, "shutdown hook did not end within {:?}", hook.timeout);
                failures.push(format!("shutdown hook {name:?} did not end within {:?}", hook.timeout));
            }
        }
    }
    failures
}
