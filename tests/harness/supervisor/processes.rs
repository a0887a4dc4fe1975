//! The processes of a supervisor, as the kernel shows them: which there are, and how much memory the master has.

use super::Supervisor;
use crate::eventually;

impl Supervisor {
    /// There are just the processes that the status shows, and the master.
    ///
    /// # Panics
    /// If there is another one, or one is missing.
    pub fn assert_sound(&self) {
        let mut known: Vec<i32> = vec![self.pid().as_raw()];
        let status = self.status();
        known.extend(status.generations.iter().flat_map(|generation| generation.workers.iter().filter_map(|w| w.pid)));
        known.sort_unstable();
        let mut there = self.processes();
        there.sort_unstable();
        assert_eq!(there, known, "{status:#?}\n{}", self.log());
    }

    /// No process, socket or PID file is left.
    ///
    /// # Panics
    /// If one is.
    pub fn assert_nothing_left(&self) {
        let left: Vec<String> = std::fs::read_dir(self.dir.path().join("run"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.ends_with(".lock") && name != "failed-start")
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        assert!(!self.dir.path().join("http.sock").exists(), "the listener's socket was left behind");
        assert_eq!(self.processes(), Vec::<i32>::new(), "processes were left behind");
    }

    /// Every process whose environment says that it is of this supervisor: its RUNTIME_DIRECTORY, or its workers' NOTIFY_SOCKET.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let mark = self.dir.path().display().to_string();
        let ours = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }

    /// Resident memory of the master, in KiB.
    ///
    /// # Panics
    /// If it is dead.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory_of("VmRSS:").expect("the master lives")
    }

    /// Largest resident memory that the master had until it ended, in KiB.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn peak_memory_until_exit(&mut self) -> u64 {
        let mut peak = 0;
        // The kernel shows the peak only while the process lives, so it is read again and again until the end.
        let look = || {
            peak = self.memory_of("VmHWM:").unwrap_or(peak);
            self.is_dead()
        };
        eventually("the master has ended", look, |is_dead| *is_dead);
        peak
    }

    /// A line of the kernel's status of the master, in KiB.
    fn memory_of(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    }
}
