//! Sum of the same series over shards and regions, with a look at whether it can be true.

use std::sync::atomic::Ordering;

use super::entry::{Described, Sort, Span};
use super::family::{Buckets, Value};
use super::region::Region;

/// Largest number of anything: 2^53. Up to it an f64 is exact, and nobody counts so far.
pub(super) const LIMIT: u64 = 1 << 53;

/// Adds the shards of an entry up, word by word. Cells that end before word `based` of the arena count from their base.
pub(super) fn collect(region: &Region<'_>, span: &Span, based: usize, into: &mut Vec<u64>) {
    let width = span.width();
    into.clear();
    into.resize(width, 0);
    for shard in 0..span.shards {
        let at = span.cells + shard * span.stride();
        let cells = region.arena[at..at + width].iter().map(|cell| cell.load(Ordering::Relaxed));
        if span.end <= based {
            let base = region.base(at, at + width).iter().map(|cell| cell.load(Ordering::Relaxed));
            add(into, cells.zip(base).map(|(cell, base)| cell.saturating_sub(base)), span.sort);
        } else {
            add(into, cells, span.sort);
        }
    }
}

fn add(into: &mut [u64], cells: impl Iterator<Item = u64>, sort: Sort) {
    for (total, cell) in into.iter_mut().zip(cells) {
        // What one thread has added to a gauge, another may have taken away: below 0 in its shard.
        *total = if sort == Sort::IntGauge { total.wrapping_add(cell) } else { total.saturating_add(cell) };
    }
}

/// A sum that is possible.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Total {
    Counter(u64),
    IntGauge(i64),
    Gauge(f64),
    Histogram { counts: Vec<u64>, sum: u128 },
}

impl Total {
    /// Nothing yet.
    pub(super) fn of(described: &Described) -> Self {
        match described.sort {
            Sort::Counter => Self::Counter(0),
            Sort::IntGauge => Self::IntGauge(0),
            Sort::Gauge => Self::Gauge(0.0),
            Sort::Histogram | Sort::CountedHistogram => {
                Self::Histogram { counts: vec![0; described.bounds.len() + 1], sum: 0 }
            }
        }
    }

    /// Adds what [`collect`] has found. False, and nothing is added, if that cannot be true.
    pub(super) fn add(&mut self, cells: &[u64]) -> bool {
        let first = cells.first().copied().unwrap_or(0);
        match self {
            Self::Counter(total) => {
                let both = total.saturating_add(first);
                replace(total, both, both <= LIMIT)
            }
            Self::IntGauge(total) => {
                let part = first.cast_signed();
                let both = total.saturating_add(part);
                replace(total, both, part.unsigned_abs() <= LIMIT && both.unsigned_abs() <= LIMIT)
            }
            Self::Gauge(total) => {
                let both = *total + f64::from_bits(first);
                replace(total, both, both.is_finite())
            }
            Self::Histogram { counts, sum } => add_buckets(counts, sum, cells),
        }
    }

    /// As it is told.
    pub(super) fn value(self, described: &Described) -> Value {
        match self {
            Self::Counter(total) => Value::Counter(total as f64),
            Self::IntGauge(total) => Value::Gauge(total as f64),
            Self::Gauge(total) => Value::Gauge(total),
            Self::Histogram { counts, sum } => {
                let (bounds, sum) = (described.bounds.clone(), sum as f64 / described.scale as f64);
                Value::Histogram(Buckets { bounds, counts, sum })
            }
        }
    }
}

fn replace<T>(total: &mut T, both: T, is_possible: bool) -> bool {
    if is_possible {
        *total = both;
    }
    is_possible
}

fn add_buckets(counts: &mut [u64], sum: &mut u128, cells: &[u64]) -> bool {
    let Some((part, tail)) = cells.split_at_checked(counts.len()) else { return false };
    let all = counts.iter().chain(part).fold(0_u64, |all, count| all.saturating_add(*count));
    if all > LIMIT {
        return false;
    }
    counts.iter_mut().zip(part).for_each(|(count, part)| *count += part);
    *sum = sum.saturating_add(u128::from(tail.first().copied().unwrap_or(0)));
    true
}
