//! Descriptors whose turning readable is an event.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::signalfd::SignalFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::closer::OpenToOthers;

/// A type that keeps one open descriptor for as long as it lives, and always the same one.
pub(super) trait KeepsItsDescriptor: AsRawFd {}
impl KeepsItsDescriptor for OwnedFd {}
impl KeepsItsDescriptor for SignalFd {}
impl KeepsItsDescriptor for OpenToOthers {}

/// Watches `fd`.
#[allow(unsafe_code, reason = "tokio cannot know that a descriptor stays open; these types do")]
pub(super) fn readable<T: KeepsItsDescriptor>(fd: T) -> io::Result<AsyncFd<T>> {
    super::fault::at("watch.epoll")?;
    // SAFETY: the trait above is implemented only for types that own their descriptor and never exchange it, so it is
    // valid until `fd` is dropped, which the AsyncFd does after it has deregistered it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}
