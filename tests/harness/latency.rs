//! How long exchanges took, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Width of a class, in microseconds.
const CLASS: u64 = 100;

/// Durations of exchanges. However many they are, they need little memory: they are counted in classes of a tenth of a millisecond.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Latencies(BTreeMap<u64, u64>);

impl Latencies {
    /// Counts one more.
    pub fn add(&mut self, took: Duration) {
        let class = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) / CLASS;
        *self.0.entry(class).or_default() += 1;
    }

    /// Counts all of `other`, too.
    pub fn join(&mut self, other: Self) {
        other.0.into_iter().for_each(|(class, count)| *self.0.entry(class).or_default() += count);
    }

    /// The time within which so many of a hundred ended, rounded up. Zero if there are none.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Duration {
        let all: u64 = self.0.values().sum();
        let mut missing = (all * percent).div_ceil(100);
        for (class, count) in &self.0 {
            missing = missing.saturating_sub(*count);
            if missing == 0 {
                return Duration::from_micros((class + 1) * CLASS);
            }
        }
        Duration::ZERO
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, longest] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "half {half:?}, 99% {most:?}, all {longest:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_time_of_the_slowest_among_so_many() {
        let mut all = Latencies::default();
        assert_eq!(all.percentile(99), Duration::ZERO);
        (1..=100).for_each(|number| all.add(Duration::from_millis(number)));
        assert_eq!(all.percentile(50), Duration::from_micros(50_100));
        assert_eq!(all.percentile(99), Duration::from_micros(99_100));
        assert_eq!(all.percentile(100), Duration::from_micros(100_100));
    }
}
