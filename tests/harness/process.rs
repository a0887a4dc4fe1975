//! A process, as the kernel shows it.

use std::path::PathBuf;

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
}
