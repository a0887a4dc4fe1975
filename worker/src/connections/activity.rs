//! What a connection is busy with, and how long it may go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gin_shared::handover;

use crate::config::Timeouts;
use crate::connections::websocket_closer::When;

/// What one connection is doing: written by its I/O and its service, read by its timer.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>, Farewell, AtomicBool);

/// What its I/O is to say at the end, once the application speaks WebSocket on it.
#[derive(Default)]
struct Farewell {
    is_there: AtomicBool,
    when: Mutex<Option<When>>,
}

impl std::fmt::Debug for Farewell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Farewell").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct State {
    doing: Doing,
    since: Instant,
    /// Since when the client has taken nothing of what is to be written.
    stalled: Option<Instant>,
    /// Its frames come between requests, too: bytes are no sign of one.
    is_http2: bool,
    /// Requests served.
    requests: u64,
    /// What keeps it here: bytes of it are still on their way through hyper, or its end is.
    bound: Bound,
}

/// Whether a connection that rests could go on elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Free,
    /// The body of this request is still to be read, by whoever has it now: even when the answer is out, what comes is no request.
    Reading(u64),
    /// It was dropped before its end. hyper passes over the rest if that has come, or closes, when it is polled next.
    Unread,
    /// It is being closed.
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
    /// So many requests are being answered.
    Busy(u32),
}

/// No connection is looked at more often than this.
const SOON: Duration = Duration::from_millis(100);

/// What the timer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again then.
    Wait(Instant),
    /// Nothing is on its way: close it with good manners.
    CloseIdle,
    /// It has been idle for a while: a bare descriptor will do for it.
    Park,
    /// The client does not keep its side: drop it.
    Abort(&'static str),
}

impl Activity {
    /// Of one that has been resting.
    pub(crate) fn resume(rest: &Rest) -> Self {
        let doing = match rest.doing {
            handover::Doing::Fresh => Doing::Fresh,
            handover::Doing::Idle => Doing::Idle,
            handover::Doing::Head => Doing::Head,
        };
        let (since, requests) = (rest.since, rest.requests);
        let bound = Bound::Free;
        let state = State { doing, since, stalled: None, is_http2: false, requests, bound };
        Self(Mutex::new(state), Farewell::default(), AtomicBool::new(false))
    }

    /// How it could go on elsewhere; `None` if it is busy, or has to be ended here.
    pub(crate) fn rest(&self) -> Option<Rest> {
        let state = *self.state();
        let doing = match state.doing {
            Doing::Fresh => handover::Doing::Fresh,
            Doing::Idle => handover::Doing::Idle,
            Doing::Head => handover::Doing::Head,
            Doing::Busy(_) => return None,
        };
        let is_free = state.bound == Bound::Free && state.stalled.is_none() && !state.is_http2;
        is_free.then_some(Rest { doing, since: state.since, requests: state.requests })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests served.
    pub(crate) fn requests(&self) -> u64 {
        self.state().requests
    }

    /// The application speaks WebSocket from here on.
    pub(crate) fn speak_websocket(&self, when: When) {
        *self.1.when.lock().unwrap_or_else(PoisonError::into_inner) = Some(when);
        self.1.is_there.store(true, Ordering::Release);
    }

    /// When its client is to be told that the worker ends; given once.
    pub(crate) fn goodbye(&self) -> Option<When> {
        if !self.1.is_there.load(Ordering::Acquire) {
            return None;
        }
        self.1.is_there.store(false, Ordering::Relaxed);
        self.1.when.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Bytes have come.
    pub(crate) fn read(&self) {
        let mut state = self.state();
        if matches!(state.doing, Doing::Fresh | Doing::Idle) && !state.is_http2 && state.bound == Bound::Free {
            (state.doing, state.since) = (Doing::Head, Instant::now());
        }
    }

    /// The preface has come: from here on a connection without requests is idle.
    pub(crate) fn speak_http2(&self) {
        let mut state = self.state();
        (state.doing, state.since, state.is_http2) = (Doing::Idle, Instant::now(), true);
    }

    /// The client takes nothing more for now, or does again.
    pub(crate) fn stalled(&self, stalled: bool) {
        let mut state = self.state();
        state.stalled = stalled.then(|| state.stalled.unwrap_or_else(Instant::now));
    }

    /// Since when it takes nothing.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.state().stalled
    }

    /// A request is being answered; gives its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state();
        let before = match state.doing {
            Doing::Busy(count) => count,
            Doing::Fresh | Doing::Idle | Doing::Head => 0,
        };
        // Since when is of no account while it is busy.
        state.doing = Doing::Busy(before + 1);
        state.requests = state.requests.saturating_add(1);
        if state.bound != Bound::Closing {
            // The head was read behind what was before it.
            state.bound = Bound::Free;
        }
        state.requests
    }

    /// The request of this number has a body.
    pub(crate) fn reading(&self, request: u64) {
        self.become_bound(Bound::Free, Bound::Reading(request));
    }

    /// It has been read. Of an earlier one that says nothing: all of it had come before this one's head.
    pub(crate) fn has_read(&self, request: u64) {
        self.become_bound(Bound::Reading(request), Bound::Free);
    }

    /// It was dropped before its end.
    pub(crate) fn left_unread(&self, request: u64) {
        if self.become_bound(Bound::Reading(request), Bound::Unread) {
            self.2.store(true, Ordering::Release);
        }
    }

    /// Whether it was: to be asked before hyper is polled.
    pub(crate) fn is_unread(&self) -> bool {
        self.2.load(Ordering::Acquire)
    }

    /// hyper was polled after that, and goes on.
    pub(crate) fn passed_over(&self) {
        self.2.store(false, Ordering::Relaxed);
        self.become_bound(Bound::Unread, Bound::Free);
    }

    /// Whether it was.
    fn become_bound(&self, from: Bound, to: Bound) -> bool {
        let mut state = self.state();
        let was = state.bound == from;
        if was {
            state.bound = to;
        }
        was
    }

    /// Since when nothing is being answered; `None` if something is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = *self.state();
        (!matches!(state.doing, Doing::Busy(_))).then_some(state.since)
    }

    /// Our side is being closed.
    pub(crate) fn closing(&self) {
        self.state().bound = Bound::Closing;
    }

    /// Its response has ended.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        let doing = match state.doing {
            Doing::Busy(count) if count > 1 => Doing::Busy(count - 1),
            Doing::Busy(_) | Doing::Fresh | Doing::Idle | Doing::Head => Doing::Idle,
        };
        (state.doing, state.since) = (doing, Instant::now());
    }

    /// What the timer is to do. `draining`: since when.
    pub(crate) fn verdict(&self, now: Instant, timeouts: &Timeouts, draining: Option<Instant>) -> Verdict {
        let state = *self.state();
        if let Some(since) = state.stalled
            && now >= since + timeouts.write
        {
            return Verdict::Abort("the client takes nothing of the response");
        }
        let (at, then) = match state.doing {
            // The last bytes of its response are still to be written.
            Doing::Idle if state.stalled.is_some() => {
                return Verdict::Wait(state.stalled.unwrap_or(now) + timeouts.write);
            }
            Doing::Fresh => (state.since + timeouts.park_after, Verdict::Park),
            Doing::Idle if state.is_http2 => (state.since + timeouts.idle, Verdict::CloseIdle),
            // An upload goes on though it is answered: its handler's business.
            Doing::Idle if matches!(state.bound, Bound::Reading(_)) => return Verdict::Wait(now + SOON),
            Doing::Idle if state.bound != Bound::Free => {
                let grace = draining.map(|began| began.max(state.since) + timeouts.idle_grace);
                let at = state.since + timeouts.idle;
                (grace.map_or(at, |grace| grace.min(at)), Verdict::CloseIdle)
            }
            Doing::Idle => (state.since + timeouts.park_after, Verdict::Park),
            Doing::Head => (state.since + timeouts.read, Verdict::Abort("no complete request head came in time")),
            // A handler may take its time; whether the client still takes its part is looked at now and then.
            // In a drain it is looked at more often, for once it is idle its grace begins.
            Doing::Busy(_) => {
                let at = state.stalled.unwrap_or(now) + timeouts.write;
                let soon = now + timeouts.idle_grace.max(SOON);
                return Verdict::Wait(if draining.is_some() { at.min(soon) } else { at });
            }
        };
        if now < at { Verdict::Wait(at) } else { then }
    }
}

/// A connection that rests: nothing of it is on its way through hyper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) doing: handover::Doing,
    pub(crate) since: Instant,
    pub(crate) requests: u64,
}

impl Rest {
    /// One that was accepted just now.
    pub(crate) fn fresh() -> Self {
        Self { doing: handover::Doing::Fresh, since: Instant::now(), requests: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_rests_only_between_requests() {
        let (activity, timeouts) = (Activity::resume(&Rest::fresh()), Timeouts::default());
        let after = |ms| Instant::now() + Duration::from_millis(ms);
        assert_eq!(activity.verdict(after(150), &timeouts, None), Verdict::Park);
        activity.read();
        assert_eq!(activity.rest().map(|rest| rest.doing), Some(handover::Doing::Head));
        activity.begin();
        assert_eq!(activity.rest(), None);
        assert!(matches!(activity.verdict(after(3_000_000), &timeouts, None), Verdict::Wait(_)));
        activity.stalled(true);
        activity.end();
        assert_eq!(activity.rest(), None, "its last bytes are not written");
        activity.stalled(false);
        assert_eq!(activity.rest().map(|rest| (rest.doing, rest.requests)), Some((handover::Doing::Idle, 1)));
        assert!(matches!(activity.verdict(after(50), &timeouts, None), Verdict::Wait(_)));
        assert_eq!(activity.verdict(after(150), &timeouts, None), Verdict::Park);
    }

    #[test]
    fn what_was_not_read_of_a_request_is_not_taken_for_the_next_one() {
        let (activity, timeouts) = (Activity::resume(&Rest::fresh()), Timeouts::default());
        let first = activity.begin();
        activity.reading(first);
        activity.end();
        let after = |s| Instant::now() + Duration::from_secs(s);
        // Somebody reads on behind the answer.
        activity.read();
        assert_eq!(activity.rest(), None);
        assert!(matches!(activity.verdict(after(3000), &timeouts, Some(Instant::now())), Verdict::Wait(_)));
        assert!(!activity.is_unread());
        activity.left_unread(first);
        assert!(activity.is_unread() && activity.rest().is_none());
        assert!(matches!(activity.verdict(after(4), &timeouts, Some(Instant::now())), Verdict::Wait(_)));
        assert_eq!(activity.verdict(after(6), &timeouts, Some(Instant::now())), Verdict::CloseIdle);
        activity.passed_over();
        assert!(activity.rest().is_some());
        let second = activity.begin();
        activity.reading(second);
        // Whoever reads an earlier one's body late does not speak for this one.
        activity.has_read(first);
        activity.left_unread(first);
        activity.end();
        assert!(activity.rest().is_none() && !activity.is_unread());
        activity.has_read(second);
        assert!(activity.rest().is_some());
        activity.closing();
        assert_eq!(activity.rest(), None);
    }

    #[test]
    fn a_head_that_does_not_end_is_dropped_and_a_slow_handler_is_not() {
        let (activity, timeouts, now) = (Activity::resume(&Rest::fresh()), Timeouts::default(), Instant::now());
        activity.read();
        let later = now + Duration::from_secs(31);
        assert!(matches!(activity.verdict(later, &timeouts, None), Verdict::Abort(_)));
        activity.begin();
        assert!(matches!(activity.verdict(later, &timeouts, Some(now)), Verdict::Wait(_)));
        activity.stalled(true);
        assert!(matches!(activity.verdict(later + Duration::from_secs(1), &timeouts, None), Verdict::Abort(_)));
    }
}
