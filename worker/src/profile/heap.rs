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

/// Takes a profile of the heap. jemalloc's own lock stops allocations that are sampled meanwhile, so it runs off the threads that have
/// requests.
///
/// # Errors
/// If the allocator tells nothing, or another one is being taken.
#[cfg(feature = "profile-heap")]
pub(super) async fn take() -> Result<Profile, ProfileError> {
    use std::io;
    use std::sync::atomic::AtomicBool;

    use super::Claim;
    use super::modules::Modules;

    static IS_TAKEN: AtomicBool = AtomicBool::new(false);

    if !jemalloc::keeps_profile() {
        return Err(ProfileError::NoHeap(
            "jemalloc keeps no profile: write gin_worker::heap_profiles!() into main.rs, or start with _RJEM_MALLOC_CONF=prof:true",
        ));
    }
    let claim = Claim::new(&IS_TAKEN).ok_or(ProfileError::Busy)?;
    let taken = tokio::task::spawn_blocking(move || {
        let dump = dump::read(&jemalloc::dump()?).map_err(io::Error::other)?;
        let profile = told::profile(&dump, &Modules::read());
        drop(claim);
        Ok::<_, io::Error>(profile)
    });
    Ok(taken.await.map_err(io::Error::other)??)
}
