//! One connection, while hyper has it: HTTP/1.1 or HTTP/2 by preface, timers, and how it leaves.
//!
//! Between two requests nothing of an HTTP/1.1 connection is in hyper but a few bytes read ahead, so it can be taken back at any
//! such moment: to be parked, to be handed to another worker, and to be served again. No connection is closed under a
//! request that is on its way. Where nobody takes it, an idle one gets one more answer in a drain, with `Connection: close`;
//! only when none was asked for within `timeouts.idle_grace`, and no byte has come, is it closed. HTTP/2 has GOAWAY for that.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use gin_shared::handover::Doing;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};

use crate::config::Timeouts;
use crate::connections::activity::{Activity, Rest, Verdict};
use crate::connections::connection::{A_WHILE, Facts, Live, Resting, Stays};
use crate::connections::handover::giver::Exit;
use crate::connections::io::Io;
use crate::connections::parking::Lot;
use crate::connections::protocol::answer::answer;
use crate::graceful::{Life, Phase};
use crate::websocket::{self, Kinds};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes have come in the very moment of closing: hyper gets this long to see them.
const SECOND_LOOK: Duration = Duration::from_millis(10);

/// What all connections of a worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) life: Life,
    pub(crate) timeouts: Timeouts,
    pub(crate) router: Router,
    /// Sessions that can be taken up.
    pub(crate) websockets: Kinds,
    /// Room for connections.
    pub(crate) slots: Arc<Semaphore>,
    /// To whom connections go that another worker is to have, while one takes them.
    pub(crate) giving: watch::Sender<Option<Exit>>,
    pub(crate) lot: Lot,
    /// Since when it drains.
    draining: OnceLock<Instant>,
}

impl Shared {
    /// With room for so many.
    pub(crate) fn new(
        timeouts: Timeouts,
        life: Life,
        router: Router,
        websockets: Kinds,
        slots: usize,
    ) -> io::Result<Arc<Self>> {
        let (slots, giving) = (Arc::new(Semaphore::new(slots)), watch::Sender::new(None));
        let (lot, draining) = (Lot::new()?, OnceLock::new());
        let shared = Self { life, timeouts, router, websockets, slots, giving, lot, draining };
        let shared = Arc::new(shared);
        tokio::spawn(crate::connections::parking::keep(Arc::clone(&shared)));
        Ok(shared)
    }

    /// Whether other workers take what can be handed over.
    pub(crate) fn is_giving(&self) -> bool {
        self.giving.borrow().is_some()
    }

    /// Tells all connections that the worker accepts no more.
    pub(crate) fn drain(&self) {
        self.draining.get_or_init(Instant::now);
        self.life.reach(Phase::Draining);
    }

    /// Whether an answer is to say that it is the connection's last. One that never rests cannot be handed over: when most of the
    /// time is over, it is told.
    pub(crate) fn ends_connections(&self) -> bool {
        let late = |began: &Instant| began.elapsed() > self.timeouts.shutdown / 4 * 3;
        self.draining.get().is_some_and(|began| late(began) || !self.is_giving())
    }

    /// Lets it rest: with another worker, if one takes it.
    pub(crate) fn rest(self: &Arc<Self>, mut connection: Resting) {
        if self.life.phase() >= Phase::Cut {
            return;
        }
        if connection.facts.stays == Stays::No {
            match self.offer(connection) {
                None => return,
                Some(back) => connection = back,
            }
        }
        if connection.ahead.is_empty() && connection.luggage.is_none() {
            match self.lot.park(connection, &self.timeouts) {
                None => {
                    // Others may have begun to take just now, when the lot had been emptied for them already.
                    if self.is_giving() {
                        self.lot.look();
                    }
                    return;
                }
                Some(back) => connection = back,
            }
        }
        self.serve(connection);
    }

    /// Gives it back if nobody is there to hand it over.
    fn offer(&self, connection: Resting) -> Option<Resting> {
        let unsent = match self.giving.borrow().as_ref() {
            None => return Some(connection),
            Some(exit) => exit.offers.send(connection).err()?.0,
        };
        // The giver has ended without a word.
        self.giving.send_if_modified(|exit| exit.take_if(|exit| exit.offers.is_closed()).is_some());
        Some(unsent)
    }

    /// Serves one that has rested.
    pub(crate) fn serve(self: &Arc<Self>, mut connection: Resting) {
        let luggage = connection.luggage.take();
        match (connection.live(), luggage) {
            (Ok(live), None) => drop(tokio::spawn(serve(live, Arc::clone(self)))),
            (Ok(live), Some(luggage)) => drop(tokio::spawn(websocket::resume(live, *luggage, Arc::clone(self)))),
            (Err(error), _) => tracing::warn!("a connection is lost: {error}"),
        }
    }

    /// Closes one for which nothing has come in its time.
    pub(crate) async fn close(self: Arc<Self>, connection: Resting) {
        let Ok(live) = connection.live() else { return };
        let mut io = Io::new(live.stream, live.held, live.ahead, Arc::new(Activity::resume(&live.rest)));
        if self.life.phase() >= Phase::Draining {
            self.life.tally().closes();
        }
        tokio::select! { _ = io.shutdown() => {}, () = self.life.reached(Phase::Cut) => {} }
    }
}

/// A connection, as an extension of its requests.
#[derive(Debug, Clone)]
pub struct Connection(Arc<(Facts, Arc<Shared>)>);

impl Connection {
    /// The name of the listener that accepted it.
    #[must_use]
    pub fn listener(&self) -> &str {
        &self.0.0.listener
    }

    /// When it was accepted, by whichever worker.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.0.0.opened
    }

    /// The client's address, over TCP: a proxy's, if there is one. See [`crate::ClientIp`].
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.0.peer
    }

    /// Whether another worker had it before.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.0.0.taken_over
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.0
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.1
    }
}

/// Serves it, until it ends or rests. What a client does wrong ends its connection and nothing else.
pub(crate) async fn serve(live: Live, shared: Arc<Shared>) {
    if let Some(live) = go_through(live, &shared).await {
        match live.resting() {
            Ok(connection) => shared.rest(connection),
            Err(error) => tracing::warn!("a connection is lost: {error}"),
        }
    }
}

/// Gives it back when it rests.
async fn go_through(live: Live, shared: &Arc<Shared>) -> Option<Live> {
    let Live { stream, held, facts, rest, ahead } = live;
    let activity = Arc::new(Activity::resume(&rest));
    let mut io = Io::new(stream, held, ahead, Arc::clone(&activity));
    let mut timer = Timer::new(shared, &activity, facts.stays);
    // Later requests tell nothing new of the protocol.
    if rest.requests == 0 {
        let sniffed = tokio::select! {
            biased;
            sniffed = sniff(&mut io, &mut timer) => sniffed,
            () = shared.life.reached(Phase::Cut) => return None,
        };
        match sniffed {
            Sniffed::Http1 => {}
            Sniffed::Http2 => {
                serve_http2(io, shared, timer, facts).await;
                return None;
            }
            Sniffed::Rests => {
                let (stream, held, ahead) = io.into_parts();
                let rest = activity.rest()?;
                return Some(Live { stream, held, facts: facts.rested(), rest, ahead });
            }
            Sniffed::Nothing => {
                tokio::select! { _ = io.shutdown() => {}, () = shared.life.reached(Phase::Cut) => {} }
                return None;
            }
        }
    }
    serve_http1(io, shared, timer, facts).await
}

async fn serve_http2(io: Io, shared: &Arc<Shared>, timer: Timer<'_>, facts: Facts) {
    let activity = timer.activity;
    let probe = io.probe();
    activity.speak_http2();
    let (known, own) = (Arc::clone(activity), Connection(Arc::new((facts, Arc::clone(shared)))));
    let service = service_fn(move |request| answer(request, own.clone(), &known));
    let connection =
        http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut timer = timer;
    let mut closing: Option<Instant> = None;
    let grace = shared.timeouts.idle_grace.max(A_WHILE);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return report(ended),
            verdict = timer.next() => match (verdict, closing) {
                (Verdict::Abort(why), _) => return tracing::debug!("connection dropped: {why}"),
                // A client that is there has answered (h2 asks it by a PING), and closed.
                (_, Some(began)) => match activity.idle_since() {
                    Some(since) if since.max(began).elapsed() >= grace => return,
                    _ => timer.look(grace),
                },
                (Verdict::Wait(_), None) if timer.draining.is_none() => {}
                (Verdict::Park, None) => {}
                (Verdict::CloseIdle, None) if timer.draining.is_none() && probe.has_bytes() => timer.look(SECOND_LOOK),
                (Verdict::Wait(_) | Verdict::CloseIdle, None) => {
                    closing = Some(Instant::now());
                    if timer.draining.is_some() {
                        shared.life.tally().closes();
                    }
                    connection.as_mut().graceful_shutdown();
                    timer.look(grace);
                }
            },
            () = shared.life.reached(Phase::Cut) => return,
        }
    }
}

async fn serve_http1(io: Io, shared: &Arc<Shared>, mut timer: Timer<'_>, facts: Facts) -> Option<Live> {
    let activity = timer.activity;
    let (probe, before) = (io.probe(), activity.requests());
    let (known, own) = (Arc::clone(activity), Connection(Arc::new((facts.clone(), Arc::clone(shared)))));
    let service = service_fn(move |request| answer(request, own.clone(), &known));
    // Without a timer hyper has no timeouts of its own: ours know a head from idleness.
    // Who has sent all that it wants to (`nc -N`) has its answer all the same.
    let mut builder = http1::Builder::new();
    let mut connection = builder.half_close(true).serve_connection(TokioIo::new(io), service).with_upgrades();
    let mut closing = false;
    let rest = loop {
        // All that hyper can do now is done when it is pending: what it holds then is no more than what was read ahead.
        let drains = timer.draining.is_some();
        let step = poll_fn(|cx| {
            let unread = activity.is_unread();
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(ended));
            }
            if unread {
                activity.passed_over();
            }
            let may_leave = drains && shared.is_giving() && facts.stays.is_over(activity.requests() > before);
            let rest = if may_leave { activity.rest() } else { None };
            rest.map_or(Poll::Pending, |rest| Poll::Ready(Ok(rest)))
        });
        tokio::select! {
            biased;
            step = step => match step {
                Ok(rest) => break rest,
                Err(ended) => {
                    report(ended);
                    return None;
                }
            },
            verdict = timer.next(), if !closing => match verdict {
                Verdict::Wait(_) => {}
                Verdict::Park => if let Some(rest) = activity.rest() {
                    break rest;
                },
                Verdict::CloseIdle if probe.has_bytes() => timer.look(SECOND_LOOK),
                Verdict::CloseIdle => {
                    closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                Verdict::Abort(why) => {
                    tracing::debug!("connection dropped: {why}");
                    return None;
                }
            },
            () = shared.life.reached(Phase::Cut) => return None,
        }
    };
    let parts = connection.into_parts()?;
    let (stream, held, unread) = parts.io.into_inner().into_parts();
    let (facts, rest) = (facts.rested(), rest.with(&parts.read_buf));
    Some(Live { stream, held, facts, rest, ahead: join(parts.read_buf, unread) })
}

/// hyper reads what is ahead before anything else.
fn join(read: Bytes, unread: Bytes) -> Bytes {
    match (read.is_empty(), unread.is_empty()) {
        (true, _) => unread,
        (false, true) => read,
        (false, false) => [read, unread].concat().into(),
    }
}

fn report(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!("connection: {error}");
    }
}

/// What a client speaks.
enum Sniffed {
    Http1,
    Http2,
    /// It has said nothing yet, or not enough to know.
    Rests,
    /// Nothing came in time, or the client has left.
    Nothing,
}

/// Reads until it is clear which protocol is spoken.
async fn sniff(io: &mut Io, timer: &mut Timer<'_>) -> Sniffed {
    let mut start = [0; PREFACE.len()];
    let mut length = 0;
    let sniffed = loop {
        if start[..length] != PREFACE[..length] {
            break Sniffed::Http1;
        }
        if length == PREFACE.len() {
            break Sniffed::Http2;
        }
        let giving = timer.draining.is_some() && timer.stays.is_over(false) && timer.shared.is_giving();
        tokio::select! {
            biased;
            read = io.read(&mut start[length..]) => match read {
                Ok(count) if count > 0 => length += count,
                Ok(_) | Err(_) => break Sniffed::Nothing,
            },
            () = std::future::ready(()), if giving => break Sniffed::Rests,
            verdict = timer.next() => match verdict {
                Verdict::Wait(_) => {}
                Verdict::Park => break Sniffed::Rests,
                Verdict::CloseIdle if io.probe().has_bytes() => timer.look(SECOND_LOOK),
                Verdict::CloseIdle | Verdict::Abort(_) => break Sniffed::Nothing,
            },
        }
    };
    io.unread(&start[..length]);
    sniffed
}

/// A connection's one timer: coarse, and re-armed only when it fires.
struct Timer<'a> {
    shared: &'a Shared,
    activity: &'a Arc<Activity>,
    draining: Option<Instant>,
    stays: Stays,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl<'a> Timer<'a> {
    fn new(shared: &'a Shared, activity: &'a Arc<Activity>, stays: Stays) -> Self {
        let first = stays.or_until(Instant::now() + shared.timeouts.park_after.min(shared.timeouts.read));
        // In a drain that it knows of it waits like at any other time: what has come is read first.
        let draining = (shared.life.phase() >= Phase::Draining).then(Instant::now);
        Self { shared, activity, draining, stays, sleep: Box::pin(tokio::time::sleep_until(first.into())) }
    }

    /// What is to be done, when it is time or the worker begins to drain.
    async fn next(&mut self) -> Verdict {
        tokio::select! {
            () = self.shared.life.draining(), if self.draining.is_none() => self.draining = Some(Instant::now()),
            () = self.sleep.as_mut() => {}
        }
        let verdict = self.activity.verdict(Instant::now(), &self.shared.timeouts, self.draining);
        if let Verdict::Wait(until) = verdict {
            self.sleep.as_mut().reset(self.stays.or_until(until).into());
        }
        verdict
    }

    /// Looks again after this time.
    fn look(&mut self, after: Duration) {
        self.sleep.as_mut().reset((Instant::now() + after).into());
    }
}

impl Rest {
    /// What it is in the midst of if these bytes of the next request have come.
    fn with(self, ahead: &[u8]) -> Self {
        if ahead.is_empty() || self.doing == Doing::Head {
            self
        } else {
            Self { doing: Doing::Head, since: Instant::now(), ..self }
        }
    }
}
