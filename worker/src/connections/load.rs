//! Reports of a worker to the master: how many connections it has.
//!
//! | it is told | when |
//! |---|---|
//! | at first | at once |
//! | a large difference | at the next look: looks are [`GATHER`] apart, while connections come and go |
//! | the same once more | [`AGAIN`] after a large difference: the master has left workers alone that were giving or taking |
//! | a small difference | [`QUIET`] after the last change |
//!
//! A worker whose connections stay tells nothing.

use std::time::{Duration, Instant};

/// Time between two looks: a burst is told once, as a whole.
pub(crate) const GATHER: Duration = Duration::from_millis(100);
/// Time after which a large difference is told again: longer than the master's pause.
const AGAIN: Duration = Duration::from_millis(300);
/// Time without a change after which a small difference is told.
const QUIET: Duration = Duration::from_millis(300);
/// Small differences: so many connections, or this part of those that were told.
const SLACK: u32 = 8;
const SLACK_PART: u32 = 8;

/// Reports of one worker.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    told: Option<u32>,
    seen: u32,
    /// The moment at which the number is told once more.
    again: Option<Instant>,
    /// The moment at which a small difference is told.
    quiet: Option<Instant>,
}

impl Reports {
    /// Looks at the number of connections. Returns it if it is to be told now.
    pub(crate) fn look(&mut self, now: Instant, connections: u32) -> Option<u32> {
        if std::mem::replace(&mut self.seen, connections) != connections {
            self.quiet = Some(now + QUIET);
        }
        let is_large = self.told.is_none_or(|told| told.abs_diff(connections) > SLACK.max(told / SLACK_PART));
        let is_again = self.again.is_some_and(|at| at <= now);
        let is_quiet = self.quiet.is_some_and(|at| at <= now);
        if is_quiet {
            self.quiet = None;
        }
        let is_told = is_large || is_again || (is_quiet && self.told != Some(connections));
        if !is_told {
            return None;
        }
        if is_large || is_again {
            self.again = is_large.then(|| now + AGAIN);
        }
        (self.told, self.quiet) = (Some(connections), None);
        Some(connections)
    }

    /// The moment of the next look, though nothing changes.
    pub(crate) fn next(&self) -> Option<Instant> {
        [self.again, self.quiet].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports that were told this number, and are settled.
    fn settled(connections: u32, now: Instant) -> Reports {
        let mut reports = Reports::default();
        assert_eq!(reports.look(now, connections), Some(connections));
        assert_eq!(reports.look(now + AGAIN, connections), Some(connections));
        assert_eq!(reports.next(), None);
        reports
    }

    #[test]
    fn a_worker_tells_its_first_load_and_a_large_difference_twice() {
        let now = Instant::now();
        let mut reports = settled(0, now);
        assert_eq!(reports.look(now, 100), Some(100));
        assert_eq!(reports.look(now + GATHER, 104), None);
        assert_eq!(reports.next(), Some(now + AGAIN));
        assert_eq!(reports.look(now + AGAIN, 104), Some(104));
        assert_eq!(reports.next(), None);
        assert_eq!(reports.look(now + AGAIN, 104), None);
    }

    #[test]
    fn a_small_difference_is_told_when_it_stays() {
        let now = Instant::now();
        let mut reports = settled(100, now);
        assert_eq!(reports.look(now, 108), None);
        assert_eq!(reports.look(now + QUIET / 2, 110), None);
        assert_eq!(reports.next(), Some(now + QUIET / 2 + QUIET));
        assert_eq!(reports.look(now + QUIET / 2 + QUIET, 110), Some(110));
        assert_eq!(reports.next(), None);
        // One that came and went is none.
        assert_eq!(reports.look(now, 112), None);
        assert_eq!(reports.look(now + GATHER, 110), None);
        assert_eq!(reports.look(now + GATHER + QUIET, 110), None);
        assert_eq!(reports.next(), None);
    }

    #[test]
    fn an_eighth_is_a_large_difference() {
        let now = Instant::now();
        assert_eq!(settled(1000, now).look(now, 1125), None);
        assert_eq!(settled(1000, now).look(now, 1126), Some(1126));
        assert_eq!(settled(0, now).look(now, 8), None);
        assert_eq!(settled(0, now).look(now, 9), Some(9));
    }
}
