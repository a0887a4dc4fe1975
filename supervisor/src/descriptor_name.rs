//! Names of the descriptors that a successor gets: over an execve, or from the service manager's store.

use gin_shared::generation::WorkerId;

/// The beginning of all names in the service manager's store. No listener's name has a slash.
pub const PREFIX: &str = "gin/";

/// The name of the memory that workers share.
pub const MEMORY: &str = "gin/memory";

/// The name of the memory in which workers count their metrics.
pub const METRICS: &str = "gin/metrics";

/// The beginning of the names of memories with certificates and keys.
pub const TLS: &str = "gin/tls/";

/// The name of a memory with certificates and keys. A change of them is another memory, so it has another name.
#[must_use]
pub fn tls(inode: u64) -> String {
    format!("{TLS}{inode}")
}

/// The name of a worker's pidfd.
#[must_use]
pub fn pidfd(id: WorkerId) -> String {
    format!("{PREFIX}pidfd/{id}")
}

/// The name of the socket at which a worker speaks `sd_notify(3)`.
#[must_use]
pub fn notify(id: WorkerId) -> String {
    format!("{PREFIX}notify/{id}")
}

/// The name of the state file.
#[must_use]
pub fn state(inode: u64) -> String {
    format!("{PREFIX}state/{inode}")
}

/// The name of an open executable.
#[must_use]
pub fn executable((device, inode): (u64, u64)) -> String {
    format!("{PREFIX}executable/{device}-{inode}")
}
