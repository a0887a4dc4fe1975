//! Cells of one series, in which a process counts: adding is one relaxed atomic operation, two for an observation.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Sort, Span};
use super::family::Kind;

/// Where a series is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In cells of its own.
    Own,
    /// In cells that it shares with others for which there was no room, either. They are told as one series, whose labels all have the
    /// value `overflow`; if not even that one has room, nobody is told of them.
    Overflow,
}

/// Cells of one series. A copy is as good as the original, in any thread. A shard is a place that few threads write to: any number will
/// do, for it is taken modulo the number of shards.
///
/// A method that is not meant for the series' shape counts something, but never panics.
#[derive(Clone, Copy)]
pub struct Cells {
    words: &'static [AtomicU64],
    /// Words from one shard to the next.
    stride: u32,
    /// Number of shards less one: they are a power of two.
    mask: u32,
    /// The last bucket of a histogram. The sum stands behind it.
    last: u32,
    sort: Sort,
    place: Place,
}

impl Cells {
    /// The cells of this entry. `words` are those of all its shards.
    pub(super) fn new(words: &'static [AtomicU64], span: &Span, place: Place) -> Self {
        let small = |number: usize| u32::try_from(number).unwrap_or(0);
        let (stride, mask, last) = (small(span.stride()), small(span.shards - 1), small(span.bounds));
        Self { words, stride, mask, last, sort: span.sort, place }
    }

    /// Cells that count nothing: those of a series for which there was no room at all.
    pub(super) fn nowhere() -> Self {
        Self { words: &[], stride: 0, mask: 0, last: 0, sort: Sort::Counter, place: Place::Overflow }
    }

    fn first(&self, shard: usize) -> usize {
        (shard & self.mask as usize) * self.stride as usize
    }

    fn raise(&self, at: usize, by: u64) {
        if let Some(word) = self.words.get(at) {
            word.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Adds to a sum, which stays at the largest number that it can be: one that goes back would look like a restart.
    fn raise_sum(&self, at: usize, by: u64) {
        let Some(word) = self.words.get(at) else { return };
        if word.load(Ordering::Relaxed).checked_add(by).is_some() {
            word.fetch_add(by, Ordering::Relaxed);
        } else {
            word.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Adds to a [`super::Shape::Counter`].
    pub fn add(&self, shard: usize, by: u64) {
        self.raise(self.first(shard), by);
    }

    /// Adds to a [`super::Shape::IntGauge`]. What one shard got, another may lose.
    pub fn add_int(&self, shard: usize, by: i64) {
        self.raise(self.first(shard), by.cast_unsigned());
    }

    /// Sets a [`super::Shape::Gauge`]. As long as it is not finite, nobody is told of it.
    pub fn set(&self, value: f64) {
        if let Some(word) = self.words.first() {
            word.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Adds to a [`super::Shape::Gauge`].
    pub fn add_float(&self, by: f64) {
        let Some(word) = self.words.first() else { return };
        let mut found = word.load(Ordering::Relaxed);
        loop {
            let next = (f64::from_bits(found) + by).to_bits();
            match word.compare_exchange_weak(found, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => found = other,
            }
        }
    }

    /// Counts an observation of a [`super::Shape::Histogram`]: one in the bucket with this index (the number of bounds, or more: above the
    /// last bound), and `sum` in 1/scale.
    pub fn observe(&self, shard: usize, bucket: usize, sum: u64) {
        let (first, last) = (self.first(shard), self.last as usize);
        self.raise(first + bucket.min(last), 1);
        self.raise_sum(first + last + 1, sum);
    }

    /// The value that this process has counted together with the owners before it: of a counter or a gauge the sum over its shards, of a
    /// histogram the number of observations.
    #[must_use]
    pub fn value(&self) -> f64 {
        if self.sort == Sort::Gauge {
            return self.words.first().map_or(0.0, |word| f64::from_bits(word.load(Ordering::Relaxed)));
        }
        let counting = if self.sort.kind() == Kind::Histogram { self.last as usize + 1 } else { 1 };
        let of_shard = |shard| self.words.iter().skip(self.first(shard)).take(counting);
        let all = (0..=self.mask as usize).flat_map(of_shard);
        let sum = all.fold(0_u64, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed)));
        if self.sort == Sort::IntGauge { sum.cast_signed() as f64 } else { sum as f64 }
    }

    /// Where the series is counted.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, value) = (self.place, self.value());
        f.debug_struct("Cells").field("place", &place).field("value", &value).finish_non_exhaustive()
    }
}
