//! HTTP/2: served by hyper until the connection ends, or rests and is to leave.
//!
//! Between two requests everything that another hyper has to know is in the tap ([`crate::connections::http2`]). So a connection leaves
//! hyper when it rests: for another worker, or to be parked. A busy one is brought to its rest: see [`rest`].
//!
//! One that does not rest, or is old, is told by GOAWAY, and so is one that was idle for `timeouts.idle`, and each in a drain without
//! takers. Its streams end; then the client has `timeouts.idle_grace` to close.

mod rest;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::config::Limits;
use crate::connections::activity::{Activity, Due, parks_after};
use crate::connections::bounds::Bounds;
use crate::connections::connection::{ActiveConnection, ConnectionInfo};
use crate::connections::context::{Connection, Context};
use crate::connections::http2::{Http2State, OwnSettings, Tap, TappedIo};
use crate::connections::io::Io;
use crate::connections::machine::HOLD;
use crate::connections::progress::Progress;
use crate::connections::protocol::answer::answer;
use crate::connections::protocol::left::{Left, join, report};
use crate::connections::protocol::timer::{SECOND_LOOK, Timer};
use crate::connections::streams::{Streams, Verdict};
use crate::connections::transport::Probe;
use rest::{Rest, Step};

/// Bytes of a body that a client may send before they are read.
const WINDOW: u32 = 64 << 10;
/// Time for the answer to a PING, in `timeouts.read`: it may have to wait behind a slow download.
const PONG: u32 = 4;
/// Largest window of a connection (RFC 9113, section 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Bytes of a response that hyper takes before the client has taken them.
const SEND_MAX: usize = 64 << 10;
/// Longest time between two looks at a connection that is to leave: others may take, or take no more.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves a connection that speaks HTTP/2. `state`: that of its hyper before this one.
pub(super) async fn serve(
    io: Io,
    state: Option<Box<Http2State>>,
    context: &Arc<Context>,
    timer: Timer<'_>,
    info: ConnectionInfo,
) -> Left {
    let (activity, probe, spread) = (timer.activity, io.probe(), timer.spread);
    let bounds = &context.drain.bounds;
    let own = state.as_ref().map_or_else(|| own_settings(&bounds.limits), |state| state.own);
    let Some(tap) = begin(activity, state, own) else { return Left::Closed };
    let tapped = TappedIo::new(io, tap);
    let streams = Streams::new(usize::try_from(bounds.limits.body).unwrap_or(usize::MAX));
    let known = Arc::clone(activity);
    let for_requests = Connection::new(info.clone(), context, Some(Arc::clone(&streams)));
    let service = service_fn(move |request| answer(request, for_requests.clone(), &known, spread));
    let connection = builder(&streams, own, bounds).serve_connection(TokioIo::new(tapped.clone()), service);
    let mut connection = std::pin::pin!(connection);
    let mut stay = Stay::new(timer, tapped.clone(), streams, probe);
    let mut turn = stay.look();
    let progress = loop {
        match turn {
            Turn::Serve => {}
            Turn::Goodbye => connection.as_mut().graceful_shutdown(),
            Turn::Leave(progress) => break progress,
            Turn::End => return Left::Closed,
        }
        let (check, before, is_told) = (stay.timer.pause_check(), stay.before, stay.rest.told().is_some());
        // All that hyper can do now is done when it is pending.
        let step = poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                // The last words of a connection that ends with an error: it does not close in an orderly way.
                let _ = tapped.poll_out(cx);
                return Poll::Ready(Err(ended));
            }
            // hyper may not write again, and would not see the error.
            if let Poll::Ready(Err(error)) = tapped.poll_turn(cx) {
                tracing::debug!("connection: {error}");
                return Poll::Ready(Err(Ok(())));
            }
            activity.set_quiet(tapped.is_quiet());
            let leaves = !is_told && check.leaves(|| activity.requests() > before);
            let idle = if leaves { activity.idle() } else { None };
            idle.map_or(Poll::Pending, |progress| Poll::Ready(Ok(progress)))
        });
        turn = tokio::select! {
            biased;
            step = step => match step {
                Ok(progress) => Turn::Leave(progress),
                Err(ended) => {
                    report(ended);
                    Turn::End
                }
            },
            due = stay.timer.next() => match due {
                Some(due) => stay.next(due),
                None => Turn::End,
            },
        };
    };
    let Some((io, state, unread)) = tapped.leave() else { return Left::Closed };
    let (stream, place, ahead) = io.into_parts();
    let (info, ahead) = (info.released(), join(unread, ahead));
    Left::Paused(ActiveConnection { stream, place, info, progress, ahead, http2: Some(Box::new(state)) })
}

/// Begins with a connection, or goes on with one. `None` if its state is none.
fn begin(activity: &Activity, state: Option<Box<Http2State>>, own: OwnSettings) -> Option<Tap> {
    let Some(state) = state else {
        activity.speak_http2();
        return Some(Tap::fresh(own));
    };
    activity.resume_http2();
    Tap::resume(*state).inspect_err(|error| tracing::debug!("connection closed: {error}")).ok()
}

/// What follows for a connection.
enum Turn {
    /// It is served on.
    Serve,
    /// It is served on, and its client is told of the end.
    Goodbye,
    /// It leaves.
    Leave(Progress),
    /// It is dropped.
    End,
}

/// One stay of a connection in this protocol.
struct Stay<'a> {
    timer: Timer<'a>,
    tapped: TappedIo,
    streams: Arc<Streams>,
    probe: Probe,
    rest: Rest,
    began: Instant,
    /// Number of requests before it.
    before: u64,
}

impl<'a> Stay<'a> {
    fn new(timer: Timer<'a>, tapped: TappedIo, streams: Arc<Streams>, probe: Probe) -> Self {
        let before = timer.activity.requests();
        Self { timer, tapped, streams, probe, rest: Rest::default(), began: Instant::now(), before }
    }

    /// Looks whether the connection is to rest, or its client to be told of the end.
    fn look(&mut self) -> Turn {
        let (now, goodbye) = (Instant::now(), self.timer.goodbye());
        let (activity, before) = (self.timer.activity, self.before);
        let wanted = self.timer.pause_check().leaves(|| activity.requests() > before) && self.tapped.may_move();
        let turn = match self.rest.look(now, wanted, goodbye.is_some_and(|at| at <= now)) {
            Step::Nothing => Turn::Serve,
            Step::CloseGate => {
                self.tapped.close_gate();
                Turn::Serve
            }
            Step::OpenGate => {
                self.tapped.open_gate();
                Turn::Serve
            }
            Step::Goodbye => self.says_goodbye(now),
        };
        if self.rest.told().is_none() {
            let again = self.timer.is_draining().then(|| now + AGAIN);
            [self.rest.next(), goodbye, again].into_iter().for_each(|at| self.timer.look_by(at));
        }
        turn
    }

    /// Looks at what the timer says.
    fn next(&mut self, due: Due) -> Turn {
        let now = Instant::now();
        let late = match self.streams.look(now, &self.timer.drain.bounds) {
            Verdict::Wait(late) => late,
            Verdict::EndConnection => {
                tracing::debug!("connection dropped: the client takes nothing");
                return Turn::End;
            }
        };
        let turn = match (due, self.rest.told()) {
            (Due::Abort(why), _) => {
                tracing::debug!("connection dropped: {why}");
                return Turn::End;
            }
            (_, Some(told)) => self.ends(told),
            (Due::Wait(_), None) => self.look(),
            (Due::Park, None) => self.parks(now),
            (Due::CloseIdle, None) => self.closes(now),
        };
        self.timer.look_by(late);
        turn
    }

    /// Time for a client that was told of the end, to close.
    fn grace(&self) -> Duration {
        self.timer.drain.bounds_now().timeouts.idle_grace.max(HOLD)
    }

    /// The client was told at this moment. One that is there has answered (h2 asks it by a PING), and closed.
    fn ends(&mut self, told: Instant) -> Turn {
        let grace = self.grace();
        let is_late = self.timer.activity.idle_since().is_some_and(|since| since.max(told).elapsed() >= grace);
        // What it has not taken yet is looked after by its stream, and by its time to take what is written.
        if is_late && !self.streams.has_waiting() && !self.tapped.holds() {
            return Turn::End;
        }
        self.timer.look(grace);
        Turn::Serve
    }

    /// It was idle for a while.
    fn parks(&mut self, now: Instant) -> Turn {
        let (timeouts, activity) = (self.timer.drain.bounds_now().timeouts, self.timer.activity);
        let (since, after) = (activity.idle_since().unwrap_or(now), parks_after(&timeouts));
        // One that was woken up by less than a request stays for as long: more may come.
        let rested = now.saturating_duration_since(since.max(self.began));
        if rested >= after
            && self.tapped.may_park(activity.requests())
            && let Some(progress) = activity.idle()
        {
            return Turn::Leave(progress);
        }
        self.timer.look(next_look(rested, after));
        self.timer.look_by(since.checked_add(timeouts.idle));
        self.look()
    }

    /// It was idle for too long.
    fn closes(&mut self, now: Instant) -> Turn {
        if self.streams.has_waiting() {
            self.timer.look(self.grace());
            return self.look();
        }
        if self.timer.closes(self.probe.has_bytes()) {
            return self.says_goodbye(now);
        }
        self.look()
    }

    fn says_goodbye(&mut self, now: Instant) -> Turn {
        self.rest.tell(now);
        self.tapped.open_gate();
        self.timer.activity.ending.tell();
        self.timer.look(self.grace());
        Turn::Goodbye
    }
}

/// Time until a connection is looked at again that was not parked, after it has rested for this time: some may never be. A drain wakes it
/// in any case.
fn next_look(rested: Duration, after: Duration) -> Duration {
    let pause = if rested < after { after.saturating_sub(rested) } else { rested };
    pause.max(SECOND_LOOK)
}

/// Settings of ours for a client that knows none yet.
fn own_settings(limits: &Limits) -> OwnSettings {
    OwnSettings {
        max_streams: limits.streams,
        window: WINDOW,
        // Room for what each stream may send: bodies that wait for their turn must not keep back the one that has it.
        connection_window: WINDOW.saturating_mul(limits.streams).min(WINDOW_MAX),
        head_list: limits.head,
    }
}

/// hyper with these settings of ours: the client knows them, whatever this worker's configuration says.
fn builder(streams: &Arc<Streams>, own: OwnSettings, bounds: &Bounds) -> http2::Builder<StreamTasks> {
    let timeouts = bounds.timeouts;
    let mut builder = http2::Builder::new(StreamTasks(Arc::clone(streams)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(own.max_streams)
        .max_header_list_size(own.head_list)
        .initial_connection_window_size(own.connection_window)
        .initial_stream_window_size(own.window)
        .max_send_buf_size(SEND_MAX)
        // A client that is gone, while its requests are answered, is noticed by a PING without an answer.
        .keep_alive_interval(Some(timeouts.idle))
        .keep_alive_timeout(timeouts.read * PONG);
    builder
}

/// Spawns a task for each stream, and lets the streams know it.
#[derive(Clone)]
struct StreamTasks(Arc<Streams>);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawned(tokio::spawn(stream).abort_handle());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_never_parked_is_looked_at_a_few_times() {
        let after = Duration::from_secs(1);
        let (mut rested, mut looks) = (Duration::ZERO, Vec::new());
        while rested < Duration::from_secs(3600) {
            rested += next_look(rested, after);
            looks.push(rested.as_secs());
        }
        assert_eq!(looks, (0..=12).map(|power| 1 << power).collect::<Vec<u64>>());
        // One that was woken up stays for as long as any other.
        assert_eq!(next_look(Duration::from_millis(300), after), Duration::from_millis(700));
        assert_eq!(next_look(Duration::ZERO, Duration::ZERO), SECOND_LOOK);
    }
}
