//! Processes of a dead master's workers that nobody adopts.

use std::path::Path;
use std::time::{Duration, Instant};

use gin_shared::process::{Pidfd, ProcessId, Signal};

use crate::os::{child, orphan};

/// Time for workers that cannot be adopted to finish, before they are killed.
const FINISH: Duration = Duration::from_secs(10);
/// Processes that die leave others to be found: rounds of looking.
const ROUNDS: usize = 3;

/// Asks workers to finish, by the signal of each, and kills those that do not.
pub(super) fn finish(workers: &[(i32, Pidfd)]) {
    for (signal, process) in workers {
        let signal = Signal::from_named_raw(*signal).unwrap_or(Signal::TERM);
        let _ = process.signal(signal);
        let _ = process.signal(Signal::CONT);
    }
    let until = Instant::now() + FINISH;
    for (_, process) in workers {
        if !process.has_ended(until.saturating_duration_since(Instant::now())) {
            process.kill();
        }
    }
}

/// Asks workers that cannot be adopted to finish, and waits for a while; gives their number.
pub(super) fn ask(runtime: &Path) -> usize {
    // A worker leads its session; its other processes end with it, or are ended after it.
    let strays = orphan::strays(runtime).into_iter().map(|(pid, _)| pid.as_raw());
    let leaders = strays.filter(|pid| orphan::session_of(*pid) == Some(*pid));
    let opened = leaders.filter_map(|pid| Pidfd::open(pid).ok().flatten());
    let workers: Vec<(i32, Pidfd)> = opened.map(|process| (Signal::TERM.as_raw(), process)).collect();
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
        if let Ok(Some(process)) = child::open_left(*command, None) {
            child::kill_with_group(command.pid, &Pidfd::from(process));
        }
    }
}
