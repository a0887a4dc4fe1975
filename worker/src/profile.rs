//! Profiles of this process: its time on the CPU, and its heap.

#![allow(dead_code, reason = "nothing calls it yet")]

mod modules;
mod signal;
mod stacks;
mod symbols;
#[cfg(test)]
mod tests;
mod timers;

use std::io;
use std::time::Duration;

use gin_shared::pprof::Profile;

#[cfg(not(target_env = "gnu"))]
compile_error!("the feature \"profile\" of gin-worker needs glibc");

/// A profile of the time on the CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// Length: 1 to 300 s.
    pub(crate) time: Duration,
    /// Samples of a thread in a second of its time: 1 to 999.
    pub(crate) hz: u32,
}

/// A profile that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Another one is being taken.
    #[error("another profile is being taken; ask again when it is done")]
    Busy,
    /// Another part of the program handles SIGPROF.
    #[error("another part of this program handles SIGPROF, by which profiles are taken")]
    Signal,
    /// The system refuses.
    #[error("cannot take a profile: {0}")]
    Io(#[from] io::Error),
    /// The allocator tells nothing.
    #[error("{0}")]
    NoHeap(&'static str),
}

/// A profile that is being taken. If it is dropped, the profile ends.
#[derive(Debug)]
pub(crate) struct Running(());

/// Begins a profile. Samples are taken from here on.
///
/// # Errors
/// If none can be taken now.
pub(crate) fn begin(_: Cpu) -> Result<Running, ProfileError> {
    Err(ProfileError::Io(io::ErrorKind::Unsupported.into()))
}

impl Running {
    /// Waits for the end of the profile, which is the end of `ends_early` if that comes first.
    ///
    /// # Errors
    /// If the profile could not be taken.
    pub(crate) async fn finish(self, _: impl Future<Output = ()>) -> Result<Profile, ProfileError> {
        Err(ProfileError::Io(io::ErrorKind::Unsupported.into()))
    }
}

/// Takes a profile of the heap.
///
/// # Errors
/// If the allocator tells nothing.
pub(crate) async fn heap() -> Result<Profile, ProfileError> {
    Err(ProfileError::NoHeap("heap profiles need jemalloc"))
}
