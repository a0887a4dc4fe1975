//! `[cache]`

use std::time::Duration;

use gin_shared::config::Section;

use super::time;

/// `[cache]`: for a program that registers a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cache {
    /// Places of the entries.
    pub levels: CacheLevels,
    /// Entries in the process at most.
    pub entries: u64,
    /// Life of an entry, unless the program says otherwise.
    pub ttl: Duration,
}

/// Places of a cache's entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheLevels {
    /// Each process has its own.
    #[default]
    Process,
    /// All processes have them together in Redis.
    Redis,
    /// Each process has its own in front of those in Redis.
    Both,
}

impl Default for Cache {
    fn default() -> Self {
        Self { levels: CacheLevels::default(), entries: 10_000, ttl: Duration::from_secs(5 * 60) }
    }
}

impl Cache {
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let levels = [("process", CacheLevels::Process), ("redis", CacheLevels::Redis), ("both", CacheLevels::Both)];
        let entries = section.integer("entries", 1..=1 << 30).and_then(|entries| u64::try_from(entries).ok());
        Self {
            levels: section.choice("levels", &levels).unwrap_or(base.levels),
            entries: entries.unwrap_or(base.entries),
            ttl: time(section, "ttl").unwrap_or(base.ttl),
        }
    }
}
