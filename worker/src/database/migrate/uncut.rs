//! Migrations that are not to be cut off: those without a transaction, for a half of one would remain. A process that is asked to stop in
//! the midst of one ends it first, and begins no other.

use tokio::sync::watch;

/// The one that runs. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uncut(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    runs: bool,
    /// The process is asked to stop.
    is_leaving: bool,
}

/// A migration that runs. Dropped, it has ended.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Uncut);

impl Uncut {
    /// Begins one. `None`: the process is asked to stop.
    pub(super) fn begin(&self) -> Option<Running<'_>> {
        let mut may = false;
        self.0.send_modify(|state| {
            may = !state.is_leaving;
            state.runs = may;
        });
        may.then(|| Running(self))
    }

    /// Lets no other one begin, and waits for the end of the one that runs.
    pub(crate) async fn leave(&self) {
        self.0.send_modify(|state| state.is_leaving = true);
        if self.0.borrow().runs {
            tracing::info!("a migration without a transaction runs: the process ends it before it stops");
        }
        let mut changes = self.0.subscribe();
        // The sender is in `self`.
        let _ = changes.wait_for(|state| !state.runs).await;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.runs = false);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_stop_waits_for_the_one_that_runs_and_no_other_one_begins() {
        let uncut = Uncut::default();
        drop(uncut.begin().unwrap());
        let running = uncut.begin().unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut leaving = pin!(uncut.leave());
        assert!(leaving.as_mut().poll(&mut context).is_pending());
        drop(running);
        assert!(uncut.begin().is_none());
        assert!(leaving.as_mut().poll(&mut context).is_ready());
    }
}
