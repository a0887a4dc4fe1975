//! Table of the parked connections, with their deadlines, and with the count of changes after which the heap is trimmed.

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::connections::connection::{IdleConnection, Unpacked};

/// The heap is trimmed after so many connections were parked or taken out, once none was for [`QUIET`].
const MANY: usize = 1000;
const QUIET: Duration = Duration::from_millis(500);
/// Number of connections that are packed at once.
const PACKED: usize = 1024;

#[derive(Debug)]
pub(super) struct Entries {
    /// The moment from which deadlines count.
    began: Instant,
    pub(super) all: Slab<Parked>,
    pub(super) deadlines: BTreeSet<(Deadline, usize)>,
    /// The moment from which `timeouts.idle_grace` counts: the worker drains, and nobody takes.
    pub(super) grace_from: Option<Instant>,
    /// Number of connections that were parked or taken out since the heap was trimmed, and the moment of the last.
    pub(super) changes: Option<(usize, Instant)>,
}

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) connection: IdleConnection,
    pub(super) deadline: Deadline,
}

/// A deadline in half the memory of an [`Instant`]: nanoseconds since the moment from which deadlines count. An earlier one has come, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(u64);

impl Deadline {
    fn of(at: Instant, began: Instant) -> Self {
        let since = at.saturating_duration_since(began);
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn at(self, began: Instant) -> Instant {
        began + Duration::from_nanos(self.0)
    }
}

impl Entries {
    /// An empty table, whose deadlines count from now on.
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, all: Slab::new(), deadlines: BTreeSet::new(), grace_from: None, changes: None }
    }

    /// A deadline for the table.
    pub(super) fn deadline(&self, at: Instant) -> Deadline {
        Deadline::of(at, self.began)
    }

    /// The first deadline.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| deadline.at(self.began))
    }

    /// Gives each connection another deadline.
    pub(super) fn set_deadlines(&mut self, of: impl Fn(&IdleConnection) -> Instant) {
        self.deadlines.clear();
        for (key, parked) in &mut self.all {
            parked.deadline = Deadline::of(of(&parked.connection), self.began);
            self.deadlines.insert((parked.deadline, key));
        }
    }

    /// Takes out the connections whose deadlines are next, as long as `wanted` holds for the number of those before and the deadline.
    pub(super) fn pop_while(&mut self, wanted: impl Fn(usize, Instant) -> bool) -> Vec<IdleConnection> {
        let mut taken = Vec::new();
        while let Some((deadline, key)) = self.deadlines.first().copied()
            && wanted(taken.len(), deadline.at(self.began))
        {
            self.deadlines.pop_first();
            taken.extend(self.all.try_remove(key).map(|parked| parked.connection));
        }
        taken
    }

    /// Counts connections that were parked or taken out.
    pub(super) fn count_changes(&mut self, count: usize, now: Instant) {
        if count > 0 {
            let before = self.changes.map_or(0, |(before, _)| before);
            self.changes = Some((before + count, now));
        }
    }

    /// The moment at which the heap is to be trimmed.
    pub(super) fn quiet(&self) -> Option<Instant> {
        let (count, last) = self.changes?;
        (count >= many(self.all.len())).then_some(last + QUIET)
    }

    /// Packs the connections from this key on. Returns their old places, and the key behind the last. `None`: there are no more.
    pub(super) fn pack(&mut self, first: usize) -> Option<(Vec<Unpacked>, usize)> {
        let keys = first..self.all.capacity().min(first + PACKED);
        if keys.is_empty() {
            return None;
        }
        let (mut old, next) = (Vec::with_capacity(keys.len()), keys.end);
        old.extend(keys.filter_map(|key| Some(self.all.get_mut(key)?.connection.pack())));
        Some((old, next))
    }

    /// Moves the deadlines to other places in the heap. Returns the old ones.
    pub(super) fn pack_deadlines(&mut self) -> BTreeSet<(Deadline, usize)> {
        let packed = self.deadlines.clone();
        mem::replace(&mut self.deadlines, packed)
    }
}

/// Number of changes after which the heap is trimmed. All parked connections are packed then: each change pays for eight at most.
fn many(parked: usize) -> usize {
    MANY.max(parked / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_trimmed_at_rest_after_many_changes() {
        let now = Instant::now();
        let mut entries = Entries::new(now);
        entries.count_changes(MANY - 1, now);
        assert_eq!(entries.quiet(), None);
        entries.count_changes(1, now);
        assert_eq!(entries.quiet(), Some(now + QUIET));
        // Another change puts it off.
        let later = now + QUIET / 2;
        entries.count_changes(1, later);
        assert_eq!(entries.quiet(), Some(later + QUIET));
        entries.count_changes(0, now + QUIET);
        assert_eq!(entries.quiet(), Some(later + QUIET));
        assert_eq!([0, 8 * MANY, 80 * MANY].map(many), [MANY, MANY, 10 * MANY]);
    }

    #[test]
    fn deadlines_are_kept_to_the_nanosecond() {
        let began = Instant::now();
        let [soon, later] = [1, 2].map(|nanos| began + Duration::from_nanos(nanos));
        assert!(Deadline::of(soon, began) < Deadline::of(later, began));
        assert_eq!(Deadline::of(soon, began).at(began), soon);
        // One that has passed before is the first of all, and has come.
        let passed = began.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(Deadline::of(passed, began).at(began), began);
    }

    #[test]
    fn a_parked_connection_is_small() {
        // Beside the socket itself, this is what an idle connection costs.
        assert!(size_of::<Parked>() <= 216, "{}", size_of::<Parked>());
    }
}
