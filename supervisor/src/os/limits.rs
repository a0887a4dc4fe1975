//! The limit of descriptors: the master needs some for each worker, and its workers must not notice.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

static INHERITED: OnceLock<u64> = OnceLock::new();

/// The soft limit that this process was started with.
#[must_use]
pub fn inherited_nofile() -> u64 {
    *INHERITED.get_or_init(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft))
}

/// Goes on with what the master was started with, before it became this program.
pub fn resume_inherited(soft: u64) {
    let _ = INHERITED.set(soft);
}

/// Raises the soft limit to the hard one.
///
/// # Errors
/// The errors of `setrlimit(2)`; none is known to happen.
pub fn raise_nofile() -> nix::Result<()> {
    let _ = inherited_nofile();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}
