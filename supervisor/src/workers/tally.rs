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

#[cfg(test)]
mod tests {
    use gin_shared::channel::{ByProtocol, Counts};

    use super::*;

    #[test]
    fn numbers_by_protocol_are_added_like_all_others() {
        let counts = Counts { handed_over: 2, ..Counts::default() };
        let by_protocol = ByProtocol { http2: counts, tls: counts, ..ByProtocol::default() };
        let (mut tally, generation) = (Tally::default(), Generation(7));
        tally.restore(Fates { handed_over: 5, ..Fates::default() });
        for _ in 0..2 {
            // A worker that is gone with connections of which nobody knows the protocol.
            tally.add(generation, Fates { open: 1, handed_over: 2, by_protocol, ..Fates::default() });
        }
        let sum = Fates { handed_over: 4, cut: 2, by_protocol: by_protocol + by_protocol, ..Fates::default() };
        assert_eq!(tally.end(generation), Some(sum));
        assert_eq!(tally.total(), Fates { handed_over: 9, ..sum });
        assert_eq!(sum.to_string(), "4 handed over (http2 4; tls 4), 2 cut");
    }
}
