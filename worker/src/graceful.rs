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
mod beginnings;
mod ends;
mod hooks;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gin_shared::channel::{Counts, DrainReason, Fates};
use tokio::sync::watch;

use crate::metrics::ConnectionCounts;
pub(crate) use background::{Background, Running};
pub(crate) use beginnings::{Handshake, ProxyRefusal};
pub(crate) use ends::{Ending, Ends, Fate, HandoverReason, Kind, KnownEnding, Spoken};
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
    /// Number of those that are over TLS, or begin with its handshake.
    over_tls: AtomicUsize,
    /// True once no connection is open, and none will be taken over.
    over: AtomicBool,
    accepted: AtomicU64,
    taken_over: AtomicU64,
    closed_for_room: AtomicU64,
    handed_over_for_room: AtomicU64,
    handed_over_for_share: AtomicU64,
    refused: AtomicU64,
    ends: Ends,
    /// True from the moment at which ends of connections count.
    counts_ends: AtomicBool,
    /// True once what is open still was counted as cut.
    is_settled: AtomicBool,
    /// Counts that all workers have in common, if this one has them.
    counts: OnceLock<ConnectionCounts>,
}

impl Default for Life {
    fn default() -> Self {
        Self(Arc::new(Inner {
            phase: watch::Sender::new(Phase::Waiting),
            stopping: watch::Sender::new(false),
            connections: watch::Sender::new(0),
            over_tls: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            taken_over: AtomicU64::new(0),
            closed_for_room: AtomicU64::new(0),
            handed_over_for_room: AtomicU64::new(0),
            handed_over_for_share: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ends: Ends::default(),
            counts_ends: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
            counts: OnceLock::new(),
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
        self.with_counts(|counts| counts.closed_for_room(count));
    }

    /// Number of idle connections that other workers got to make room for new ones.
    #[must_use]
    pub fn handed_over_for_room(&self) -> u64 {
        self.0.handed_over_for_room.load(Ordering::Relaxed)
    }

    pub(crate) fn count_handed_over_for_room(&self, count: usize) {
        self.0.handed_over_for_room.fetch_add(count as u64, Ordering::Relaxed);
        self.with_counts(|counts| counts.handed_over_for_room(count));
    }

    /// Number of connections that other workers got because they had fewer.
    #[must_use]
    pub fn handed_over_for_share(&self) -> u64 {
        self.0.handed_over_for_share.load(Ordering::Relaxed)
    }

    pub(crate) fn count_handed_over_for_share(&self, count: usize) {
        self.0.handed_over_for_share.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Number of connections that were closed as they came, because their client had as many as it may have.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn count_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        self.with_counts(ConnectionCounts::refused);
    }

    /// Counts a handshake that took so long.
    pub(crate) fn count_handshake(&self, outcome: Handshake, took: Duration) {
        let took = (outcome != Handshake::Failed).then_some(took);
        self.with_counts(|counts| counts.handshake(outcome as usize, took));
    }

    /// Counts a connection that did not begin with the PROXY header that it had to have.
    pub(crate) fn count_proxy_refused(&self, why: ProxyRefusal) {
        self.with_counts(|counts| counts.proxy_refused(why as usize));
    }

    /// Number of connections that another worker had before.
    #[must_use]
    pub fn taken_over(&self) -> u64 {
        self.0.taken_over.load(Ordering::Relaxed)
    }

    /// Counts of what became of the connections since the drain began.
    pub(crate) fn fates(&self) -> Fates {
        let ends = &self.0.ends;
        // What is open after that was cut, and ends with the process.
        let open = if self.0.is_settled.load(Ordering::Relaxed) { 0 } else { self.connections() as u64 };
        let Counts { handed_over, finished, closed, cut } = ends.counts();
        Fates { open, handed_over, finished, closed, cut, by_protocol: ends.by_protocol() }
    }

    /// Counts connections in these, too. The first ones stay.
    pub(crate) fn count_in(&self, counts: ConnectionCounts) {
        let _ = self.0.counts.set(counts);
    }

    fn with_counts(&self, count: impl FnOnce(&ConnectionCounts)) {
        if let Some(counts) = self.0.counts.get() {
            count(counts);
        }
    }

    /// Counts what is open after the cut as cut, now: it may end with the process, without a word. What ends later is not counted again.
    pub(crate) fn settle(&self) {
        // The number is locked meanwhile.
        self.0.connections.send_if_modified(|open| {
            if !self.0.is_settled.swap(true, Ordering::Relaxed) {
                // All others end at the cut: these are their handlers'.
                let over_tls = self.0.over_tls.load(Ordering::Relaxed).min(*open);
                for (is_tls, count) in [(true, over_tls), (false, *open - over_tls)] {
                    self.count_fate(Fate::Cut, Kind { spoken: Spoken::WebSocket, is_tls }, count);
                }
            }
            false
        });
    }

    /// Counts the end of a connection, in a drain. The number of connections is locked meanwhile.
    fn count_end(&self, ending: Ending) {
        let phase = self.phase();
        let is_draining = self.0.counts_ends.load(Ordering::Relaxed) || phase >= Phase::Draining;
        let is_settled = self.0.is_settled.load(Ordering::Relaxed);
        if let Some(fate) = ending.fate(is_draining, phase >= Phase::Cut).filter(|_| !is_settled) {
            self.count_fate(fate, ending.kind(), 1);
        }
    }

    fn count_fate(&self, fate: Fate, kind: Kind, count: usize) {
        self.0.ends.count(fate, kind, count);
        self.with_counts(|counts| counts.drained(Ends::place(fate, kind), count));
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

    /// Wakes all who wait for a phase, though none is reached. Among them are connections that rest in their protocol: each looks again
    /// whether it is to leave.
    pub(crate) fn stir(&self) {
        self.0.phase.send_modify(|_| {});
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

    /// The number of open connections, as it changes.
    pub(crate) fn changes(&self) -> watch::Receiver<usize> {
        self.0.connections.subscribe()
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
        self.opened()
    }

    /// Counts a connection that another worker has still. `None` if this worker has ended already.
    pub(crate) fn take_over(&self) -> Option<OpenConnection> {
        let is_there = self.0.connections.send_if_modified(|open| {
            let is_there = !self.0.over.load(Ordering::Relaxed);
            *open += usize::from(is_there);
            is_there
        });
        let mut opened = is_there.then(|| self.opened())?;
        opened.ending.is_anothers = true;
        Some(opened)
    }

    fn opened(&self) -> OpenConnection {
        self.with_counts(ConnectionCounts::opened);
        OpenConnection { life: self.clone(), ending: Ending::default(), is_over_tls: false }
    }

    /// Counts connections that were taken over for good.
    pub(crate) fn count_taken_over(&self, count: usize) {
        self.0.taken_over.fetch_add(count as u64, Ordering::Relaxed);
        self.with_counts(|counts| counts.taken_over(count));
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
        self.with_counts(|counts| counts.accepted(new));
    }

    /// Begins to count what becomes of connections.
    pub(crate) fn count_fates(&self) {
        self.0.counts_ends.store(true, Ordering::Relaxed);
    }
}

/// Counts a connection for as long as it lives, and what became of it in a drain.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    life: Life,
    /// The connection's end, as far as it is known.
    pub(crate) ending: Ending,
    /// True if it is counted among those over TLS.
    is_over_tls: bool,
}

impl OpenConnection {
    /// Notes whether the connection is over TLS, or begins with its handshake.
    pub(crate) fn set_tls(&mut self, is_tls: bool) {
        self.ending.is_tls = is_tls;
        let over_tls = &self.life.0.over_tls;
        if is_tls && !self.is_over_tls {
            over_tls.fetch_add(1, Ordering::Relaxed);
        } else if !is_tls && self.is_over_tls {
            over_tls.fetch_sub(1, Ordering::Relaxed);
        }
        self.is_over_tls = is_tls;
    }

    /// Notes that another worker has the connection now. Only in a drain this is the end that is told of it.
    pub(crate) fn hand_over(&mut self, reason: HandoverReason) {
        self.ending.is_handed_over = reason == HandoverReason::Drain;
        self.life.with_counts(|counts| counts.handed_over(reason.place(self.ending.kind())));
    }

    /// Notes whether the connection is parked. While it is, its kind must not change.
    pub(crate) fn note_parked(&self, is_parked: bool) {
        self.life.with_counts(|counts| counts.parked(self.ending.kind().place(), is_parked));
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let Self { life, ending, is_over_tls } = self;
        life.with_counts(ConnectionCounts::closed);
        life.0.connections.send_modify(|open| {
            // Before anybody hears of it.
            life.count_end(*ending);
            life.0.over_tls.fetch_sub(usize::from(*is_over_tls), Ordering::Relaxed);
            *open -= 1;
        });
    }
}
