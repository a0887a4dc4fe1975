//! The one timer of a connection while a protocol serves it: coarse, and re-armed only when it fires, or when a connection comes to rest
//! that was busy at the last look.
//!
//! hyper's own timeouts are not used: they cannot tell an idle connection from a slow request head. [`Activity`] can, and says what is
//! due; the machine says what follows.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::connections::activity::{Activity, Due};
use crate::connections::alarm::LATE_LOOK;
use crate::connections::drain_state::{DrainState, Spread, age_end};
use crate::connections::machine::{Event, HandoverHold, Owner, ProtocolEvent, State};
use crate::graceful::Phase;

/// Time for hyper to see bytes that have come in the very moment of closing.
pub(super) const SECOND_LOOK: Duration = Duration::from_millis(10);

/// Timer of one connection.
pub(super) struct Timer<'a> {
    pub(super) drain: &'a DrainState,
    pub(super) activity: &'a Arc<Activity>,
    /// The connection's place among those that are told to end.
    pub(super) spread: Spread,
    state: State,
    /// The moment from which the connection is old.
    age_end: Option<Instant>,
    /// The moment at which this timer heard of the drain.
    draining: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
    /// True if the client was found late, and is looked at once more.
    found_late: bool,
    /// True if the connection was found busy: the next look may be long after its rest.
    found_busy: bool,
}

impl<'a> Timer<'a> {
    /// `opened`: the moment at which the connection was accepted.
    pub(super) fn new(drain: &'a DrainState, activity: &'a Arc<Activity>, state: State, opened: Instant) -> Self {
        let now = Instant::now();
        let first = hold(state).next_look(now + drain.bounds.timeouts.park_after.min(drain.bounds.timeouts.read), now);
        // In a drain that has begun already the connection waits like at any other time: what has come is read first.
        let draining = (drain.life.phase() >= Phase::Draining).then_some(now);
        if draining.is_some() {
            drain.note_served(activity);
        }
        Self {
            drain,
            activity,
            spread: Spread::next(),
            state,
            age_end: age_end(opened, &drain.bounds.timeouts),
            draining,
            sleep: Box::pin(tokio::time::sleep_until(first.into())),
            found_late: false,
            found_busy: false,
        }
    }

    /// Waits until something is due, or the worker begins to drain. `None`: the worker ends, and drops the connection.
    ///
    /// Each poll of a connection comes here, and to look at a phase costs a lock that all connections share: one phase is waited for at a
    /// time.
    pub(super) async fn next(&mut self) -> Option<Due> {
        let phase = if self.is_draining() { Phase::Cut } else { Phase::Draining };
        tokio::select! {
            biased;
            () = self.drain.life.reached(phase) => {
                if self.drain.life.phase() == Phase::Cut {
                    return None;
                }
                self.draining = Some(Instant::now());
                self.drain.note_served(self.activity);
            }
            () = self.activity.rested(), if self.found_busy => {}
            () = self.sleep.as_mut() => {}
        }
        let now = Instant::now();
        // First: a rest that comes in between is told.
        self.found_busy = self.activity.awaits_rest();
        let due = self.activity.due(now, &self.drain.bounds_now(), self.draining);
        let was_late = std::mem::replace(&mut self.found_late, matches!(due, Due::Abort(_)));
        match due {
            Due::Wait(until) => self.sleep.as_mut().reset(hold(self.state).next_look(until, now).into()),
            Due::Abort(_) if !was_late => {
                self.look(LATE_LOOK);
                return Some(Due::Wait(now + LATE_LOOK));
            }
            Due::Abort(_) | Due::Park | Due::CloseIdle => {}
        }
        Some(due)
    }

    /// The same without looks at which nothing is due. A drain is told at once.
    pub(super) async fn next_duty(&mut self) -> Option<Due> {
        loop {
            let was_draining = self.is_draining();
            let due = self.next().await;
            if !matches!(due, Some(Due::Wait(_))) || self.is_draining() != was_draining {
                return due;
            }
        }
    }

    /// Looks again after this time.
    pub(super) fn look(&mut self, after: Duration) {
        self.sleep.as_mut().reset((Instant::now() + after).into());
    }

    /// Looks again at this moment at the latest.
    pub(super) fn look_by(&mut self, at: Option<Instant>) {
        if let Some(at) = at.filter(|at| *at < self.sleep.deadline().into_std()) {
            self.sleep.as_mut().reset(at.into());
        }
    }

    /// True once this timer has heard of the drain.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// The moment at which the client of a connection that goes on is told of its end: in a drain, or because it is old.
    pub(super) fn goodbye(&self) -> Option<Instant> {
        [self.drain.goodbye(self.spread), self.age_end].into_iter().flatten().min()
    }

    /// The decision at a pause.
    pub(super) fn pause_check(&self) -> PauseCheck<'a> {
        PauseCheck { drain: self.drain, state: self.state, is_draining: self.is_draining() }
    }

    /// True if the connection is to be closed at its deadline. If bytes have come in this very moment, it is looked at again soon.
    pub(super) fn closes(&mut self, has_bytes: bool) -> bool {
        let after = self.state.after(Instant::now(), Event::Deadline { has_bytes }, self.drain.surroundings());
        let closes = after == State::Closing;
        if !closes {
            self.look(SECOND_LOOK);
        }
        closes
    }
}

/// Decision whether a connection leaves its protocol, in a drain or for other workers' share.
#[derive(Debug, Clone, Copy)]
pub(super) struct PauseCheck<'a> {
    drain: &'a DrainState,
    state: State,
    /// True once the timer has heard of the drain.
    is_draining: bool,
}

impl PauseCheck<'_> {
    /// True if the connection is to leave at this pause, because other workers take. `served`: true if a request was answered
    /// since this protocol has it. It is not asked while nothing leaves: each poll of hyper comes here.
    pub(super) fn leaves(self, served: impl FnOnce() -> bool) -> bool {
        if !self.is_draining && !self.drain.shares() {
            return false;
        }
        let paused = Event::Protocol(ProtocolEvent::Paused { served: served() });
        self.state.after(Instant::now(), paused, self.drain.surroundings()) == State::Resting
    }
}

/// The hold of a connection that a protocol serves.
fn hold(state: State) -> HandoverHold {
    match state.owner() {
        Owner::Protocol(hold) => hold,
        Owner::Hub | Owner::Parking | Owner::Giver | Owner::Taker | Owner::Closer | Owner::Nobody => HandoverHold::None,
    }
}

#[cfg(test)]
mod tests {
    use gin_shared::handover::Doing;

    use super::*;
    use crate::connections::bounds::Bounds;
    use crate::connections::progress::Progress;
    use crate::graceful::Life;

    #[tokio::test]
    async fn a_connection_that_was_busy_is_parked_soon_after_its_request() {
        let mut bounds = Bounds::default();
        bounds.timeouts.park_after = Duration::from_millis(1);
        bounds.timeouts.write = Duration::from_secs(3600);
        let (drain, now) = (DrainState::new(Life::default(), bounds), Instant::now());
        let activity = Arc::new(Activity::resume(&Progress { doing: Doing::Idle, since: now, requests: 0 }));
        let mut timer = Timer::new(&drain, &activity, State::Active(HandoverHold::None), now);
        activity.begin();
        // A look at a busy connection, and the next one would be in an hour.
        let Some(Due::Wait(at)) = timer.next().await else { panic!("it is busy") };
        assert!(at > now + Duration::from_secs(3000));
        activity.end();
        while timer.next().await != Some(Due::Park) {}
        assert!(activity.idle().is_some());
    }
}
