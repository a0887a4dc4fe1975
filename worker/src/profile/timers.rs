//! A timer for each thread of this process, on the clock of the thread's time on the CPU.
//!
//! One timer for the process would be simpler. But before Linux 6.4 its signals go to the main thread by preference, so the profile would
//! show that thread alone. The threads are listed when a profile begins and four times a second after that.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use gin_shared::fault;
use nix::errno::Errno;
use nix::libc::clockid_t;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

/// Most threads that have a timer.
const MOST: usize = 1024;

/// The timers of all threads but the one that has made them.
#[derive(Debug)]
pub(super) struct Timers {
    own: i32,
    period: Duration,
    all: HashMap<i32, Timer>,
    names: HashMap<u32, String>,
    unsampled: Option<Unsampled>,
}

/// Threads that a profile does not have.
#[derive(Debug, thiserror::Error)]
#[error("{threads} threads at once had no timer, so they are not in it: {why}")]
pub(super) struct Unsampled {
    threads: usize,
    why: String,
}

impl Timers {
    /// Starts a timer for each thread.
    ///
    /// # Errors
    /// The threads cannot be listed, or there is no timer for any of them.
    pub(super) fn start(hz: u32) -> io::Result<Self> {
        Self::of(own()?, Duration::from_secs(1) / hz.max(1), threads()?, timer)
    }

    fn of(
        own: i32,
        period: Duration,
        threads: HashSet<i32>,
        make: impl Fn(i32, Duration) -> io::Result<Option<Timer>>,
    ) -> io::Result<Self> {
        let mut timers = Self { own, period, all: HashMap::new(), names: HashMap::new(), unsampled: None };
        match timers.add(threads, make) {
            Some(refusal) if timers.all.is_empty() => Err(refusal),
            Some(_) | None => Ok(timers),
        }
    }

    /// Starts timers for threads that are new, and forgets threads that have ended.
    ///
    /// # Errors
    /// The threads cannot be listed.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let _refusal = self.add(threads()?, timer);
        Ok(())
    }

    /// Does the same with a list of the threads that live. `make` gives a timer, or `None` if the thread has ended. Returns its last
    /// error: a thread without a timer costs its own samples, and not those of the others.
    fn add(
        &mut self,
        threads: HashSet<i32>,
        make: impl Fn(i32, Duration) -> io::Result<Option<Timer>>,
    ) -> Option<io::Error> {
        // The number of an ended thread may be another's one day.
        self.all.retain(|thread, _| threads.contains(thread));
        let (mut without, mut refusal) = (0, None);
        for thread in threads {
            if thread == self.own || self.all.contains_key(&thread) {
                continue;
            }
            if self.all.len() >= MOST {
                without += 1;
                continue;
            }
            match make(thread, self.period) {
                Ok(Some(timer)) => {
                    self.all.insert(thread, timer);
                    self.learn_name(thread);
                }
                Ok(None) => {}
                Err(error) => {
                    without += 1;
                    refusal = Some(error);
                }
            }
        }
        if without > self.unsampled.as_ref().map_or(0, |before| before.threads) {
            let why = refusal.as_ref().map_or_else(|| format!("at most {MOST} have one"), ToString::to_string);
            self.unsampled = Some(Unsampled { threads: without, why });
        }
        refusal
    }

    /// Ends all timers, and gives the threads' names, and tells of those without a timer. A thread is named by itself, perhaps after it was
    /// seen first: so names are read again.
    pub(super) fn end(mut self) -> (HashMap<u32, String>, Option<Unsampled>) {
        let threads: Vec<i32> = self.all.drain().map(|(thread, _)| thread).collect();
        threads.into_iter().for_each(|thread| self.learn_name(thread));
        (self.names, self.unsampled)
    }

    fn learn_name(&mut self, thread: i32) {
        let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
        if let Ok(name) = name {
            self.names.insert(thread.unsigned_abs(), name.trim_end().to_owned());
        }
    }
}

/// The thread that calls.
fn own() -> io::Result<i32> {
    let link = std::fs::read_link("/proc/thread-self")?;
    let number = link.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
    number.ok_or_else(|| io::Error::other("/proc/thread-self names no thread"))
}

/// All threads of this process.
fn threads() -> io::Result<HashSet<i32>> {
    let mut all = HashSet::new();
    for entry in std::fs::read_dir("/proc/self/task")? {
        all.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(all)
}

/// Starts a timer. `None`: the thread has ended.
fn timer(thread: i32, period: Duration) -> io::Result<Option<Timer>> {
    fault::at("profile.timer")?;
    let signal = Signal::SIGPROF;
    let event = SigEvent::new(SigevNotify::SigevThreadId { signal, thread_id: thread, si_value: thread as isize });
    let mut timer = match Timer::new(clock(thread), event) {
        Ok(timer) => timer,
        Err(Errno::EINVAL | Errno::ESRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Threads that are in step are not to be sampled in step.
    let first = period.mul_f64(f64::from(thread.unsigned_abs().wrapping_mul(2_654_435_769)) / f64::from(u32::MAX));
    let first = first.max(Duration::from_nanos(1));
    match timer.set(Expiration::IntervalDelayed(first.into(), period.into()), TimerSetTimeFlags::empty()) {
        Ok(()) => Ok(Some(timer)),
        Err(Errno::EINVAL | Errno::ESRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The clock of a thread's time on the CPU, as glibc makes it of a thread's number: CPUCLOCK_SCHED of one thread.
fn clock(thread: i32) -> ClockId {
    const OF_A_THREAD: clockid_t = 4;
    const TIME_ON_THE_CPU: clockid_t = 2;
    ClockId::from((!thread << 3) | OF_A_THREAD | TIME_ON_THE_CPU)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::{signal, tests::alone};
    use super::*;

    /// Numbers that no thread has.
    const REFUSED: [i32; 2] = [i32::MAX, i32::MAX - 1];
    const GONE: i32 = i32::MAX - 2;

    /// As on a system that has no timers for some threads.
    fn scarce(thread: i32, period: Duration) -> io::Result<Option<Timer>> {
        match thread {
            GONE => Ok(None),
            thread if REFUSED.contains(&thread) => Err(Errno::EAGAIN.into()),
            thread => timer(thread, period),
        }
    }

    #[test]
    fn a_thread_without_a_timer_costs_its_own_samples_alone() {
        alone(|| {
            // A signal without a handler would end the process.
            assert!(signal::install().unwrap());
            let (told, number) = mpsc::channel();
            let (end, is_over) = mpsc::channel::<()>();
            let waits = std::thread::spawn(move || {
                told.send(own().unwrap()).unwrap();
                let _ = is_over.recv();
            });
            let sampled = number.recv().unwrap();
            let own = own().unwrap();
            let all = HashSet::from([own, sampled, GONE, REFUSED[0], REFUSED[1]]);
            let mut timers = Timers::of(own, Duration::from_secs(1), all, scarce).unwrap();
            assert_eq!(timers.all.keys().collect::<Vec<_>>(), [&sampled]);
            // Fewer at a time: the most are told.
            assert!(timers.add(HashSet::from([sampled, REFUSED[0]]), scarce).is_some());
            let (names, unsampled) = timers.end();
            assert!(names.contains_key(&sampled.unsigned_abs()));
            let told = unsampled.unwrap().to_string();
            assert!(told.starts_with("2 threads") && told.contains("os error 11"), "{told}");
            drop(end);
            waits.join().unwrap();
        });
    }

    #[test]
    fn only_where_no_thread_has_a_timer_there_is_no_profile() {
        let of = |threads: &[i32]| Timers::of(0, Duration::from_secs(1), threads.iter().copied().collect(), scarce);
        assert_eq!(of(&REFUSED).unwrap_err().raw_os_error(), Some(Errno::EAGAIN as i32));
        assert!(of(&[GONE]).unwrap().end().1.is_none());
    }

    #[test]
    fn this_thread_is_one_of_all_and_has_a_clock() {
        let own = own().unwrap();
        assert!(threads().unwrap().contains(&own));
        let before = nix::time::clock_gettime(clock(own)).unwrap();
        let mut sum = 0_u64;
        while nix::time::clock_gettime(clock(own)).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    #[test]
    fn a_thread_that_has_ended_gets_no_timer() {
        let gone = std::thread::spawn(|| own().unwrap()).join().unwrap();
        // join(3) returns when the kernel has cleared the thread's number: its entry goes a moment later.
        while threads().unwrap().contains(&gone) {
            std::thread::yield_now();
        }
        assert!(timer(gone, Duration::from_millis(10)).unwrap().is_none());
    }
}
