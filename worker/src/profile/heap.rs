//! A profile of the heap: which allocations live, by the stacks that have made them. The allocator must be jemalloc.

#[cfg(any(test, fuzzing, feature = "profile-heap"))]
mod dump;
#[cfg(feature = "profile-heap")]
mod jemalloc;
#[cfg(any(test, feature = "profile-heap"))]
mod told;

use gin_shared::pprof::Profile;

use super::ProfileError;

/// Reads the dump of an allocator, for the fuzz targets.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzed {
    /// Reads a dump.
    ///
    /// # Panics
    /// If a number in it is impossible.
    pub fn heap(text: &str) {
        super::dump::check(text);
    }
}

/// Says what a program must have.
///
/// # Errors
/// Always: this build has no jemalloc.
#[cfg(not(feature = "profile-heap"))]
pub(super) async fn take() -> Result<Profile, ProfileError> {
    Err(ProfileError::NoHeap(
        "heap profiles need jemalloc: build with the feature profile-heap and write gin_worker::heap_profiles!() into main.rs",
    ))
}

/// Takes a profile of the heap. jemalloc's own lock stops allocations that are sampled meanwhile, so it runs on a thread of its own, for
/// which the end of the process does not wait.
///
/// # Errors
/// If the allocator tells nothing, or another one is being taken.
#[cfg(feature = "profile-heap")]
pub(super) async fn take() -> Result<Profile, ProfileError> {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::{Claim, failed};

    static IS_TAKEN: AtomicBool = AtomicBool::new(false);

    if !jemalloc::keeps_profile() {
        return Err(ProfileError::NoHeap(
            "jemalloc keeps no profile: write gin_worker::heap_profiles!() into main.rs, or start with _RJEM_MALLOC_CONF=prof:true",
        ));
    }
    let claim = Claim::new(&IS_TAKEN).ok_or(ProfileError::Busy)?;
    let (done, taken) = tokio::sync::oneshot::channel();
    thread::Builder::new().name("gin-heap".to_owned()).spawn(move || {
        let profile = living(claim);
        let _ = done.send(profile);
    })?;
    Ok(taken.await.map_err(|_| failed())??)
}

/// Allocations that live now. The claim ends with this.
#[cfg(feature = "profile-heap")]
fn living(_claim: super::Claim) -> std::io::Result<Profile> {
    let dump = dump::read(&jemalloc::dump()?).map_err(std::io::Error::other)?;
    Ok(told::profile(&dump, &super::modules::Modules::read()))
}
