//! A point in time that can be written down.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds of CLOCK_MONOTONIC: means something within one boot only, so a snapshot carries the boot id along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The time since `earlier`; zero if that is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A deadline that its worker may extend (EXTEND_TIMEOUT_USEC), but not for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Deadline {
    /// The moment when it fires.
    pub at: Moment,
    /// Beyond this it cannot be moved.
    pub latest: Moment,
}

/// The factor by which a deadline's first length can be extended.
const EXTENSION: u32 = 10;

impl Deadline {
    /// A deadline that fires after `length`.
    #[must_use]
    pub fn after(now: Moment, length: Duration) -> Self {
        Self { at: now + length, latest: now + length.saturating_mul(EXTENSION) }
    }

    /// Moves it to `by` from now, if that is later and allowed.
    pub fn extend(&mut self, now: Moment, by: Duration) {
        self.at = self.at.max((now + by).min(self.latest));
    }
}
