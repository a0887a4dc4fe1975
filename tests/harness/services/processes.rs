//! The processes of a server: the first one, and those that it has started.

use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::{PATIENCE, eventually};

/// State of a process, as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    Running,
}

/// PIDs, the first one's in front.
#[derive(Debug)]
pub(super) struct Processes(Vec<i32>);

/// A line of the kernel's status of a process.
fn line(pid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

/// True if it is in this state, or has ended.
fn is(pid: i32, state: State) -> bool {
    let is_it = |text: String| text.starts_with('Z') || text.starts_with('T') == (state == State::Stopped);
    line(pid, "State:").is_none_or(is_it)
}

impl Processes {
    /// Processes of the server whose first process has this PID.
    pub(super) fn of(first: u32) -> Self {
        let first = i32::try_from(first).expect("a PID");
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let parent = first.to_string();
        let started = pids.filter(|pid| line(*pid, "PPid:").is_some_and(|own| own == parent));
        Self(std::iter::once(first).chain(started).collect())
    }

    /// Sends a signal to all of them. Some may have ended.
    pub(super) fn signal(&self, signal: Signal) {
        for pid in &self.0 {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    }

    /// Sends a signal to the first one.
    pub(super) fn signal_first(&self, signal: Signal) {
        kill(Pid::from_raw(self.0[0]), signal).expect("the server runs");
    }

    /// Waits until all of them are in this state, or have ended.
    pub(super) fn until(&self, state: State) {
        // The kernel tells the state of another's child to nobody.
        let look = || self.0.iter().copied().filter(|pid| !is(*pid, state)).collect::<Vec<i32>>();
        eventually(&format!("the processes are {state:?}"), look, Vec::is_empty);
    }

    /// The same for the first one.
    pub(super) fn until_first_is(&self, state: State) {
        Self(self.0[..1].to_vec()).until(state);
    }

    /// Waits until all of them have ended.
    pub(super) fn until_ended(&self) {
        for pid in &self.0 {
            let process = rustix::process::Pid::from_raw(*pid).expect("a PID");
            let Ok(process): Result<OwnedFd, _> = pidfd_open(process, PidfdFlags::empty()) else { continue };
            let patience = Timespec::try_from(PATIENCE).unwrap();
            let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
            assert!(ended > 0, "process {pid} of the server does not end");
        }
    }
}
