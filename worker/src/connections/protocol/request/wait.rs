//! Time that a client has for its body.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, Wake, Waker};
use std::time::Instant;

use crate::connections::alarm::Alarm;
use crate::connections::bounds::Bounds;
use crate::connections::pace::Pace;

/// The wait for a client's next bytes.
#[derive(Default)]
pub(super) struct Wait {
    pace: Pace,
    alarm: Alarm,
    /// Made at the first wait.
    doorbell: Option<Arc<Doorbell>>,
    /// The moment at which the task was woken for this poll.
    woken: Option<Instant>,
}

/// Tells the moment at which bytes came: the handler may come back for them much later, and that time is its own.
struct Doorbell(Mutex<Rung>);

struct Rung {
    at: Option<Instant>,
    waker: Waker,
}

impl Doorbell {
    fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Rung { at: None, waker })))
    }

    /// Takes the moment at which it rang, and rings for this task from now on.
    fn answer(&self, waker: &Waker) -> Option<Instant> {
        let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rung.waker.clone_from(waker);
        rung.at.take()
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rung.at.get_or_insert_with(Instant::now);
        let waker = rung.waker.clone();
        drop(rung);
        waker.wake();
    }
}

impl Wait {
    /// Polls for bytes. Whoever wakes the task leaves the moment here.
    pub(super) fn poll<T>(&mut self, cx: &mut Task<'_>, mut poll: impl FnMut(&mut Task<'_>) -> Poll<T>) -> Poll<T> {
        let doorbell = match &self.doorbell {
            Some(doorbell) => doorbell,
            // The bytes of most bodies are there already.
            None => match poll(cx) {
                Poll::Ready(polled) => return Poll::Ready(polled),
                Poll::Pending => self.doorbell.insert(Doorbell::new(cx.waker().clone())),
            },
        };
        self.woken = doorbell.answer(cx.waker());
        poll(&mut Task::from_waker(&Waker::from(Arc::clone(doorbell))))
    }

    /// Records that bytes have come.
    pub(super) fn moved(&mut self, bytes: usize) {
        let woken = self.woken.take();
        // The alarm stays as it is: a byte between its two rings is no new time. It looks itself whether there is more.
        self.pace.moved(bytes, || woken.unwrap_or_else(Instant::now));
    }

    /// Records that it is not the client that is waited for.
    pub(super) fn rest(&mut self) {
        self.pace.rest(Instant::now());
    }

    /// The moment since which the client is waited for: now, if it was not.
    pub(super) fn since(&mut self, now: Instant) -> Instant {
        self.pace.wait(now);
        self.pace.waits_since().unwrap_or(now)
    }

    /// Gives the client its time once more.
    pub(super) fn begin_anew(&mut self) {
        (self.pace, self.alarm) = (Pace::default(), Alarm::default());
    }

    /// True if the client has had its time. Else the task is woken when there is reason to ask again.
    pub(super) fn is_late(&mut self, cx: &mut Task<'_>, bounds: &Bounds) -> bool {
        self.pace.wait(Instant::now());
        let deadline = self.pace.deadline(bounds.timeouts.read, bounds.limits.min_rate);
        deadline.is_some_and(|deadline| self.alarm.is_late(cx, deadline))
    }
}
