//! What the processes of each worker use: it leads a session of its own, which its children are in.

use std::collections::HashMap;

use gin_shared::process::{self, Stat};

/// Use of all processes of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    /// Resident memory in bytes. Pages that several processes share are counted for each.
    pub resident: u64,
    /// Time on CPUs, in the kernel's ticks: of the processes that are there, and of those that one of them has waited for.
    pub cpu: u64,
}

/// All sessions, by the PID of their leader.
#[must_use]
pub fn all() -> HashMap<i32, Session> {
    let page = rustix::param::page_size() as u64;
    let mut sessions: HashMap<i32, Session> = HashMap::new();
    for stat in process::all().filter_map(Stat::of) {
        let session = sessions.entry(stat.session).or_default();
        session.resident += stat.resident * page;
        session.cpu = session.cpu.saturating_add(stat.cpu);
    }
    sessions
}

/// Ticks of the kernel a second.
#[must_use]
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
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
        let used = all()[&session];
        assert!(used.resident / 1024 >= own / 2, "{own} kB, {used:?}");
        assert!(ticks_per_second() > 0);
    }
}
