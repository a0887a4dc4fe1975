//! The heap of this process.

/// Gives what is free back to the system: glibc keeps it otherwise.
#[allow(unsafe_code, reason = "a call into the C library")]
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes no pointer and may be called by any thread at any time.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
