//! The limit of open files: a connection is a descriptor.

use gin_shared::process::open_files;
use gin_shared::reserve;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are kept for the handover: a socket and an eventfd for each of 32 takers, and a few more.
pub(super) const RESERVE: usize = 72;
/// The most descriptors that are left to the application, and the part of all that they may be.
const APPLICATION: u64 = 128;
const PART: u64 = 8;
/// Open files of a worker where they cannot be counted.
const OPEN: usize = 32;

/// Raises the soft limit to the hard one. The usual soft limit of 1024 is there for programs that use select(2). The hard limit is the
/// administrator's word, and `limits.nofile` sets both.
pub(super) fn raise() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("RLIMIT_NOFILE: {}", error.desc());
    }
}

/// The number of connections of `wanted` that the limit has room for. A connection that is accepted without a descriptor to spare could
/// not be handed over.
pub(super) fn room(wanted: usize) -> usize {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let open = open_files(own).map_or(OPEN, Iterator::count);
    let room = room_of(limit, open);
    if room < wanted {
        tracing::info!(
            "RLIMIT_NOFILE = {limit} has room for {room} connections at once, and limits.connections is more: for others the longest idle ones make room"
        );
    }
    room.min(wanted)
}

/// At least one, whatever the limit is.
fn room_of(limit: u64, open: usize) -> usize {
    let spare = (limit / PART).min(APPLICATION);
    let room = usize::try_from(limit.saturating_sub(spare)).unwrap_or(usize::MAX);
    room.saturating_sub(open).saturating_sub(reserve::size(RESERVE, limit)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_and_what_is_kept_are_no_room() {
        assert_eq!(room_of(1024, 20), 1024 - 128 - 20 - 64);
        assert_eq!(room_of(400, 20), 400 - 50 - 20 - 25);
        assert_eq!(room_of(16, 20), 1);
        assert!(room_of(u64::MAX, 20) > 1 << 40);
    }
}
