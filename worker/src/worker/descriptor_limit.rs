//! The limit of open files: a connection is a descriptor.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. The usual soft limit of 1024 is there for programs that use select(2). The hard limit is the
/// administrator's word, and `limits.nofile` sets both.
pub(super) fn raise() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("RLIMIT_NOFILE: {}", error.desc());
    }
}
