//! A series of the application's: it counts in itself until it has a memory.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use gin_shared::metrics::{Buckets, Cells, Series, Shape, Value};

/// A series of the application's.
pub(super) struct Point {
    labels: Vec<(String, String)>,
    cells: OnceLock<Cells>,
    early: Mutex<Early>,
}

/// The counts of a series before it had a memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Early {
    Counter(u64),
    Gauge(f64),
    Histogram { counts: Vec<u64>, sum: u64 },
}

impl Point {
    /// A series that has counted nothing.
    pub(super) fn new(labels: Vec<(String, String)>, shape: &Shape) -> Self {
        Self { labels, cells: OnceLock::new(), early: Mutex::new(Early::of(shape)) }
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts by the one function if it has a memory, by the other before.
    pub(super) fn count(&self, in_memory: impl FnOnce(&Cells), early: impl FnOnce(&mut Early)) {
        if let Some(cells) = self.cells.get() {
            return in_memory(cells);
        }
        let mut guard = self.early();
        // It may have got its memory just now.
        match self.cells.get() {
            Some(cells) => in_memory(cells),
            None => early(&mut guard),
        }
    }

    /// Counts in these cells from now on. What was counted before is counted there.
    pub(super) fn move_to(&self, cells: Cells) {
        let early = self.early();
        early.count_in(&cells);
        let _ = self.cells.set(cells);
    }

    pub(super) fn labels(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The series, as it is told before it has a memory.
    pub(super) fn told(&self, shape: &Shape) -> Series {
        let value = match (&*self.early(), shape) {
            (Early::Counter(count), _) => Value::Counter(*count as f64),
            (Early::Histogram { counts, sum }, Shape::Histogram { bounds, scale, .. }) => {
                let sum = *sum as f64 / *scale as f64;
                Value::Histogram(Buckets { bounds: bounds.clone(), counts: counts.clone(), sum })
            }
            (Early::Gauge(value), _) => Value::Gauge(*value),
            (Early::Histogram { .. }, _) => unreachable!("it was made for this shape"),
        };
        Series { labels: self.labels.clone(), value }
    }
}

impl Early {
    fn of(shape: &Shape) -> Self {
        match shape {
            Shape::Counter => Self::Counter(0),
            Shape::Gauge | Shape::IntGauge => Self::Gauge(0.0),
            Shape::Histogram { bounds, .. } => Self::Histogram { counts: vec![0; bounds.len() + 1], sum: 0 },
        }
    }

    /// As [`Cells::add`].
    pub(super) fn add(&mut self, by: u64) {
        if let Self::Counter(count) = self {
            *count = count.saturating_add(by);
        }
    }

    /// As [`Cells::set`].
    pub(super) fn set(&mut self, to: f64) {
        if let Self::Gauge(value) = self {
            *value = to;
        }
    }

    /// As [`Cells::add_float`].
    pub(super) fn add_float(&mut self, by: f64) {
        if let Self::Gauge(value) = self {
            *value += by;
        }
    }

    /// As [`Cells::observe`].
    pub(super) fn observe(&mut self, bucket: usize, by: u64) {
        if let Self::Histogram { counts, sum } = self {
            counts[bucket] += 1;
            *sum = sum.saturating_add(by);
        }
    }

    /// Counts all of it in these cells.
    fn count_in(&self, cells: &Cells) {
        match self {
            Self::Counter(count) => cells.add(0, *count),
            Self::Gauge(value) if *value != 0.0 => cells.add_float(*value),
            Self::Gauge(_) => {}
            Self::Histogram { counts, sum } => {
                let mut sum = *sum;
                for (bucket, count) in counts.iter().enumerate() {
                    // The first one brings the whole sum.
                    (0..*count).for_each(|_| cells.observe(0, bucket, std::mem::take(&mut sum)));
                }
            }
        }
    }
}
