//! What a connection is busy with, and how long it may go on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Timeouts;

/// What one connection is doing: written by its I/O and its service, read by its timer.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    doing: Doing,
    since: Instant,
    /// Since when the client has taken nothing of what is to be written.
    stalled: Option<Instant>,
    /// Its frames come between requests, too: bytes are no sign of one.
    is_http2: bool,
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
pub(super) enum Verdict {
    /// Look again then.
    Wait(Instant),
    /// Nothing is on its way: close it with good manners.
    CloseIdle,
    /// The client does not keep its side: drop it.
    Abort(&'static str),
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { doing: Doing::Fresh, since: Instant::now(), stalled: None, is_http2: false }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have come.
    pub(super) fn read(&self) {
        let mut state = self.state();
        if matches!(state.doing, Doing::Fresh | Doing::Idle) && !state.is_http2 {
            (state.doing, state.since) = (Doing::Head, Instant::now());
        }
    }

    /// The preface has come: from here on a connection without requests is idle.
    pub(super) fn speak_http2(&self) {
        let mut state = self.state();
        (state.doing, state.since, state.is_http2) = (Doing::Idle, Instant::now(), true);
    }

    /// The client takes nothing more for now, or does again.
    pub(super) fn stalled(&self, stalled: bool) {
        let mut state = self.state();
        state.stalled = stalled.then(|| state.stalled.unwrap_or_else(Instant::now));
    }

    /// A request is being answered.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        let before = match state.doing {
            Doing::Busy(count) => count,
            Doing::Fresh | Doing::Idle | Doing::Head => 0,
        };
        (state.doing, state.since) = (Doing::Busy(before + 1), Instant::now());
    }

    /// Its response has ended.
    pub(super) fn end(&self) {
        let mut state = self.state();
        let doing = match state.doing {
            Doing::Busy(count) if count > 1 => Doing::Busy(count - 1),
            Doing::Busy(_) | Doing::Fresh | Doing::Idle | Doing::Head => Doing::Idle,
        };
        (state.doing, state.since) = (doing, Instant::now());
    }

    /// What the timer is to do. `draining`: since when.
    pub(super) fn verdict(&self, now: Instant, timeouts: &Timeouts, draining: Option<Instant>) -> Verdict {
        let state = *self.state();
        if let Some(since) = state.stalled
            && now >= since + timeouts.write
        {
            return Verdict::Abort("the client takes nothing of the response");
        }
        let grace = draining.map(|began| began.max(state.since) + timeouts.idle_grace);
        let (at, then) = match state.doing {
            Doing::Fresh => {
                let at = state.since + timeouts.read;
                (grace.map_or(at, |grace| grace.min(at)), Verdict::CloseIdle)
            }
            Doing::Idle => {
                let at = state.since + timeouts.idle;
                (grace.map_or(at, |grace| grace.min(at)), Verdict::CloseIdle)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_closed_only_after_its_time() {
        let (activity, timeouts, now) = (Activity::new(), Timeouts::default(), Instant::now());
        activity.begin();
        let after = |s| now + Duration::from_secs(s);
        assert!(matches!(activity.verdict(after(3000), &timeouts, None), Verdict::Wait(_)));
        activity.end();
        assert!(matches!(activity.verdict(after(50), &timeouts, None), Verdict::Wait(_)));
        assert_eq!(activity.verdict(after(61), &timeouts, None), Verdict::CloseIdle);
        assert!(matches!(activity.verdict(after(4), &timeouts, Some(now)), Verdict::Wait(_)));
        assert_eq!(activity.verdict(after(6), &timeouts, Some(now)), Verdict::CloseIdle);
    }

    #[test]
    fn a_head_that_does_not_end_is_dropped_and_a_slow_handler_is_not() {
        let (activity, timeouts, now) = (Activity::new(), Timeouts::default(), Instant::now());
        activity.read();
        let later = now + Duration::from_secs(31);
        assert!(matches!(activity.verdict(later, &timeouts, None), Verdict::Abort(_)));
        activity.begin();
        assert!(matches!(activity.verdict(later, &timeouts, Some(now)), Verdict::Wait(_)));
        activity.stalled(true);
        assert!(matches!(activity.verdict(later + Duration::from_secs(1), &timeouts, None), Verdict::Abort(_)));
    }
}
