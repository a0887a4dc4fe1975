//! The number of a thread, for what each thread keeps apart: a value that all threads change is slow to change.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of shards that are worth having.
pub(crate) const SHARDS: usize = 8;

/// The shard of this thread, below [`SHARDS`].
pub(crate) fn shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS);
    OWN.with(|own| *own)
}
