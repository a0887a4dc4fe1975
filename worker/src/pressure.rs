//! Pressure on the memory of this process: whether it is near `limits.memory`, and what that means for work that is under way.
//!
//! New requests are refused near the limit (`middleware::memory_pressure`). A request whose body has not come yet is no new work, but it
//! may hold as much memory as a body may have, for as long as its client likes. So near the limit a client has less time for the rest:
//! [`STILL`] without a byte, and [`ALL`] for all of it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Time for which a client may give nothing of its body near the limit.
const STILL: Duration = Duration::from_secs(1);
/// Time near the limit after which every body that is not there is ended: one that comes slowly, too.
const ALL: Duration = Duration::from_secs(5);

/// This process's.
static OWN: Pressure = Pressure::new();
/// Tells of each look at the memory that found it near the limit.
static LOOKS: Notify = Notify::const_new();

/// Pressure on memory, since when.
#[derive(Debug)]
struct Pressure {
    is_near: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Pressure {
    const fn new() -> Self {
        Self { is_near: AtomicBool::new(false), since: Mutex::new(None) }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a look. Returns true if its outcome is new.
    fn set(&self, is_near: bool, now: Instant) -> bool {
        let mut since = self.since();
        *since = is_near.then(|| since.unwrap_or(now));
        drop(since);
        self.is_near.swap(is_near, Ordering::Relaxed) != is_near
    }
}

/// Records a look at the memory: whether it is near the limit. Returns true if that is new.
pub(crate) fn set(is_near: bool, now: Instant) -> bool {
    let is_new = OWN.set(is_near, now);
    if is_near {
        LOOKS.notify_waiters();
    }
    is_new
}

/// True if this process is near its limit.
pub(crate) fn is_near() -> bool {
    OWN.is_near.load(Ordering::Relaxed)
}

/// True if a body is to be ended that is not complete. `waits_since`: the moment since which its client gives nothing.
pub(crate) fn ends_body(waits_since: Instant, now: Instant) -> bool {
    let near_since = if is_near() { *OWN.since() } else { None };
    near_since.is_some_and(|near_since| is_over(near_since, waits_since, now))
}

/// True if the time of a client is over, near the limit. It has all of its time from the moment at which the limit came near.
fn is_over(near_since: Instant, waits_since: Instant, now: Instant) -> bool {
    now >= near_since + ALL || now >= near_since.max(waits_since) + STILL
}

/// Looks at the memory, as a task waits for them. Nothing wakes it while there is memory.
#[derive(Debug, Default)]
pub(crate) struct Looks(Option<Pin<Box<Notified<'static>>>>);

impl Looks {
    /// Has the task woken at the next look that finds the memory near its limit.
    pub(crate) fn await_next(&mut self, cx: &mut Context<'_>) {
        loop {
            let next = self.0.get_or_insert_with(|| Box::pin(LOOKS.notified()));
            if next.as_mut().poll(cx).is_pending() {
                return;
            }
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    #[test]
    fn pressure_counts_from_the_first_look_that_finds_it() {
        let (pressure, now) = (Pressure::new(), Instant::now());
        assert!(!pressure.set(false, now));
        assert!(pressure.set(true, now) && !pressure.set(true, now + STILL));
        assert_eq!(*pressure.since(), Some(now));
        assert!(pressure.set(false, now + STILL));
        assert_eq!(*pressure.since(), None);
    }

    #[test]
    fn a_body_that_stands_still_is_ended_first_and_then_every_body_that_is_not_there() {
        let near = Instant::now() + Duration::from_secs(100);
        let (long_ago, later) = (near - Duration::from_secs(90), near + Duration::from_secs(3));
        // Whoever stood still before has its time, too.
        assert!(!is_over(near, long_ago, near));
        assert!(is_over(near, long_ago, near + STILL));
        // One that has just given something.
        assert!(!is_over(near, later, later + STILL / 2));
        assert!(is_over(near, later, later + STILL));
        assert!(is_over(near, near + ALL, near + ALL));
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_by_each_look_that_it_waits_for() {
        let (mut looks, count) = (Looks::default(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        for number in 0..3 {
            looks.await_next(&mut Context::from_waker(&waker));
            assert_eq!(count.0.load(Ordering::Relaxed), number);
            LOOKS.notify_waiters();
        }
    }
}
