//! Orphans: processes whose parent died. The kernel gives those of the master's descendants to the master, a subreaper.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gin_shared::generation::WorkerId;
use gin_shared::inherit::{GIN_ATTEMPT, GIN_GENERATION, GIN_SLOT, NOTIFY_SOCKET};
use gin_shared::process::{self, Pidfd, Stat};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// The most levels of a tree of processes that are followed.
const LEVELS: usize = 100;
/// Time for a killed process to die; only one that the kernel holds takes longer.
const DEATH: Duration = Duration::from_millis(100);
/// Time for which the orphans of one worker are looked for.
const ROUNDS: Duration = Duration::from_millis(500);

/// Makes orphans among this process's descendants fall to it.
///
/// # Errors
/// The errors of `prctl(2)`.
pub fn become_subreaper() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?)
}

/// Reaps dead children that `is_ours` does not claim; their statuses mean nothing.
pub fn reap(is_ours: impl Fn(Pid) -> bool) {
    // Looked at first: a worker's status belongs to its own watcher, which calls this again. It may stand before others,
    // and a status that nix has no name for (a real-time signal) is an error here: then each child is asked.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    if matches!(waitid(Id::All, flags), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD)) {
        return;
    }
    for pid in children().into_iter().filter(|pid| !is_ours(*pid)) {
        // Whatever it says: it is reaped, or lives.
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    }
}

/// Kills what a worker, gone or going, has left: its group's members, which SIGKILL is on its way to, and orphans that had
/// left the group, known by their place in their environment. Returns when they are dead.
pub fn kill_of(worker: WorkerId, is_ours: impl Fn(Pid) -> bool) {
    let marks = [
        format!("{GIN_GENERATION}={}", worker.generation),
        format!("{GIN_SLOT}={}", worker.slot),
        format!("{GIN_ATTEMPT}={}", worker.attempt),
    ];
    let is_of_worker = |pid: &Pid| {
        let environment = process::environment(pid.as_raw());
        marks.iter().all(|mark| environment.iter().any(|entry| entry == mark.as_bytes()))
    };
    // Each round takes one level of a tree that reparents to us. Whoever makes them faster than they die is left to the end
    // of the next of its workers: others wait for their turn here.
    let until = Instant::now() + ROUNDS;
    while Instant::now() < until {
        let orphans: Vec<Pid> = children().into_iter().filter(|pid| !is_ours(*pid)).filter(is_of_worker).collect();
        if orphans.is_empty() {
            return;
        }
        tracing::debug!(
            generation = worker.generation.0,
            slot = worker.slot.0,
            "killing {} orphans, {:?} first",
            orphans.len(),
            orphans[0].as_raw()
        );
        kill_and_reap(&orphans);
    }
}

/// Kills children of ours and waits for their ends, unless the kernel holds them: then they are reaped later.
fn kill_and_reap(pids: &[Pid]) {
    for pid in pids {
        // Gone already is as good.
        let _ = kill(*pid, Signal::SIGKILL);
    }
    let until = Instant::now() + DEATH;
    for pid in pids {
        if let Ok(Some(process)) = Pidfd::open(pid.as_raw()) {
            let _ = process.has_ended(until.saturating_duration_since(Instant::now()));
        }
        let _ = waitid(Id::Pid(*pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    }
}

/// Kills and reaps every child there is, and theirs: at the very end, when no worker is left.
pub fn kill_all() {
    for _ in 0..LEVELS {
        let children = children();
        if children.is_empty() {
            return;
        }
        kill_and_reap(&children);
    }
}

/// The master's children, from `/proc`: the kernel keeps no list unless it was built with one.
fn children() -> Vec<Pid> {
    let own = i32::try_from(std::process::id()).ok();
    process::all().filter(|pid| parent_of(*pid) == own).map(Pid::from_raw).collect()
}

/// The processes that some worker has left, with the path of the NOTIFY_SOCKET in their environment, by which they are known.
#[must_use]
pub fn strays(runtime: &Path) -> Vec<(Pid, PathBuf)> {
    let mark = format!("{NOTIFY_SOCKET}=");
    let of = |pid: i32| {
        let environment = process::environment(pid);
        let socket = environment.iter().find_map(|entry| entry.strip_prefix(mark.as_bytes()))?;
        let path = PathBuf::from(OsStr::from_bytes(socket));
        (path.parent() == Some(runtime) && path.extension().is_some_and(|extension| extension == "notify"))
            .then_some((Pid::from_raw(pid), path))
    };
    let found = process::all().filter_map(of);
    let own = process::ancestry();
    found.filter(|(pid, _)| !own.contains(&pid.as_raw())).collect()
}

/// Kills what a worker that is not our child has left.
pub fn kill_strays(notify: &Path) {
    let Some(runtime) = notify.parent() else { return };
    for (pid, _) in strays(runtime).into_iter().filter(|(_, path)| path == notify) {
        tracing::debug!(pid = pid.as_raw(), "killed an orphan");
        kill_foreign(pid, notify);
    }
}

/// Kills a process that is no child of ours, known by its mark: by pidfd, and looked at again when that is open.
pub fn kill_foreign(pid: Pid, notify: &Path) {
    let Ok(Some(process)) = Pidfd::open(pid.as_raw()) else { return };
    let mark = [NOTIFY_SOCKET.as_bytes(), b"=", notify.as_os_str().as_bytes()].concat();
    if process::environment(pid.as_raw()).contains(&mark) {
        process.kill();
        let _ = process.has_ended(DEATH);
    }
}

/// True if a process is of a worker's session, or descends from the worker.
#[must_use]
pub fn descends(pid: i32, worker: i32) -> bool {
    if session_of(pid) == Some(worker) {
        return true;
    }
    let line = std::iter::successors(Some(pid), |pid| parent_of(*pid).filter(|parent| *parent > 1));
    line.take(LEVELS).any(|ancestor| ancestor == worker)
}

/// The session of a process; `None` too if its leader is outside of this PID namespace: such a session is 0 to getsid(2)
/// (pid_namespaces(7)), and so is the PID of who writes to us from there. rustix takes neither for possible.
#[must_use]
pub fn session_of(pid: i32) -> Option<i32> {
    let pid = Some(pid).filter(|pid| *pid > 0)?;
    let session = nix::unistd::getsid(Some(Pid::from_raw(pid))).ok()?;
    Some(session.as_raw()).filter(|session| *session > 0)
}

/// The parent of a process.
#[must_use]
pub fn parent_of(pid: i32) -> Option<i32> {
    Stat::of(pid).map(|stat| stat.parent)
}
