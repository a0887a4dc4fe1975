//! The two clocks: one to reckon with, one to show.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::moment::Moment;

/// CLOCK_MONOTONIC.
#[must_use]
pub fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    Moment(0) + seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// Milliseconds since 1970, now.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970 that the wall clock would have shown at `moment`, if it was not set since.
#[must_use]
pub fn wall_ns_at(moment: Moment) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.saturating_sub(now().since(moment)).as_nanos()).unwrap_or(u64::MAX)
}

/// The time that the wall clock would have shown at `moment`, if it was not set since.
#[must_use]
pub fn wall_ms_at(moment: Moment) -> u64 {
    let ago = u64::try_from(now().since(moment).as_millis()).unwrap_or(u64::MAX);
    wall_ms().saturating_sub(ago)
}
