//! Lines of several threads, in the order in which they were logged.
//!
//! Each thread's lines gather apart, each with the time at which it came. Who writes takes them all and puts those up to a moment in
//! order; what came later waits for its next turn, as an earlier line of another thread may not have been taken yet.

use std::sync::LazyLock;
use std::time::Instant;

/// Nanoseconds since the first call, by a clock that never goes back.
pub(super) fn now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Whole lines of some threads, with the time of each.
#[derive(Debug, Default)]
pub(super) struct Stamped {
    lines: Vec<u8>,
    /// When each came, and its length.
    stamps: Vec<(u64, usize)>,
}

impl Stamped {
    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a line, which came no earlier than the ones before.
    pub(super) fn push(&mut self, stamp: u64, line: &str) {
        self.lines.extend_from_slice(line.as_bytes());
        self.stamps.push((stamp, line.len()));
    }

    /// Adds all of `other`, which came later.
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        }
        self.lines.append(&mut other.lines);
        self.stamps.append(&mut other.stamps);
    }

    fn is_up_to(&self, until: u64) -> bool {
        self.stamps.last().is_none_or(|(stamp, _)| *stamp <= until)
    }
}

/// Lines that are taken of one thread already.
#[derive(Debug, Default, Clone, Copy)]
struct Taken {
    lines: usize,
    bytes: usize,
}

/// Moves the lines of all that came up to `until` to the end of `out`, in their order.
pub(super) fn in_order(all: &mut [Stamped], until: u64, out: &mut Vec<u8>) {
    let mut with_lines = all.iter_mut().filter(|own| !own.is_empty());
    if let (Some(only), None) = (with_lines.next(), with_lines.next())
        && only.is_up_to(until)
    {
        out.append(&mut only.lines);
        only.stamps.clear();
        return;
    }
    let mut taken = vec![Taken::default(); all.len()];
    while let Some((_, first)) = earliest(all, &taken, until) {
        let (own, taken) = (&all[first], &mut taken[first]);
        let length = own.stamps[taken.lines].1;
        out.extend_from_slice(&own.lines[taken.bytes..taken.bytes + length]);
        *taken = Taken { lines: taken.lines + 1, bytes: taken.bytes + length };
    }
    for (own, taken) in all.iter_mut().zip(taken) {
        own.lines.drain(..taken.bytes);
        own.stamps.drain(..taken.lines);
    }
}

/// The time of the earliest line that is left, and whose it is.
fn earliest(all: &[Stamped], taken: &[Taken], until: u64) -> Option<(u64, usize)> {
    let next = |(number, (own, taken)): (usize, (&Stamped, &Taken))| {
        own.stamps.get(taken.lines).map(|(stamp, _)| (*stamp, number)).filter(|(stamp, _)| *stamp <= until)
    };
    all.iter().zip(taken).enumerate().filter_map(next).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(u64, &str)]) -> Stamped {
        let mut own = Stamped::default();
        lines.iter().for_each(|(stamp, line)| own.push(*stamp, line));
        own
    }

    fn taken(all: &mut [Stamped], until: u64) -> String {
        let mut out = Vec::new();
        in_order(all, until, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_of_all_threads_are_in_order_and_later_ones_wait() {
        let mut all = [of(&[(1, "gone\n"), (4, "d\n")]), of(&[]), of(&[(0, "forgotten\n"), (2, "b\n"), (3, "c\n")])];
        assert_eq!(taken(&mut all, 2), "forgotten\ngone\nb\n");
        all[1].append(&mut of(&[(3, "of another\n")]));
        all[2].append(&mut of(&[(5, "e\n")]));
        assert_eq!(taken(&mut all, 4), "of another\nc\nd\n");
        assert_eq!(taken(&mut all, 4), "");
        assert_eq!(taken(&mut all, u64::MAX), "e\n");
        assert!(all.iter().all(|own| own.is_empty() && own.stamps.is_empty()));
    }
}
