//! The course of the connections of workers that are gone: by generation, and of all. A later master goes on with the sum of all.

use std::collections::HashMap;

use gin_shared::channel::Fates;
use gin_shared::generation::Generation;
use gin_shared::status::Drained;

/// Counts, by generation until it is gone, and of all.
#[derive(Debug, Default)]
pub struct Tally {
    by_generation: HashMap<Generation, Fates>,
    total: Fates,
    last_drained: Option<Drained>,
}

impl Tally {
    /// Goes on from what a master before this one has counted of workers that are gone.
    pub fn restore(&mut self, total: Fates) {
        self.total = total;
    }

    /// Adds the connections of a worker that is gone. Those that were still open have ended with it.
    pub fn add(&mut self, generation: Generation, fates: Fates) -> Fates {
        let fates = Fates { open: 0, cut: fates.cut + fates.open, ..fates };
        let sum = self.by_generation.entry(generation).or_default();
        *sum = *sum + fates;
        self.total = self.total + fates;
        fates
    }

    /// Takes the counts of a generation that is gone.
    pub fn end(&mut self, generation: Generation) -> Option<Fates> {
        let fates = self.by_generation.remove(&generation);
        self.last_drained = fates.map(|connections| Drained { generation, connections }).or(self.last_drained);
        fates
    }

    /// The counts of a generation's workers that are gone.
    #[must_use]
    pub fn of(&self, generation: Generation) -> Option<Fates> {
        self.by_generation.get(&generation).copied()
    }

    /// The counts of all workers that are gone.
    #[must_use]
    pub fn total(&self) -> Fates {
        self.total
    }

    /// The generation that was gone last, with its counts.
    #[must_use]
    pub fn last_drained(&self) -> Option<Drained> {
        self.last_drained
    }
}
