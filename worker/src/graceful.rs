//! Phases of a worker, from serving to gone, and the hooks at its end.
//!
//! [`Life`] is the one place that every part of a worker looks at to know the phase, and where connections are counted. What leads
//! from one phase to the next is decided in `worker`.
//!
//! | phase | accepts | `/readyz` | left by |
//! |---|---|---|---|
//! | Waiting | no | 200 | `go`, at once without a supervisor |
//! | Serving | yes | 200 | a signal, or the channel's drain |
//! | LameDuck | yes | 503 | its time; only before a stop |
//! | Draining | no | 200 on an upgrade, 503 on a stop | the last connection, or `timeouts.shutdown` |
//! | Cut | no | | what is left is closed, then the hooks run |

mod background;
mod hooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use gin_shared::channel::{DrainReason, Fates};
use tokio::sync::watch;

pub(crate) use background::{Background, Running};
pub(crate) use hooks::{Hook, run_hooks};

/// Milliseconds since then, for the log: to the microsecond, as the latency of requests is told.
pub(crate) fn millis_since(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Phase of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// The worker is ready, and not told to accept yet.
    Waiting,
    /// The worker accepts connections.
    Serving,
    /// The worker still accepts, while load balancers take it out.
    LameDuck,
    /// The worker accepts no more, and finishes what is open.
    Draining,
    /// The worker closes what is left.
    Cut,
}

/// The life of a worker: its phase, whether it is ready, and how many connections it has. Handlers and background tasks get it from
/// [`Server::life`](crate::Server::life); a clone is cheap, and sees the same worker.
///
/// A background task ends when [`draining`](Self::draining) does. A handler that sends for long (server-sent events, say) ends there, too,
/// so that its client connects to the next worker.
///
/// ```
/// use gin_worker::graceful::Phase;
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Server};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server: Server = Server::new(&Config::<()>::default());
/// let (life, seen) = (server.life(), server.life());
/// let app = TestServer::start(server.get("/connections", async move || life.connections().to_string())).await;
/// app.get("/connections").send().await.assert_text("1");
/// assert_eq!((seen.phase(), seen.is_ready()), (Phase::Serving, true));
///
/// app.stop().await;
/// seen.draining().await; // It has begun already.
/// assert!(seen.phase() > Phase::Serving && !seen.is_ready());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    stopping: watch::Sender<bool>,
    connections: watch::Sender<usize>,
    /// True once no connection is open, and none will be taken over.
    over: AtomicBool,
    accepted: AtomicU64,
    taken_over: AtomicU64,
    closed_for_room: AtomicU64,
    handed_over_for_room: AtomicU64,
    refused: AtomicU64,
    tally: Tally,
}

/// Counts of what became of connections since the drain began.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Number of connections then, and of those that came later.
    all: AtomicU64,
    handed_over: AtomicU64,
    closed: AtomicU64,
    cut: AtomicU64,
}

impl Tally {
    /// Counts connections that other workers have now.
    pub(crate) fn handed_over(&self, count: usize) {
        self.handed_over.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts a client that was told of the end of its connection.
    pub(crate) fn closes(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the number of connections that were open when the time was over.
    pub(crate) fn cut(&self, count: usize) {
        self.cut.store(count as u64, Ordering::Relaxed);
    }
}

impl Default for Life {
    fn default() -> Self {
        Self(Arc::new(Inner {
            phase: watch::Sender::new(Phase::Waiting),
            stopping: watch::Sender::new(false),
            connections: watch::Sender::new(0),
            over: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            taken_over: AtomicU64::new(0),
            closed_for_room: AtomicU64::new(0),
            handed_over_for_room: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            tally: Tally::default(),
        }))
    }
}

impl Life {
    /// The current phase. Phases are in order: `life.phase() >= Phase::Draining` is true from the drain on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// True if a load balancer should send requests to this host: what `/readyz` answers. False once the worker is told to stop. In a
    /// restart it stays true, because the next worker serves on the same host.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !*self.0.stopping.borrow()
    }

    /// Number of connections that are open now, idle ones and WebSockets included.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.0.connections.borrow()
    }

    /// Number of connections since the start, with those that another worker had before.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Number of idle connections that were closed before their time to make room for new ones.
    #[must_use]
    pub fn closed_for_room(&self) -> u64 {
        self.0.closed_for_room.load(Ordering::Relaxed)
    }

    pub(crate) fn count_closed_for_room(&self, count: usize) {
        self.0.closed_for_room.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Number of idle connections that other workers got to make room for new ones.
    #[must_use]
    pub fn handed_over_for_room(&self) -> u64 {
        self.0.handed_over_for_room.load(Ordering::Relaxed)
    }

    pub(crate) fn count_handed_over_for_room(&self, count: usize) {
        self.0.handed_over_for_room.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Number of connections that were closed as they came, because their client had as many as it may have.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of connections that another worker had before.
    #[must_use]
    pub fn taken_over(&self) -> u64 {
        self.0.taken_over.load(Ordering::Relaxed)
    }

    /// Counts of what became of the connections since the drain began.
    pub(crate) fn fates(&self) -> Fates {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let tally = &self.0.tally;
        let cut = count(&tally.cut);
        // Connections that are open after the cut were cut: some end with the process.
        let open = if cut == 0 { self.connections() as u64 } else { 0 };
        let (handed_over, closed) = (count(&tally.handed_over), count(&tally.closed));
        // A connection whose client was told may be open still, or have been cut.
        let gone = count(&tally.all).saturating_sub(open.max(cut));
        let closed = closed.min(gone.saturating_sub(handed_over));
        let finished = gone.saturating_sub(handed_over + closed);
        Fates { open, handed_over, finished, closed, cut }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Waits until the worker accepts no more connections, in a restart or a stop. It is for background tasks and long answers, which must
    /// end then. If the drain has begun, this returns at once. Use it in `tokio::select!` beside the work.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender lives as long as `self`.
        let _ = self.0.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Waits until no connection is open, and none can be taken over any more.
    pub(crate) async fn all_closed(&self) {
        let mut connections = self.0.connections.subscribe();
        while !self.is_over() {
            // The sender lives as long as `self`.
            let _ = connections.wait_for(|open| *open == 0).await;
        }
    }

    /// Waits until fewer connections than this are open.
    pub(crate) async fn fewer_than(&self, count: usize) {
        // The sender lives as long as `self`.
        let _ = self.0.connections.subscribe().wait_for(|open| *open < count).await;
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
        self.count(1);
        OpenConnection(self.clone())
    }

    /// Counts a connection that another worker had. `None` if this worker has ended already.
    pub(crate) fn take_over(&self) -> Option<OpenConnection> {
        let is_there = self.0.connections.send_if_modified(|open| {
            let is_there = !self.0.over.load(Ordering::Relaxed);
            *open += usize::from(is_there);
            is_there
        });
        is_there.then(|| OpenConnection(self.clone()))
    }

    /// Counts connections that were taken over for good.
    pub(crate) fn count_taken_over(&self, count: usize) {
        self.0.taken_over.fetch_add(count as u64, Ordering::Relaxed);
        self.count(count);
    }

    /// True if no connection is open, and none will be taken over.
    pub(crate) fn is_over(&self) -> bool {
        // The number is locked meanwhile.
        self.0.connections.send_if_modified(|open| {
            self.0.over.fetch_or(*open == 0, Ordering::Relaxed);
            false
        });
        self.0.over.load(Ordering::Relaxed)
    }

    fn count(&self, new: usize) {
        self.0.accepted.fetch_add(new as u64, Ordering::Relaxed);
        if self.phase() >= Phase::Draining {
            self.0.tally.all.fetch_add(new as u64, Ordering::Relaxed);
        }
    }

    /// Begins to count what becomes of connections.
    pub(crate) fn count_fates(&self) {
        self.0.tally.all.store(self.connections() as u64, Ordering::Relaxed);
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
