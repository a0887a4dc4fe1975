//! The workers that a dead supervisor has left, known by its state file.
//!
//! Nothing is read, signalled or removed by the word of somebody who could not have done it: see [`gin_shared::directory`] for
//! the directories, and [`open_state`] for the state.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use gin_shared::directory::Directory;
use gin_shared::exit;
use gin_shared::listen::Address;
use gin_shared::plain_text::plain;
use gin_shared::process::{self, Pidfd, ProcessId, Signal};
use gin_shared::runtime_dir::{CONTROL, PID_FILE, STATUS, STOPPING};
use gin_shared::state::{self, Left, LeftState, LeftWorker, boot_id};
use gin_shared::unix_socket;
use nix::fcntl::{Flock, FlockArg};

use crate::failure::Failure;

/// Added to what a worker may take to end.
const MARGIN: Duration = Duration::from_secs(5);
/// Time for a killed process to die.
const DEATH: Duration = Duration::from_secs(5);
/// Longer than any PID, in bytes.
const PID_MAX: u64 = 32;

/// Workers without a supervisor.
#[derive(Debug)]
pub struct Orphaned {
    directory: Directory,
    /// Whose word the state is: of another user than root it counts for that user's processes and files alone.
    owner: u32,
    state: LeftState,
    alive: Vec<(LeftWorker, Pidfd)>,
}

/// Those of the instance that is meant, if its supervisor is gone and workers of it live.
#[must_use]
pub fn find(socket: Option<&Path>, name: Option<&str>) -> Option<Orphaned> {
    if let Some(socket) = socket {
        // It may be elsewhere than in the runtime directory.
        let has = |one: &Orphaned| {
            let paths = &one.state.paths;
            [&paths.control, &paths.status].into_iter().flatten().any(|path| path == socket)
        };
        let beside = Directory::of_file(socket).ok().and_then(|(directory, _)| look(directory));
        return beside.or_else(|| all().into_iter().find(has));
    }
    let mut found: Vec<Orphaned> =
        all().into_iter().filter(|one| name.is_none_or(|name| one.state.instance == name)).collect();
    if found.len() == 1 { found.pop() } else { None }
}

/// All that can be seen from here.
#[must_use]
pub fn all() -> Vec<Orphaned> {
    crate::instance::directories().0.into_iter().filter_map(look).collect()
}

/// Remembers for [`Orphaned::was_to_stop`] that a service manager stops the instance.
pub fn mark_stopping(socket: Option<&Path>, name: Option<&str>) {
    let directory = match (socket, name) {
        (Some(socket), _) => Directory::of_file(socket).ok(),
        (None, name) => {
            crate::instance::find(None, name).ok().and_then(|instance| Directory::of_file(&instance.status).ok())
        }
    };
    // Without it a stop that takes too long leaves workers to gin-ctl stop.
    let _ = directory.map(|(directory, _)| directory.create(OsStr::new(STOPPING), 0o644));
}

fn look(directory: Directory) -> Option<Orphaned> {
    let (file, owner) = open_state(&directory)?;
    let left: Left = serde_json::from_slice(&state::read(&file).ok()??.bytes).ok()?;
    let state = LeftState { instance: plain(&left.state.instance).into_owned(), ..left.state };
    if left.boot_id != boot_id() || ProcessId::of(state.master.pid) == Some(state.master) {
        return None;
    }
    let open = |worker: &LeftWorker| Some((worker.clone(), open(worker.process, owner)?));
    let alive: Vec<(LeftWorker, Pidfd)> = state.workers.iter().filter_map(open).collect();
    (!alive.is_empty()).then_some(Orphaned { directory, owner, state, alive })
}

/// The state, and whose it is: root's, ours, or that of the user whom root has given the directory to; and nobody else can
/// have written it.
fn open_state(directory: &Directory) -> Option<(File, u32)> {
    let file = directory.read(OsStr::new(state::FILE)).ok()?;
    let metadata = file.metadata().ok()?;
    let is_believed = metadata.is_file() && metadata.mode() & 0o077 == 0 && directory.believes(metadata.uid());
    is_believed.then(|| (file, metadata.uid()))
}

/// Opens a process of a state, unless it is gone, or the state's owner cannot speak of it.
fn open(process: ProcessId, owner: u32) -> Option<Pidfd> {
    Pidfd::open_same(process, None).ok().flatten().filter(|_| is_of(process.pid, owner))
}

/// True if a state of `owner` can speak of this process.
fn is_of(pid: i32, owner: u32) -> bool {
    owner == 0 || process::user(pid) == Some(owner)
}

impl Orphaned {
    /// Its name.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.state.instance
    }

    /// The workers that live.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.alive.iter().map(|(worker, _)| worker.process.pid).collect()
    }

    /// True if its service manager had begun to stop it.
    #[must_use]
    pub fn was_to_stop(&self) -> bool {
        self.directory.look(OsStr::new(STOPPING)).is_ok()
    }

    /// In a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let of = |told: bool| {
            let meant = self.alive.iter().filter(move |(worker, _)| worker.told == told);
            meant.map(|(worker, _)| worker.process.pid.to_string()).collect::<Vec<_>>()
        };
        let phrase = |pids: Vec<String>, one: &str, many: &str| match pids.as_slice() {
            [] => None,
            [pid] => Some(format!("worker {pid} still {one}")),
            pids => Some(format!("workers {} still {many}", pids.join(", "))),
        };
        let phrases = [phrase(of(false), "serves", "serve"), phrase(of(true), "drains", "drain")];
        format!("no supervisor, but {}", phrases.into_iter().flatten().collect::<Vec<_>>().join(", and "))
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let workers: Vec<serde_json::Value> = self
            .alive
            .iter()
            .map(|(worker, _)| {
                serde_json::json!({
                    "generation": worker.id.generation, "slot": worker.id.slot, "pid": worker.process.pid
                })
            })
            .collect();
        serde_json::json!({ "instance": self.state.instance, "state": "no_supervisor", "workers": workers })
    }

    /// Ends them: asks first, unless it is to be fast. Gives how many.
    ///
    /// # Errors
    /// If a supervisor is starting, or one cannot be ended.
    pub fn stop(&self, fast: bool) -> Result<usize, Failure> {
        // With the lock held no supervisor can adopt them meanwhile.
        let lock = "instance.lock";
        let path = self.directory.path().join(lock);
        let file = self.directory.write(OsStr::new(lock));
        let file = file.map_err(|error| Failure::new(exit::REFUSED, format!("{}: {error}", path.display())))?;
        let _lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| Failure::new(exit::BUSY, "a supervisor is starting, and adopts them; try again".to_owned()))?;
        // To many a server a second signal means that it is to hurry.
        for (worker, process) in self.alive.iter().filter(|(worker, _)| !fast && !worker.told) {
            let signal = Signal::from_named_raw(worker.stop_signal).unwrap_or(Signal::TERM);
            let sent = process.signal(signal);
            let _ = process.signal(Signal::CONT);
            if let Err(error) = sent
                && error.kind() == ErrorKind::PermissionDenied
            {
                return Err(Failure::new(exit::REFUSED, format!("worker {}: {error}", worker.process.pid)));
            }
        }
        let began = Instant::now();
        for (worker, process) in &self.alive {
            let patience = Duration::from_millis(worker.drain_timeout_ms) + MARGIN;
            if fast || !process.has_ended(patience.saturating_sub(began.elapsed())) {
                // Its group, while it is there to keep the number; then itself.
                if !process.has_ended(Duration::ZERO) {
                    let _ = nix::sys::signal::killpg(
                        nix::unistd::Pid::from_raw(worker.process.pid),
                        nix::sys::signal::Signal::SIGKILL,
                    );
                }
                process.kill();
                if !process.has_ended(DEATH) {
                    let text = format!("worker {} does not end", worker.process.pid);
                    return Err(Failure::new(exit::FAILED, text));
                }
            }
        }
        self.end_strays();
        self.clean();
        Ok(self.alive.len())
    }

    /// Kills the processes that workers have left, known by the notify socket in their environment.
    fn end_strays(&self) {
        let mark = [b"NOTIFY_SOCKET=", self.directory.path().as_os_str().as_bytes(), b"/"].concat();
        let is_notify = |rest: &[u8]| rest.ends_with(b".notify") && !rest.contains(&b'/');
        let is_marked = |entry: &Vec<u8>| entry.strip_prefix(mark.as_slice()).is_some_and(is_notify);
        let is_stray = |pid: i32| process::environment(pid).iter().any(is_marked) && is_of(pid, self.owner);
        let own = process::ancestry();
        for pid in process::all().filter(|pid| !own.contains(pid) && is_stray(*pid)) {
            if let Ok(Some(process)) = Pidfd::open(pid)
                && is_stray(pid)
            {
                process.kill();
                let _ = process.has_ended(DEATH);
            }
        }
    }

    /// Removes what the supervisor would have removed.
    fn clean(&self) {
        let ours = |name: &str| {
            [CONTROL, STATUS, STOPPING, state::FILE].contains(&name)
                || name.starts_with("generation-")
                || [".notify", ".channel", ".private"].iter().any(|end| name.ends_with(end))
        };
        for name in self.directory.names().unwrap_or_default() {
            if name.to_str().is_some_and(ours) {
                let _ = self.directory.remove(&name);
            }
        }
        let paths = &self.state.paths;
        let pid_file = paths.pid_file.clone().unwrap_or_else(|| self.directory.path().join(PID_FILE));
        if let Ok((directory, name)) = Directory::of_file(&pid_file)
            && pid_in(&directory, &name) == Some(self.state.master.pid)
        {
            self.remove(&directory, &name, |_, _| true);
        }
        for path in [&paths.control, &paths.status].into_iter().flatten() {
            if let Ok((directory, name)) = Directory::of_file(path) {
                self.remove(&directory, &name, |file, metadata| metadata.file_type().is_socket() && is_dead(file));
            }
        }
        for socket in &self.state.sockets {
            if let (Address::Unix(path), Some(id)) = (&socket.address, socket.file)
                && let Ok((directory, name)) = Directory::of_file_in_shared(path)
            {
                let is_it = |_: &File, file: &Metadata| file.file_type().is_socket() && (file.dev(), file.ino()) == id;
                self.remove(&directory, &name, is_it);
            }
        }
    }

    /// Removes a file that the state names, if it is the one that is meant, and one that the state's owner can speak of.
    fn remove(&self, directory: &Directory, name: &OsStr, is_it: impl Fn(&File, &Metadata) -> bool) {
        let Ok(file) = directory.look(name) else { return };
        let Ok(metadata) = file.metadata() else { return };
        if is_it(&file, &metadata) && (self.owner == 0 || metadata.uid() == self.owner) {
            let _ = directory.remove(name);
        }
    }
}

/// The PID in a file.
fn pid_in(directory: &Directory, name: &OsStr) -> Option<i32> {
    let mut text = String::new();
    directory.read(name).ok()?.take(PID_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// True if nobody listens at a socket.
fn is_dead(socket: &File) -> bool {
    unix_socket::ask(socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
