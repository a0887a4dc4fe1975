//! Profiles and figures under `/debug/`: `[monitoring.pprof]`. A build without the feature `profile` checks them, too.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// `[monitoring.pprof]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profiling {
    /// True if there are profiles.
    pub is_on: bool,
    /// Opens them on public listeners.
    pub(crate) token: Option<Secret>,
    /// A file with the token.
    pub token_file: Option<PathBuf>,
    /// Time of a poll; a longer one blocks its thread.
    pub block: Duration,
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
#[allow(dead_code, reason = "no key is read yet")]
pub(crate) struct Secret(Box<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl Default for Profiling {
    fn default() -> Self {
        Self { is_on: false, token: None, token_file: None, block: Duration::from_millis(10) }
    }
}
