//! Uploads that can be resumed: tus 1.0.

#![allow(dead_code, reason = "filled by the next commits")]

use std::io;
use std::time::Duration;

use super::directory::Directory;
use crate::Group;

/// The routes of the protocol below this path.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(prefix: &str) -> Group<S> {
    Group::new(prefix)
}

/// Removes uploads that nobody has gone on with for so long, and finishes those that only lack their name.
pub(crate) fn sweep(_: &Directory, _: Duration) {}

/// Bytes of all uploads under way.
///
/// # Errors
/// If the directory cannot be read.
#[allow(clippy::unnecessary_wraps, reason = "filled by the next commits")]
pub(crate) fn bytes(_: &Directory) -> io::Result<u64> {
    Ok(0)
}
