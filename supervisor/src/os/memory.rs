//! The memory that each worker's processes hold.

use std::collections::HashMap;

use gin_shared::process::{self, Stat};

/// Resident memory in bytes, by session: each worker leads a session of its own, which its children are in.
///
/// Pages that several processes share are counted for each.
#[must_use]
pub fn by_session() -> HashMap<i32, u64> {
    let page = rustix::param::page_size() as u64;
    let mut sessions: HashMap<i32, u64> = HashMap::new();
    for stat in process::all().filter_map(Stat::of) {
        *sessions.entry(stat.session).or_default() += stat.resident * page;
    }
    sessions
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn our_own_session_holds_something() {
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let own: u64 = own.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(by_session()[&session] / 1024 >= own / 2, "{own} kB");
    }
}
