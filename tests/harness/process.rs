//! A process, as the kernel shows it.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;

/// One that runs, by its PID.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// A field of `/proc/PID/status`, in KiB.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn memory(self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Number of its open sockets, and of all its descriptors.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn descriptors(self) -> (usize, usize) {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap();
        // One that was closed meanwhile leads nowhere.
        let leads: Vec<PathBuf> = all.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        let sockets = leads.iter().filter(|path| path.to_string_lossy().starts_with("socket:")).count();
        (sockets, leads.len())
    }

    /// Sends it SIGSTOP, and waits until each of its threads stands still. The signal alone is not enough: one thread has to run to take it,
    /// and the others go on until that one has stopped them.
    ///
    /// # Panics
    /// If it is gone, or does not stop.
    pub fn stop(self) {
        kill(Pid::from_raw(i32::try_from(self.0).unwrap()), Signal::SIGSTOP).unwrap();
        let running = || self.threads().into_iter().filter(|state| *state != 'T').collect::<String>();
        eventually(&format!("all threads of {} stand still", self.0), running, String::is_empty);
    }

    /// States of its threads, but for those that end meanwhile.
    fn threads(self) -> Vec<char> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().flatten();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        // Its name stands before that in parentheses, and may have some, too.
        stats.filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())).collect()
    }
}
