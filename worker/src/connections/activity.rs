//! Activity of one connection while a protocol serves it: what it is busy with, since when, and what its timer has to do.
//!
//! The connection's I/O and its service write it, its timer and its protocol read it. It knows when nothing of the connection is on its
//! way through the protocol ([`Activity::idle`]), so that the connection can be taken out. Not here: whether it should be
//! taken out, which the machine decides.

mod close_frame;
mod due;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use gin_shared::handover;
use tokio::sync::Notify;

use crate::config::Timeouts;
use crate::connections::bounds::Bounds;
use crate::connections::pace::Pace;
use crate::connections::progress::Progress;
use crate::connections::websocket_closer::CloseTime;
use crate::graceful::{KnownEnding, Spoken};
use close_frame::CloseFrame;
pub(crate) use due::Due;

/// Activity of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    close_frame: CloseFrame,
    /// True if the state is `Bound::Unread`, or was a moment ago.
    has_unread: AtomicBool,
    /// True if a request was answered with 101.
    is_upgraded: AtomicBool,
    /// Told when the connection is at rest, if somebody awaits that.
    rest: Notify,
    pub(crate) ending: KnownEnding,
}

#[derive(Debug, Clone, Copy)]
struct State {
    doing: Doing,
    since: Instant,
    /// Pace at which the client takes what is written.
    writing: Pace,
    frames: Frames,
    /// True if the connection is over TLS.
    is_tls: bool,
    /// Number of requests served.
    requests: u64,
    /// Reason to keep the connection in hyper though no request is being answered.
    bound: Bound,
    /// True if the connection was busy when its timer looked: see [`Activity::awaits_rest`].
    is_awaited: bool,
}

/// Frames of HTTP/2: they come between requests, too, so bytes are no sign of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// The connection does not speak HTTP/2.
    None,
    /// Frames may be on their way through the protocol.
    Busy,
    /// None is on its way, in either direction.
    Quiet,
}

/// Bytes, or an end, that are still on their way through hyper when an answer is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Free,
    /// The body of this request is still being read: even when the answer is out, what comes is no request.
    Reading(u64),
    /// The body was dropped before its end. At its next poll hyper skips the rest, if that has come, or closes.
    Unread,
    /// Our side is being closed.
    Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nothing has come yet.
    Fresh,
    /// Between requests.
    Idle,
    /// A head has begun.
    Head,
    /// Number of requests that are being answered.
    Busy(u32),
}

/// Shortest time between two looks at a connection.
const SOON: Duration = Duration::from_millis(100);
/// A connection over TLS, or of HTTP/2, is parked after so many times `timeouts.park_after`: waking it up costs a change of its key, or a
/// new hyper.
const DEAR: u32 = 10;

/// Time after which an idle connection over TLS, or of HTTP/2, is parked.
pub(crate) fn parks_after(timeouts: &Timeouts) -> Duration {
    timeouts.park_after.saturating_mul(DEAR)
}

impl State {
    /// Number of requests that are being answered.
    fn under_way(&self) -> u32 {
        if let Doing::Busy(count) = self.doing { count } else { 0 }
    }

    /// Time after which the connection is parked, if it is idle.
    fn parks_after(&self, timeouts: &Timeouts) -> Duration {
        let is_dear = self.is_tls || self.frames != Frames::None;
        if is_dear { parks_after(timeouts) } else { timeouts.park_after }
    }

    /// True while a request is being answered, or its last bytes wait for the client.
    fn is_busy(&self) -> bool {
        matches!(self.doing, Doing::Busy(_)) || self.writing.waits_since().is_some()
    }
}

impl Activity {
    /// Activity of a connection that a protocol takes up.
    pub(crate) fn resume(progress: &Progress) -> Self {
        let doing = match progress.doing {
            handover::Doing::Fresh => Doing::Fresh,
            handover::Doing::Idle => Doing::Idle,
            handover::Doing::Head => Doing::Head,
        };
        let (since, requests) = (progress.since, progress.requests);
        let bound = Bound::Free;
        let (writing, frames, is_tls) = (Pace::default(), Frames::None, false);
        let state = State { doing, since, writing, frames, is_tls, requests, bound, is_awaited: false };
        Self {
            state: Mutex::new(state),
            close_frame: CloseFrame::default(),
            has_unread: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            rest: Notify::new(),
            ending: KnownEnding::default(),
        }
    }

    /// The progress with which the connection could be taken out of its protocol. `None` if a request is on its way, or the
    /// connection has to end here.
    pub(crate) fn idle(&self) -> Option<Progress> {
        let state = *self.state();
        let doing = match state.doing {
            Doing::Fresh => handover::Doing::Fresh,
            Doing::Idle => handover::Doing::Idle,
            Doing::Head => handover::Doing::Head,
            Doing::Busy(_) => return None,
        };
        let is_free =
            state.bound == Bound::Free && state.writing.waits_since().is_none() && state.frames != Frames::Busy;
        is_free.then_some(Progress { doing, since: state.since, requests: state.requests })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of requests that are being answered.
    pub(crate) fn under_way(&self) -> usize {
        self.state().under_way() as usize
    }

    /// Number of requests served.
    pub(crate) fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Number of requests of which the answer has ended, and of those that are being answered.
    pub(crate) fn answered(&self) -> (u64, u32) {
        let state = *self.state();
        let under_way = state.under_way();
        (state.requests.saturating_sub(u64::from(under_way)), under_way)
    }

    /// Records that a request was answered with 101: the protocol changes.
    pub(crate) fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// True after [`Self::upgrade`].
    pub(crate) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    /// Records that the application speaks WebSocket from here on, with the time of a close frame.
    pub(crate) fn speak_websocket(&self, at: CloseTime) {
        self.ending.speaks(Spoken::WebSocket);
        self.close_frame.set(at);
    }

    /// Takes the time of the close frame: given once.
    pub(crate) fn take_close_time(&self) -> Option<CloseTime> {
        self.close_frame.take()
    }

    /// Records that bytes have come.
    pub(crate) fn read(&self) {
        let mut state = self.state();
        if matches!(state.doing, Doing::Fresh | Doing::Idle)
            && state.frames == Frames::None
            && state.bound == Bound::Free
        {
            (state.doing, state.since) = (Doing::Head, Instant::now());
        }
    }

    /// Records the preface of HTTP/2: from here on a connection without requests is idle.
    pub(crate) fn speak_http2(&self) {
        let mut state = self.state();
        (state.doing, state.since, state.frames) = (Doing::Idle, Instant::now(), Frames::Busy);
        self.ending.speaks(Spoken::Http2);
    }

    /// The same for a connection that has spoken it before, and is idle for as long as it was.
    pub(crate) fn resume_http2(&self) {
        let mut state = self.state();
        (state.doing, state.frames) = (Doing::Idle, Frames::Busy);
        self.ending.speaks(Spoken::Http2);
    }

    /// Records that the connection is over TLS.
    pub(crate) fn speak_tls(&self) {
        self.state().is_tls = true;
    }

    /// Records the outcome of a write.
    pub(crate) fn wrote(&self, written: &Poll<io::Result<usize>>) {
        let mut state = self.state();
        match written {
            Poll::Pending => state.writing.wait(Instant::now()),
            Poll::Ready(count) => state.writing.moved(*count.as_ref().unwrap_or(&0), Instant::now),
        }
        self.tell_rest(&mut state);
    }

    /// Records that all bytes are out which the stream had accepted and held back.
    pub(crate) fn flushed(&self) {
        let mut state = self.state();
        state.writing.rest(Instant::now());
        self.tell_rest(&mut state);
    }

    /// True if the connection is busy: then [`Self::rested`] ends when it is at rest.
    pub(crate) fn awaits_rest(&self) -> bool {
        let mut state = self.state();
        state.is_awaited = state.is_busy();
        state.is_awaited
    }

    /// Waits until a connection is at rest that was busy. Told once.
    pub(crate) async fn rested(&self) {
        self.rest.notified().await;
    }

    fn tell_rest(&self, state: &mut State) {
        if state.is_awaited && !state.is_busy() {
            state.is_awaited = false;
            self.rest.notify_one();
        }
    }

    /// Records whether frames of HTTP/2 may be on their way through the protocol.
    pub(crate) fn set_quiet(&self, is_quiet: bool) {
        self.state().frames = if is_quiet { Frames::Quiet } else { Frames::Busy };
    }

    /// The moment since which the client takes nothing.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.state().writing.waits_since()
    }

    /// The moment at which the client has taken too little for too long. `None` while it is not waited for.
    /// See [`Pace::deadline`].
    pub(crate) fn write_deadline(&self, patience: Duration, min_rate: u64) -> Option<Instant> {
        self.state().writing.deadline(patience, min_rate)
    }

    /// Records that a request is being answered. Returns its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state();
        let before = state.under_way();
        // `since` has no meaning while it is busy.
        state.doing = Doing::Busy(before + 1);
        state.requests = state.requests.saturating_add(1);
        if before == 0 {
            state.writing = Pace::default();
        }
        if state.bound != Bound::Closing {
            // The head was read behind what was before it.
            state.bound = Bound::Free;
        }
        state.requests
    }

    /// Records that the request of this number has a body.
    pub(crate) fn reading(&self, request: u64) {
        self.become_bound(Bound::Free, Bound::Reading(request));
    }

    /// Records that the body was read. For an earlier request this means nothing: all of its body came before the later head.
    pub(crate) fn has_read(&self, request: u64) {
        self.become_bound(Bound::Reading(request), Bound::Free);
    }

    /// Records that the body was dropped before its end.
    pub(crate) fn left_unread(&self, request: u64) {
        if self.become_bound(Bound::Reading(request), Bound::Unread) {
            self.has_unread.store(true, Ordering::Release);
        }
    }

    /// True if a body was dropped before its end. To be asked before hyper is polled.
    pub(crate) fn is_unread(&self) -> bool {
        self.has_unread.load(Ordering::Acquire)
    }

    /// Records that hyper was polled after that, and goes on.
    pub(crate) fn passed_over(&self) {
        self.has_unread.store(false, Ordering::Relaxed);
        self.become_bound(Bound::Unread, Bound::Free);
    }

    /// Moves from one bound to another. Returns false if it was not at the first.
    fn become_bound(&self, from: Bound, to: Bound) -> bool {
        let mut state = self.state();
        let was = state.bound == from;
        if was {
            state.bound = to;
        }
        was
    }

    /// The moment since which nothing is being answered. `None` if something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = *self.state();
        (!matches!(state.doing, Doing::Busy(_))).then_some(state.since)
    }

    /// Records that our side is being closed.
    pub(crate) fn closing(&self) {
        self.state().bound = Bound::Closing;
    }

    /// Records that a response has ended.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        let doing = match state.doing {
            Doing::Busy(count) if count > 1 => Doing::Busy(count - 1),
            Doing::Busy(_) | Doing::Fresh | Doing::Idle | Doing::Head => Doing::Idle,
        };
        (state.doing, state.since) = (doing, Instant::now());
        self.tell_rest(&mut state);
    }

    /// The timer's duty now. `draining` is the moment at which the drain began.
    pub(crate) fn due(&self, now: Instant, bounds: &Bounds, draining: Option<Instant>) -> Due {
        let state = *self.state();
        let timeouts = &bounds.timeouts;
        let taken_by = state.writing.deadline(timeouts.write, bounds.limits.min_rate);
        if taken_by.is_some_and(|at| now >= at) {
            return Due::Abort("the client takes nothing of the response, or too little");
        }
        let (at, then) = match state.doing {
            // The last bytes of its response are still to be written.
            Doing::Idle if taken_by.is_some() => return Due::Wait(taken_by.unwrap_or(now)),
            Doing::Fresh => (state.since + state.parks_after(timeouts), Due::Park),
            // It may not rest, or not be fit to be parked.
            Doing::Idle if state.frames != Frames::None && now >= state.since + timeouts.idle => return Due::CloseIdle,
            Doing::Idle if state.frames != Frames::None => {
                (state.since + state.parks_after(timeouts).min(timeouts.idle), Due::Park)
            }
            // An upload goes on though it is answered: that is its handler's business.
            Doing::Idle if matches!(state.bound, Bound::Reading(_)) => return Due::Wait(now + SOON),
            Doing::Idle if state.bound != Bound::Free => {
                let grace = draining.map(|began| began.max(state.since) + timeouts.idle_grace);
                let at = state.since + timeouts.idle;
                (grace.map_or(at, |grace| grace.min(at)), Due::CloseIdle)
            }
            Doing::Idle => (state.since + state.parks_after(timeouts), Due::Park),
            Doing::Head => (state.since + timeouts.read, Due::Abort("no complete request head came in time")),
            // A handler may take its time; whether the client still takes its part is looked at now and then.
            // In a drain it is looked at more often, for once it is idle its grace begins.
            Doing::Busy(_) => {
                let at = taken_by.unwrap_or(now + timeouts.write);
                let soon = now + timeouts.idle_grace.max(SOON);
                return Due::Wait(if draining.is_some() { at.min(soon) } else { at });
            }
        };
        if now < at { Due::Wait(at) } else { then }
    }
}
