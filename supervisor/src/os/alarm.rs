//! An alarm by the clock that goes on while the machine sleeps: tokio's does not, and hours of it may be missing after a suspend.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::watch;

/// The shortest wait: a timer that is set to 0 never ends.
const SHORTEST: Duration = Duration::from_nanos(1);

/// An alarm at a moment of the wall clock, if that is not set meanwhile.
#[derive(Debug, Default)]
pub struct Alarm {
    at: Option<SystemTime>,
    /// `None` beside a moment: there is no descriptor to be had, and tokio's clock is waited for.
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Alarm {
    /// Sets it to this moment.
    pub fn set(&mut self, at: Option<SystemTime>, now: SystemTime) {
        if self.at != at {
            let wait = at.map(|at| at.duration_since(now).unwrap_or_default());
            self.timer = wait.and_then(|wait| timer(wait).ok());
            self.at = at;
        }
    }

    /// Waits for the moment. The alarm is not set any more then.
    pub async fn rings(&mut self) {
        match (&self.timer, self.at) {
            (Some(timer), _) => drop(timer.readable().await),
            (None, Some(at)) => tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await,
            (None, None) => std::future::pending().await,
        }
        *self = Self::default();
    }
}

/// A timer that is readable after this time.
fn timer(wait: Duration) -> io::Result<AsyncFd<OwnedFd>> {
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    let first = Timespec::try_from(wait.max(SHORTEST)).map_err(io::Error::other)?;
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: none, it_value: first })?;
    watch::readable(timer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_its_moment_once() {
        let (mut alarm, now) = (Alarm::default(), SystemTime::now());
        let wait = Duration::from_millis(20);
        alarm.set(Some(now + wait), now);
        assert!(alarm.timer.is_some());
        let began = std::time::Instant::now();
        alarm.rings().await;
        assert!(began.elapsed() >= wait / 2 && alarm.at.is_none() && alarm.timer.is_none());
        // One that is over rings at once; one that is taken away, or was set to nothing, never does.
        alarm.set(Some(now), SystemTime::now());
        alarm.rings().await;
        alarm.set(Some(now), SystemTime::now());
        alarm.set(None, SystemTime::now());
        assert!(tokio::time::timeout(wait, alarm.rings()).await.is_err());
    }
}
