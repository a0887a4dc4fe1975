//! CPU and memory of each worker with all its processes: it leads a session of its own, which its children are in.

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

/// The sessions that were seen.
#[derive(Debug, Default)]
pub struct Sessions {
    /// By the PID of their leader.
    pub by_leader: HashMap<i32, Session>,
    /// True if a process could not be looked at for want of descriptors or memory. Sums are too low then.
    pub is_partial: bool,
}

/// All sessions.
#[must_use]
pub fn all() -> Sessions {
    let page = rustix::param::page_size() as u64;
    let mut sessions = Sessions::default();
    for stat in process::all().map(Stat::read) {
        sessions.is_partial |= stat.is_err();
        let Ok(Some(stat)) = stat else { continue };
        let session = sessions.by_leader.entry(stat.session).or_default();
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
        let used = all().by_leader[&session];
        assert!(used.resident / 1024 >= own / 2, "{own} kB, {used:?}");
        assert!(ticks_per_second() > 0);
    }
}
