//! Waits for something that sends the test no message.

use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

/// Longest wait for anything in these tests. A longer one is a failure.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Pause between two looks of [`eventually`].
const PAUSE: Duration = Duration::from_millis(5);

/// Polls: looks every 5 ms until `is_so` holds, and returns the value that was seen then.
///
/// This is the only poll of the harness. Use it only for state whose owner sends no event: a property of a systemd unit,
/// the kernel's tables in `/proc`, the fill level of a pipe, a server that does not say when it listens, or the worker
/// behind a connection, which shows only in the next answer. A comment at each call names the reason. A file or a
/// directory has events: use [`on_change`].
///
/// # Panics
/// If `is_so` does not hold within [`PATIENCE`]. The message has the value that was seen last.
pub fn eventually<T: Debug>(what: &str, mut look: impl FnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let seen = look();
        if is_so(&seen) {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; seen last: {seen:#?}");
        std::thread::sleep(PAUSE);
    }
}

/// Looks again after each change of the file or directory at `path` until `is_so` holds, and returns the value that was
/// seen then. The kernel (inotify) reports the changes; nothing is polled.
///
/// # Panics
/// If there is nothing at `path`, or if `is_so` does not hold within [`PATIENCE`]. The message has the value that was
/// seen last.
pub fn on_change<T: Debug>(path: &Path, what: &str, mut look: impl FnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let changes = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    let kinds = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE;
    add_watch(&changes, path, kinds).unwrap_or_else(|error| panic!("{what}: cannot watch {}: {error}", path.display()));
    let began = Instant::now();
    loop {
        let seen = look();
        if is_so(&seen) {
            return seen;
        }
        let left = Timespec::try_from(PATIENCE.saturating_sub(began.elapsed())).unwrap();
        let changed = poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&left)).unwrap();
        assert!(changed > 0, "not within {PATIENCE:?}: {what}; seen last: {seen:#?}");
        // Many changes may wait. One look covers all of them.
        while rustix::io::read(&changes, &mut [0; 4096]).is_ok_and(|length| length > 0) {}
    }
}
