//! How long a slot waits before its next worker.

use std::time::Duration;

/// A worker that served for so long starts with a clean record.
pub const STABLE: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The wait after so many failures in a row: none, 100 ms, 200 ms ... 30 s, and up to a quarter more by jitter (0 to 1000).
///
/// The first failure costs no wait: a worker that was killed is missed at once.
#[must_use]
pub fn delay(failures: u32, jitter: u16) -> Duration {
    let Some(doublings) = failures.checked_sub(2) else { return Duration::ZERO };
    let wait = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
    wait + wait / 4 * u32::from(jitter.min(1000)) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let waits: Vec<u128> = (0..12).map(|n| delay(n, 0).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000]);
        assert_eq!(delay(u32::MAX, 0), LONGEST);
    }

    #[test]
    fn jitter_adds_a_quarter_at_most() {
        assert_eq!(delay(2, 1000), Duration::from_millis(125));
        assert_eq!(delay(2, u16::MAX), Duration::from_millis(125));
    }
}
