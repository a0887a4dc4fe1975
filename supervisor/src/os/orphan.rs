//! Children that are nobody's worker: processes whose parent died, which the kernel gives to the master, a subreaper.

use std::fs;

use gin_shared::generation::WorkerId;
use gin_shared::inherit::{GIN_GENERATION, GIN_SLOT};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// Makes this process the one that orphans among its descendants fall to.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn become_subreaper() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?)
}

/// Reaps dead children that `is_ours` does not claim; their statuses mean nothing.
pub fn reap(is_ours: impl Fn(Pid) -> bool) {
    loop {
        // Looked at first, reaped after: a worker's status belongs to its own watcher, which calls this again.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let pid = match waitid(Id::All, flags).map(|status| status.pid()) {
            Ok(Some(pid)) if !is_ours(pid) => pid,
            Err(Errno::EINTR) => continue,
            Ok(_) | Err(_) => return,
        };
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        tracing::debug!(pid = pid.as_raw(), "reaped an orphan");
    }
}

/// Kills the orphans that a worker, gone or going, left outside of its process group: known by its place in their environment.
pub fn kill_of(worker: WorkerId, is_ours: impl Fn(Pid) -> bool) {
    let marks = [format!("{GIN_GENERATION}={}", worker.generation), format!("{GIN_SLOT}={}", worker.slot)];
    for pid in children().into_iter().filter(|pid| !is_ours(*pid)) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |mark: &String| environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes());
        if marks.iter().all(has) {
            tracing::info!(
                pid = pid.as_raw(),
                generation = worker.generation.0,
                slot = worker.slot.0,
                "killed an orphan of the worker"
            );
            // Gone already is as good.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Kills and reaps every child there is, and theirs: at the very end, when no worker is left.
pub fn kill_all() {
    // Each round takes one level of a tree that reparents to us; nobody nests a thousand deep.
    for _ in 0..1000 {
        let children = children();
        if children.is_empty() {
            return;
        }
        for pid in children {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED);
        }
    }
}

/// Our children, from `/proc`: the kernel keeps no list unless it was built with one.
fn children() -> Vec<Pid> {
    let me = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let parent_is_me = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in parentheses, which may hold anything: state, then the parent's PID (proc_pid_stat(5)).
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(me.as_str()))
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_is_me(*pid))
        .map(Pid::from_raw)
        .collect()
}
