//! Profiles of this process. One at a time: they share the signal.

use std::sync::{Mutex, PoisonError};

/// Held by each test that takes a profile, or has to do with SIGPROF.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test while no other one takes a profile.
pub(super) fn alone(test: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    test();
}
