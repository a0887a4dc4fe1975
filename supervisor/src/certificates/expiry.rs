//! The end of a certificate, and when it is told: from two weeks before it on, once a day. Pure: times are arguments.

use std::time::{Duration, SystemTime};

/// Time before its end from which a certificate is told of.
const AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);
/// Time between two tellings.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The state of a certificate's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It is far away.
    Far,
    /// It comes in so many whole days.
    Soon(u64),
    /// The certificate has ended.
    Ended,
}

impl Expiry {
    /// The state at `now` of a certificate that ends at `ends`.
    #[must_use]
    pub fn of(ends: SystemTime, now: SystemTime) -> Self {
        match ends.duration_since(now) {
            Ok(left) if left > AHEAD => Self::Far,
            Ok(left) if !left.is_zero() => Self::Soon(left.as_secs() / DAY.as_secs()),
            Ok(_) | Err(_) => Self::Ended,
        }
    }
}

/// The moment at which the end is told next. `told`: the last time.
#[must_use]
pub fn next_telling(ends: SystemTime, told: Option<SystemTime>) -> SystemTime {
    match told {
        None => ends.checked_sub(AHEAD).unwrap_or(SystemTime::UNIX_EPOCH),
        Some(told) if told < ends => (told + DAY).min(ends),
        Some(told) => told + DAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_a_day_from_two_weeks_before_it_on_and_when_it_comes() {
        let ends = SystemTime::UNIX_EPOCH + DAY * 20_000 + Duration::from_secs(1000);
        assert_eq!(next_telling(ends, None), ends - AHEAD);
        let mut told = ends - AHEAD;
        let mut states = Vec::new();
        while told < ends + DAY * 2 {
            states.push(Expiry::of(ends, told));
            told = next_telling(ends, Some(told));
        }
        let soon = (1..=14).rev().map(Expiry::Soon);
        let expected: Vec<Expiry> = soon.chain([Expiry::Ended, Expiry::Ended]).collect();
        assert_eq!(states, expected);
        assert_eq!(Expiry::of(ends, ends - AHEAD - Duration::from_secs(1)), Expiry::Far);
        assert_eq!(Expiry::of(ends, ends - Duration::from_secs(1)), Expiry::Soon(0));
    }

    #[test]
    fn a_master_that_starts_late_tells_at_the_end_itself() {
        let ends = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let told = ends - Duration::from_secs(60);
        assert_eq!(next_telling(ends, Some(told)), ends);
        assert_eq!(next_telling(ends, Some(ends)), ends + DAY);
    }
}
