//! Certificates that generations want: those that have workers, and those that a rollback can bring back.

use super::Generations;
use super::frozen::Frozen;
use crate::certificates::Wanted;

impl Generations {
    /// The certificates that the generations want, all together.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let mut all: Vec<&Frozen> = self.frozen.values().collect();
        all.sort_by_key(|frozen| frozen.id);
        let mut wanted = Wanted::default();
        all.into_iter().for_each(|frozen| wanted.extend(&frozen.config.tls));
        wanted
    }
}
