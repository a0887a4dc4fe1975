//! Calls into jemalloc: its profile of the heap. The one file of the heap's profile that has `unsafe`.
//!
//! `tikv-jemalloc-ctl` has the same calls, but it brings `paste`, which nobody maintains any more (RUSTSEC-2024-0436).

#![allow(unsafe_code, reason = "calls into jemalloc")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

use gin_shared::fault;
use rustix::fs::{MemfdFlags, memfd_create};
use tikv_jemalloc_sys::mallctl;

/// True if jemalloc keeps a profile: it was built with it, and its options say so.
pub(super) fn keeps_profile() -> bool {
    let mut is_on = false;
    let mut length = size_of::<bool>();
    // SAFETY: "opt.prof" is a bool, and both places live. Where there is no such option, nothing is written.
    let answer = unsafe { mallctl(c"opt.prof".as_ptr(), (&raw mut is_on).cast(), &raw mut length, null_mut(), 0) };
    answer == 0 && is_on
}

/// Has jemalloc write its profile, and reads it. It is in memory alone: a worker may be allowed no file.
pub(super) fn dump() -> io::Result<String> {
    fault::at("profile.heap")?;
    let mut memory = File::from(memfd_create(c"gin-heap", MemfdFlags::CLOEXEC)?);
    let path = CString::new(format!("/proc/self/fd/{}", memory.as_raw_fd()))?;
    let mut path = path.as_ptr();
    // SAFETY: "prof.dump" takes a pointer to a path, which lives until the call returns.
    let answer =
        unsafe { mallctl(c"prof.dump".as_ptr(), null_mut(), null_mut(), (&raw mut path).cast(), size_of_val(&path)) };
    if answer != 0 {
        return Err(io::Error::from_raw_os_error(answer));
    }
    let mut bytes = Vec::new();
    memory.read_to_end(&mut bytes)?;
    // Paths of libraries, at its end, may be anything.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
