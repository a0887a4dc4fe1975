//! Profiles of this process, taken as a service takes them. One at a time: they share the signal.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gin_shared::pprof::{Folded, Profile};

use super::{Cpu, ProfileError, begin, heap};

/// Held by each test that takes a profile, or has to do with SIGPROF.
static ALONE: Mutex<()> = Mutex::new(());

const SECOND: Cpu = Cpu { time: Duration::from_secs(1), hz: 99 };

/// Runs a test while no other one takes a profile.
pub(super) fn alone(test: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    test();
}

/// The same on a runtime.
fn alone_on_a_runtime(test: impl Future<Output = ()>) {
    alone(|| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test));
}

/// A thread that computes until it is told to end.
struct Busy {
    until: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn start(name: &str, stack: usize, compute: fn(&AtomicBool)) -> Self {
        let until = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&until);
        let builder = thread::Builder::new().name(name.to_owned()).stack_size(stack);
        Self { until, thread: Some(builder.spawn(move || compute(&own)).unwrap()) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.until.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[inline(never)]
fn hot_function_of_the_test(until: &AtomicBool) {
    let mut sum = 1_u64;
    while !until.load(Ordering::Relaxed) {
        // No call, which would be the hot function of a debug build.
        let mut left = 1000;
        while left > 0 {
            left -= 1;
            sum ^= sum << 13;
            sum ^= sum >> 7;
            sum ^= sum << 17;
        }
        black_box(sum);
    }
}

/// 24 KiB of stack above the hot function, or some more: more than is copied at first, and less than is copied at most.
#[inline(never)]
fn deep_function_of_the_test(until: &AtomicBool) {
    #[inline(never)]
    fn below(depth: u32, until: &AtomicBool) {
        let room = black_box([depth as u8; 1024]);
        if depth == 0 {
            hot_function_of_the_test(until);
        } else {
            below(depth - 1, until);
        }
        black_box(room);
    }
    below(24, until);
}

/// Nanoseconds of the samples of a thread whose stack has the function.
fn time_of(profile: &Profile, thread: &str, function: &str) -> i64 {
    let has = |location: &u32| {
        let frames = &profile.locations[*location as usize].frames;
        frames.iter().any(|frame| frame.function.ends_with(function))
    };
    let is_meant = |(name, value): &(String, String)| name == "thread" && value == thread;
    let samples = profile.samples.iter().filter(|sample| sample.labels.iter().any(is_meant));
    samples.filter(|sample| sample.locations.iter().any(has)).map(|sample| sample.values[1]).sum()
}

/// Stacks of a profile that have the deep function's leaf: with the root cut, and not.
fn cut_and_whole(folded: &Folded) -> (bool, bool) {
    let deep = folded.keys().filter(|stack| stack.iter().any(|name| name.ends_with("::below")));
    let cut = deep.clone().any(|stack| &*stack[0] == "[cut]");
    let whole = deep.clone().any(|stack| stack.iter().any(|name| name.ends_with("deep_function_of_the_test")));
    (cut, whole)
}

#[test]
fn a_hot_function_is_the_first_on_threads_from_before_and_after_the_begin() {
    alone_on_a_runtime(async {
        let before = Busy::start("before", 256 * 1024, hot_function_of_the_test);
        let running = begin(SECOND).unwrap();
        let after = Busy::start("after", 256 * 1024, hot_function_of_the_test);
        let profile = running.finish(std::future::pending()).await.unwrap();
        drop((before, after));
        let top = profile.top(1, 1);
        assert!(top[0].function.ends_with("hot_function_of_the_test"), "{top:?}");
        for thread in ["before", "after"] {
            let time = time_of(&profile, thread, "hot_function_of_the_test");
            assert!(time >= 50_000_000, "{thread}: {time} ns");
        }
        assert!(profile.took_ns >= 1_000_000_000 && profile.began_ns > 0, "{profile:?}");
        assert_eq!(profile.period.as_ref().map(|(_, period)| *period), Some(10_101_010));
        let pid = format!("pid {}", std::process::id());
        assert!(profile.comments.contains(&pid) && !profile.comments.iter().any(|comment| comment.contains("early")));
    });
}

#[test]
fn a_stack_that_is_deeper_than_the_copy_is_cut_until_the_copy_has_grown() {
    alone_on_a_runtime(async {
        let deep = Busy::start("deep", 512 * 1024, deep_function_of_the_test);
        let profile = begin(SECOND).unwrap().finish(std::future::pending()).await.unwrap();
        drop(deep);
        let folded = profile.folded(0);
        assert_eq!(cut_and_whole(&folded), (true, true), "{folded:?}");
    });
}

#[test]
fn ten_thousand_samples_a_second_do_no_harm() {
    alone_on_a_runtime(async {
        let busy = [
            Busy::start("one", 256 * 1024, hot_function_of_the_test),
            Busy::start("two", 256 * 1024, hot_function_of_the_test),
        ];
        let profile = begin(Cpu { hz: 10_000, ..SECOND }).unwrap().finish(std::future::pending()).await.unwrap();
        drop(busy);
        let all: i64 = profile.samples.iter().map(|sample| sample.values[1]).sum();
        assert!(all > 50_000_000, "{all} ns");
    });
}

#[test]
fn a_thread_with_a_small_stack_is_sampled() {
    alone_on_a_runtime(async {
        let small = Busy::start("small", 64 * 1024, hot_function_of_the_test);
        let profile = begin(SECOND).unwrap().finish(std::future::pending()).await.unwrap();
        drop(small);
        assert!(time_of(&profile, "small", "hot_function_of_the_test") > 0, "{profile:?}");
    });
}

#[test]
fn a_second_profile_is_refused_and_one_that_is_dropped_makes_room() {
    alone_on_a_runtime(async {
        let first = begin(Cpu { time: Duration::from_secs(300), hz: 99 }).unwrap();
        assert!(matches!(begin(SECOND), Err(ProfileError::Busy)));
        drop(first);
        // Its thread ends by itself, and then the next one can begin.
        let second = loop {
            match begin(Cpu { time: Duration::from_secs(300), hz: 99 }) {
                Ok(running) => break running,
                Err(ProfileError::Busy) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let profile = second.finish(std::future::ready(())).await.unwrap();
        assert!(profile.comments.iter().any(|comment| comment.starts_with("it ended early")), "{:?}", profile.comments);
    });
}

#[test]
fn a_profile_that_nobody_reads_makes_room_for_the_next() {
    alone_on_a_runtime(async {
        let first = begin(SECOND).unwrap();
        let second = loop {
            match begin(SECOND) {
                Ok(running) => break running,
                Err(ProfileError::Busy) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        drop(second);
        let profile = first.finish(std::future::pending()).await.unwrap();
        assert!(!profile.comments.iter().any(|comment| comment.contains("early")), "{:?}", profile.comments);
    });
}

/// Descriptors, threads of the profiler, and timers of this process, as far as the kernel tells.
fn held() -> (usize, usize, String) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.unwrap().path().join("comm"));
    let profilers =
        threads.filter_map(|entry| name(entry).ok()).filter(|name| name.trim_end() == "gin-profiler").count();
    (descriptors, profilers, std::fs::read_to_string("/proc/self/timers").unwrap_or_default())
}

/// The same once no thread of the profiler is there. Such a thread ends a moment after its profile.
fn at_rest() -> (usize, usize, String) {
    loop {
        let held = held();
        if held.1 == 0 {
            return held;
        }
        thread::yield_now();
    }
}

#[test]
fn after_a_profile_no_descriptor_no_thread_and_no_timer_is_left() {
    alone_on_a_runtime(async {
        let before = at_rest();
        assert_eq!(before.2, "");
        let running = begin(SECOND).unwrap();
        assert_eq!(held().1, 1);
        running.finish(std::future::ready(())).await.unwrap();
        let after = at_rest();
        assert_eq!(after.2, "");
        // Other tests of this process open files in between, where it is not alone.
        assert!(after.0 <= before.0 || std::env::var_os("NEXTEST").is_none(), "{} before, {} after", before.0, after.0);
    });
}

#[test]
fn a_heap_without_a_profile_of_its_own_says_what_is_missing() {
    alone_on_a_runtime(async {
        let Err(ProfileError::NoHeap(why)) = heap().await else { panic!("there is a profile") };
        assert!(why.contains("gin_worker::heap_profiles!()"), "{why}");
    });
}
