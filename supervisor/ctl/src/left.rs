//! The workers that a dead supervisor has left, known by its state file.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gin_shared::exit;
use gin_shared::listen::Address;
use gin_shared::process::{self, Pidfd, ProcessId, Signal};
use gin_shared::runtime_dir::{CONTROL, PID_FILE, STATUS, STOPPING, Surroundings};
use gin_shared::state::{self, Left, LeftState, LeftWorker, boot_id};
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::failure::Failure;

/// Added to what a worker may take to end.
const MARGIN: Duration = Duration::from_secs(5);
/// Time for a killed process to die.
const DEATH: Duration = Duration::from_secs(5);

/// Workers without a supervisor.
#[derive(Debug)]
pub struct Orphaned {
    directory: PathBuf,
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
        return look(socket.parent()?).or_else(|| all().into_iter().find(has));
    }
    let mut found: Vec<Orphaned> =
        all().into_iter().filter(|one| name.is_none_or(|name| one.state.instance == name)).collect();
    if found.len() == 1 { found.pop() } else { None }
}

/// All that can be seen from here.
#[must_use]
pub fn all() -> Vec<Orphaned> {
    let parents = Surroundings::from_env().parents();
    let directories = parents.iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten().flatten();
    directories.filter_map(|entry| look(&entry.path())).collect()
}

/// Remembers for [`Orphaned::was_to_stop`] that a service manager stops the instance.
pub fn mark_stopping(socket: Option<&Path>, name: Option<&str>) {
    let directory = match (socket, name) {
        (Some(socket), _) => socket.parent().map(Path::to_owned),
        (None, name) => crate::instance::find(None, name).ok().and_then(|one| one.status.parent().map(Path::to_owned)),
    };
    // Without it a stop that takes too long leaves workers to gin-ctl stop.
    let _ = directory.map(|directory| File::create(directory.join(STOPPING)));
}

fn look(directory: &Path) -> Option<Orphaned> {
    let (file, owner) = open_state(directory)?;
    let left: Left = serde_json::from_slice(&state::read(&file).ok()??.bytes).ok()?;
    let state = left.state;
    if left.boot_id != boot_id() || ProcessId::of(state.master.pid) == Some(state.master) {
        return None;
    }
    let open = |worker: &LeftWorker| Some((worker.clone(), open(worker.process, owner)?));
    let alive: Vec<(LeftWorker, Pidfd)> = state.workers.iter().filter_map(open).collect();
    (!alive.is_empty()).then(|| Orphaned { directory: directory.to_owned(), owner, state, alive })
}

/// The state, and whose it is: a file of the directory's owner or root's, that nobody else can have written.
fn open_state(directory: &Path) -> Option<(File, u32)> {
    let there = std::fs::symlink_metadata(directory).ok()?;
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags).open(directory.join(state::FILE)).ok()?;
    let metadata = file.metadata().ok()?;
    let owner = metadata.uid();
    let directory_is_safe = there.is_dir() && there.mode() & 0o022 == 0 && [0, owner].contains(&there.uid());
    (directory_is_safe && metadata.is_file() && metadata.mode() & 0o077 == 0).then_some((file, owner))
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
        self.directory.join(STOPPING).exists()
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
        let lock = self.directory.join("instance.lock");
        let file = File::options().write(true).open(&lock);
        let file = file.map_err(|error| Failure::new(exit::REFUSED, format!("{}: {error}", lock.display())))?;
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
        let mark = [b"NOTIFY_SOCKET=", self.directory.as_os_str().as_bytes(), b"/"].concat();
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
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(ours) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let paths = &self.state.paths;
        let pid_file = paths.pid_file.clone().unwrap_or_else(|| self.directory.join(PID_FILE));
        let pid = std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
        if pid == Some(self.state.master.pid) && self.may_remove(&pid_file, |_| true) {
            let _ = std::fs::remove_file(pid_file);
        }
        for path in [&paths.control, &paths.status].into_iter().flatten() {
            let dead = UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            if dead && self.may_remove(path, |file| file.file_type().is_socket()) {
                let _ = std::fs::remove_file(path);
            }
        }
        for socket in &self.state.sockets {
            if let (Address::Unix(path), Some(id)) = (&socket.address, socket.file)
                && self.may_remove(path, |file| file.file_type().is_socket() && (file.dev(), file.ino()) == id)
            {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn may_remove(&self, path: &Path, is_it: impl Fn(&Metadata) -> bool) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|file| is_it(&file) && (self.owner == 0 || file.uid() == self.owner))
    }
}
