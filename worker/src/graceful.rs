//! From serving to gone: what phase a worker is in, and what is done at the end.
//!
//! | phase | accepts | `/readyz` | left by |
//! |---|---|---|---|
//! | Waiting | no | 200 | `go`, at once without a supervisor |
//! | Serving | yes | 200 | a signal, or the channel's drain |
//! | LameDuck | yes | 503 | its time; only before a stop |
//! | Draining | no | 200 on an upgrade, 503 on a stop | the last connection, or `timeouts.shutdown` |
//! | Cut | no | | what is left is closed, then the hooks run |

mod hooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gin_shared::channel::DrainReason;
use tokio::sync::watch;

pub(crate) use hooks::{Hook, run_hooks};

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Ready, not told to accept yet.
    Waiting,
    /// Accepts.
    Serving,
    /// Accepts still, while balancers forget it.
    LameDuck,
    /// Accepts no more, and finishes.
    Draining,
    /// Closes what is left.
    Cut,
}

/// A worker's life as its parts, and the application, see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    stopping: watch::Sender<bool>,
    connections: watch::Sender<usize>,
    accepted: AtomicU64,
}

impl Default for Life {
    fn default() -> Self {
        Self(Arc::new(Inner {
            phase: watch::Sender::new(Phase::Waiting),
            stopping: watch::Sender::new(false),
            connections: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
        }))
    }
}

impl Life {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Whether a balancer should send requests to this host: on an upgrade it should, for the successor is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !*self.0.stopping.borrow()
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.0.connections.borrow()
    }

    /// How many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Until the worker accepts no more: for background tasks that must end with it.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender lives as long as we do.
        let _ = self.0.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Until no connection is open.
    pub(crate) async fn all_closed(&self) {
        // The sender lives as long as we do.
        let _ = self.0.connections.subscribe().wait_for(|open| *open == 0).await;
    }

    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    pub(crate) fn reach(&self, phase: Phase) {
        self.0.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }

    pub(crate) fn set_reason(&self, reason: DrainReason) {
        self.0.stopping.send_replace(reason == DrainReason::Stop);
    }

    pub(crate) fn open(&self) -> OpenConnection {
        self.0.connections.send_modify(|open| *open += 1);
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenConnection(Life);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.connections.send_modify(|open| *open -= 1);
    }
}
