//! Regions: a header, the arena with the entries, and the base, which tells what the arena's cells were when its owner came.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::Span;
use crate::generation::{Generation, Slot};

/// Words of a region's header.
pub(super) const HEADER: usize = 16;

/// 1 as soon as the owner has made its claim good.
const STATE: usize = 0;
/// Number of the claim. An entry is the owner's if it has the same number.
const CLAIM: usize = 1;
/// The owner's generation, or 0.
const GENERATION: usize = 2;
/// The owner's slot.
const SLOT: usize = 3;
/// Words of the arena that have entries.
const USED: usize = 4;
/// Of them, those that were there when the owner came.
const BASED: usize = 5;

const CLAIMING: u64 = 0;
const READY: u64 = 1;

/// A region of a memory.
#[derive(Clone, Copy)]
pub(super) struct Region<'a> {
    header: &'a [AtomicU64],
    /// The entries.
    pub(super) arena: &'a [AtomicU64],
    base: &'a [AtomicU64],
}

/// The time of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) claim: u64,
    /// Generation and slot.
    pub(super) who: Option<(u64, u64)>,
    /// Words of the arena whose cells have a base.
    pub(super) based: usize,
}

impl<'a> Region<'a> {
    /// The parts of a region: a header of [`HEADER`] words, an arena, and a base as long as the arena.
    pub(super) fn new(header: &'a [AtomicU64], arena: &'a [AtomicU64], base: &'a [AtomicU64]) -> Self {
        Self { header, arena, base }
    }

    fn number(&self, word: usize) -> usize {
        usize::try_from(self.header[word].load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// Words of the arena that have entries, never more than it has.
    pub(super) fn used(&self) -> usize {
        self.number(USED).min(self.arena.len())
    }

    /// True if the header says that more is used than there is.
    pub(super) fn is_overfull(&self) -> bool {
        self.number(USED) > self.arena.len()
    }

    /// Makes all entries before this word known to readers.
    pub(super) fn publish(&self, used: usize) {
        self.header[USED].store(used as u64, Ordering::Release);
    }

    /// The owner's time. `None` while its claim is not good yet. Whether the owner lives is another question.
    pub(super) fn term(&self) -> Option<Term> {
        if self.header[STATE].load(Ordering::Acquire) != READY {
            return None;
        }
        let generation = self.header[GENERATION].load(Ordering::Acquire);
        let who = (generation != 0).then(|| (generation, self.header[SLOT].load(Ordering::Acquire)));
        Some(Term {
            claim: self.header[CLAIM].load(Ordering::Acquire),
            who,
            based: self.number(BASED).min(self.arena.len()),
        })
    }

    /// Begins a claim and gives its number. From now on no gauge of an owner before counts.
    pub(super) fn begin(&self, who: Option<(Generation, Slot)>) -> u64 {
        self.header[STATE].store(CLAIMING, Ordering::SeqCst);
        let claim = self.header[CLAIM].load(Ordering::Acquire).wrapping_add(1);
        self.header[CLAIM].store(claim, Ordering::SeqCst);
        let (generation, slot) = who.map_or((0, 0), |(generation, slot)| (generation.0, u64::from(slot.0)));
        self.header[GENERATION].store(generation, Ordering::Release);
        self.header[SLOT].store(slot, Ordering::Release);
        claim
    }

    /// Keeps the cells of an entry as its base.
    pub(super) fn keep(&self, span: &Span) {
        for (base, cell) in self.base[span.cells..span.end].iter().zip(&self.arena[span.cells..span.end]) {
            base.store(cell.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Makes the claim good: the entries before this word are there, and their bases are kept.
    pub(super) fn start(&self, used: usize) {
        self.publish(used);
        self.header[BASED].store(used as u64, Ordering::Release);
        self.header[STATE].store(READY, Ordering::SeqCst);
    }

    /// Part of the base that belongs to these words of the arena.
    pub(super) fn base(&self, from: usize, to: usize) -> &'a [AtomicU64] {
        &self.base[from..to]
    }
}

impl fmt::Debug for Region<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("used", &self.used()).field("term", &self.term()).finish_non_exhaustive()
    }
}
