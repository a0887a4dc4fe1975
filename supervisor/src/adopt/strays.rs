//! Processes of a dead master's workers that nobody adopts.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use gin_shared::state::ProcessId;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::os::{orphan, pidfd};

/// Time for workers that cannot be adopted to finish, before they are killed.
const FINISH: Duration = Duration::from_secs(10);
/// Processes that die leave others to be found: rounds of looking.
const ROUNDS: usize = 3;

/// Asks workers to finish, by the signal of each, and kills those that do not.
pub(super) fn finish(workers: &[(i32, OwnedFd)]) {
    for (signal, process) in workers {
        let signal = Signal::from_named_raw(*signal).unwrap_or(Signal::TERM);
        let _ = pidfd_send_signal(process, signal);
        let _ = pidfd_send_signal(process, Signal::CONT);
    }
    let until = Instant::now() + FINISH;
    for (_, process) in workers {
        if !pidfd::has_ended(process, until.saturating_duration_since(Instant::now())) {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// Asks workers that cannot be adopted to finish, and waits for a while; gives their number.
pub(super) fn ask(runtime: &Path) -> usize {
    // A worker leads its session; its other processes end with it, or are ended after it.
    let strays = orphan::strays(runtime).into_iter().map(|(pid, _)| pid.as_raw());
    let leaders =
        strays.filter(|pid| orphan::session_of(*pid) == Some(*pid)).filter_map(rustix::process::Pid::from_raw);
    let opened = leaders.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let workers: Vec<(i32, OwnedFd)> = opened.map(|fd| (Signal::TERM.as_raw(), fd)).collect();
    finish(&workers);
    workers.len()
}

/// Kills processes of workers that nobody knows: those that a dead master had begun to make, and what dead workers left.
/// `is_stray` judges by the path of the worker's notify socket.
pub(super) fn end(runtime: &Path, is_stray: impl Fn(&Path) -> bool) {
    for _ in 0..ROUNDS {
        let strays: Vec<_> = orphan::strays(runtime).into_iter().filter(|(_, path)| is_stray(path)).collect();
        if strays.is_empty() {
            return;
        }
        for (pid, path) in strays {
            tracing::warn!(pid = pid.as_raw(), "ended process {pid}, which a supervisor that is gone has left");
            orphan::kill_foreign(pid, &path);
        }
    }
}

/// Kills the operator's commands that ran for the dead master.
pub(super) fn end_commands(commands: &[ProcessId]) {
    for command in commands {
        if let Ok(Some(process)) = pidfd::open_left(*command, None) {
            pidfd::kill_with_group(command.pid, &process);
        }
    }
}
