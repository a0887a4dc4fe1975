//! The owner of a region: finds its series there, and adds those that are missing.
//!
//! The region may be full of what an owner before has left. It goes on counting in what makes sense, and throws the rest away.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cells::{Cells, Place};
use super::definition::{Definition, Shape};
use super::entry::{self, Described, SHARDS_MAX, Span, Step};
use super::family::Kind;
use super::region::Region;
use super::total::{Total, collect};
use crate::generation::{Generation, Slot};

/// Value of all labels of a series that gathers those without room.
const OVERFLOW: &str = "overflow";
/// Divisor of an arena: one part of so many is kept for series without labels, and for those that gather others.
const KEPT: usize = 8;

/// The owner of a region, until its process ends.
#[derive(Debug)]
pub struct Writer {
    region: Region<'static>,
    /// Number of this claim.
    claim: u64,
    /// Most series that the region may have.
    series: usize,
    repaired: bool,
    book: Mutex<Book>,
}

/// The entries of the region.
#[derive(Debug, Default)]
struct Book {
    /// By key.
    known: HashMap<Box<[u64]>, Known>,
    /// First word of the arena without an entry.
    used: usize,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    span: Span,
    /// True if this owner has asked for it.
    is_asked: bool,
}

impl Writer {
    /// Makes the claim of a region good: what is there is looked at, and kept as the base.
    pub(super) fn begin(region: Region<'static>, series: usize, who: Option<(Generation, Slot)>) -> Self {
        let claim = region.begin(who);
        let (book, repaired) = survey(&region, claim);
        region.start(book.used);
        Self { region, claim, series, repaired, book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cells of a series: those that are there, else new ones with so many shards (rounded up to a power of two, 64 at most). The
    /// order of the labels does not matter.
    ///
    /// If there is no room, or the definition is one that Prometheus could not read ([`super::is_name`], [`super::is_label_name`],
    /// bounds that do not ascend, more than 8 KiB of text), they are shared cells: [`Place::Overflow`].
    ///
    /// It takes a lock and hashes names: keep the cells of what is counted often.
    ///
    /// ```
    /// use gin_shared::metrics::{Definition, Memory, Shape};
    ///
    /// let memory: &'static Memory = Box::leak(Box::new(Memory::own(100)));
    /// let writer = memory.claim(None).expect("nobody has it");
    /// let jobs = Definition { name: "jobs".to_owned(), help: "Jobs done.".to_owned(), shape: Shape::Counter };
    /// let mails = writer.series(&jobs, &[("kind", "mail")], 8);
    /// mails.add(0, 1);
    /// mails.add(5, 2);
    /// assert_eq!(mails.value(), 3.0);
    /// ```
    #[must_use]
    pub fn series(&self, definition: &Definition, labels: &[(&str, &str)], shards: usize) -> Cells {
        let mut book = self.book();
        if let Some(cells) = self.own(&mut book, definition, labels, shards) {
            return cells;
        }
        self.overflow(&mut book, definition, labels).unwrap_or_else(Cells::nowhere)
    }

    /// True if something that was found in the region made no sense, and was thrown away.
    #[must_use]
    pub fn repaired(&self) -> bool {
        self.repaired
    }

    /// Cells of the series alone. `None` if there is no room, or its definition makes no sense.
    fn own(&self, book: &mut Book, definition: &Definition, labels: &[(&str, &str)], shards: usize) -> Option<Cells> {
        let key = entry::encode(definition, labels)?;
        if let Some(cells) = self.find(book, &key, Place::Own) {
            return Some(cells);
        }
        let all = self.region.arena.len();
        let room = if labels.is_empty() { all } else { all - all / KEPT };
        let may_be_added = labels.is_empty() || book.known.len() < self.series;
        let shards = if definition.shape == Shape::Gauge { 1 } else { shards.clamp(1, SHARDS_MAX).next_power_of_two() };
        if may_be_added { self.append(book, &key, shards, room, Place::Own) } else { None }
    }

    /// Cells of the series that gathers those without room. It has one shard, to be small.
    fn overflow(&self, book: &mut Book, definition: &Definition, labels: &[(&str, &str)]) -> Option<Cells> {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, _)| (*name, OVERFLOW)).collect();
        let key = entry::encode(definition, &labels)?;
        let found = self.find(book, &key, Place::Overflow);
        found.or_else(|| self.append(book, &key, 1, self.region.arena.len(), Place::Overflow))
    }

    fn find(&self, book: &mut Book, key: &[u64], place: Place) -> Option<Cells> {
        let known = book.known.get_mut(key)?;
        if !known.is_asked {
            self.ask(&known.span);
            known.is_asked = true;
        }
        Some(self.cells(&known.span, place))
    }

    /// A new entry, if it ends before `room`.
    fn append(&self, book: &mut Book, key: &[u64], shards: usize, room: usize, place: Place) -> Option<Cells> {
        let span = Span::of(key[0] | (shards as u64) << 8, book.used, room)?;
        span.write(self.region.arena, key);
        self.ask(&span);
        self.region.publish(span.end);
        book.used = span.end;
        book.known.insert(key.into(), Known { span, is_asked: true });
        Some(self.cells(&span, place))
    }

    /// Makes the series this owner's. Its gauges begin at 0.
    fn ask(&self, span: &Span) {
        if span.sort.kind() == Kind::Gauge {
            span.clear(self.region.arena);
        }
        span.set_claim(self.region.arena, self.claim);
    }

    fn cells(&self, span: &Span, place: Place) -> Cells {
        Cells::new(&self.region.arena[span.cells..span.end], span, place)
    }
}

/// Finds the entries of an owner before and keeps their cells as the base. What makes no sense is thrown away; true if something was.
fn survey(region: &Region<'static>, claim: u64) -> (Book, bool) {
    let (mut book, mut repaired) = (Book::default(), region.is_overfull());
    let (used, mut key) = (region.used(), Vec::new());
    loop {
        match entry::step(region.arena, book.used, used) {
            Step::Entry(span) => {
                span.key(region.arena, &mut key);
                if let Some(described) = entry::decode(&key) {
                    repaired |= !mend(region, &span, &described);
                    book.known.insert(key.as_slice().into(), Known { span, is_asked: false });
                } else {
                    span.erase(region.arena);
                    repaired = true;
                }
                if span.claim(region.arena) == claim {
                    // This owner has asked for nothing yet: no gauge of one before may live with it.
                    span.set_claim(region.arena, claim.wrapping_sub(1));
                    repaired = true;
                }
                book.used = span.end;
            }
            Step::Gap(end) => book.used = end,
            Step::End => return (book, repaired),
            Step::Nonsense => return (book, true),
        }
    }
}

/// Mends the cells of one entry and keeps them. False if something made no sense.
fn mend(region: &Region<'_>, span: &Span, described: &Described) -> bool {
    if span.sort.kind() == Kind::Gauge {
        return true;
    }
    let mut cells = Vec::new();
    collect(region, span, 0, &mut cells);
    let is_possible = Total::of(described).add(&cells);
    if !is_possible {
        span.clear(region.arena);
    }
    region.keep(span);
    is_possible
}
