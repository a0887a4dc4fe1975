//! `[app]`

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Milliseconds for which an answer of the cache is given. That is how old one may be in a worker that hears of no change of others,
    /// for it shares no Redis with them. 0: nothing is cached.
    fresh_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fresh_ms: 1000 }
    }
}

impl Settings {
    pub fn fresh(self) -> Duration {
        Duration::from_millis(self.fresh_ms)
    }
}
