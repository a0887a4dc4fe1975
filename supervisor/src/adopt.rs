//! Taking over: from the program that this process was before, or from a master that has died.
//!
//! A master that died has left its state in a file, and maybe descriptors with the service manager. Nothing is believed that
//! cannot be checked: the file must be ours alone to write, whole, of this boot and of a known format; each process is told
//! from a later one of its PID; a socket is the one that the state means, or is not taken.
//!
//! | the state | then |
//! |---|---|
//! | is good | its workers are adopted ([`Succession`]) |
//! | cannot be read for want of descriptors or memory | the start fails; nobody is touched, the next try may succeed |
//! | cannot be believed | the workers that are left are asked to finish, then killed; the start begins afresh |
//! | is not there | likewise, if workers are left |

mod found;
pub mod in_place;
mod strays;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use gin_shared::generation::WorkerId;
use gin_shared::process::Pidfd;
use gin_shared::state::{self, Slot};
use gin_shared::tls::material::MEMFD;

use crate::cli::Cli;
use crate::config::Config;
use crate::descriptor_name::{self, MEMORY, METRICS, PREFIX};
use crate::error_text::without_code;
use crate::os::activation::{ActivationError, Passed};
use crate::os::adopt_error::AdoptError;
use crate::os::listener::Listener;
use crate::os::runtime::{sweep, worker_file};
use crate::os::shared_memory::{self, SharedMemory};
use crate::os::state_file::StateFile;
use crate::os::succession::{self, Descriptors};
use crate::os::{child, sd_notify};
use crate::state::{State, WorkerRecord};
use found::{Found, find};

/// The parts of a master that another one takes over.
#[derive(Debug)]
pub struct Succession {
    /// The state.
    pub state: State<'static>,
    /// The workers that live, with a pidfd of each.
    pub alive: Vec<(WorkerRecord, OwnedFd)>,
    /// The sockets, by inode.
    pub sockets: HashMap<u64, OwnedFd>,
    /// The memory that workers share.
    pub memory: Option<SharedMemory>,
    /// The memory in which they count their metrics.
    pub metrics: Option<SharedMemory>,
    /// The memory with certificates and keys.
    pub tls: Option<SharedMemory>,
    /// The other descriptors that were kept, by name.
    pub descriptors: Descriptors,
    /// True if this process is the master that wrote the state, under another program.
    pub in_place: bool,
}

impl Succession {
    /// Takes the sockets, for a start that has no worker to go on with.
    pub fn take_sockets(&mut self) -> Vec<Listener> {
        let of = |inode: u64| self.state.sockets.iter().find(|socket| socket.inode == inode).cloned();
        let sockets: Vec<_> = self.sockets.drain().map(|(inode, fd)| (of(inode), fd)).collect();
        sockets.into_iter().filter_map(|(socket, fd)| Some(Listener::resume(socket?, fd))).collect()
    }
}

/// A takeover that fails now. Nobody was touched; the next try may succeed.
#[derive(Debug, thiserror::Error)]
pub enum TakeUpError {
    /// The state cannot be read.
    #[error("taking up what runs here: {0}")]
    State(String),
    /// A worker cannot be opened.
    #[error("adopting worker {worker}: {error}")]
    Worker {
        /// The worker.
        worker: WorkerId,
        /// The system's error.
        error: io::Error,
    },
    /// The state file cannot be opened or made.
    #[error("{}: {}", path.display(), without_code(error))]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// The result of reading what a dead master left.
enum Outcome {
    /// Its workers and sockets.
    Adopted(Box<Succession>, Option<(File, Slot)>),
    /// Nothing is left.
    Nothing,
    /// A state that cannot be believed, or used: the reason.
    Unusable(String),
}

/// Looks for what a master of this instance has left, and takes it up. The caller holds the instance's lock, so that master
/// is dead.
///
/// # Errors
/// See [`TakeUpError`].
pub fn adopt(
    runtime: &Path,
    instance: &str,
    mut stored: Descriptors,
    passed: &mut Vec<Passed>,
) -> Result<(Option<Succession>, StateFile), TakeUpError> {
    let path = runtime.join(state::FILE);
    // All of them, and now: the look takes some out, and what it took cannot be used if it fails.
    let names: Vec<String> = stored.names().cloned().collect();
    let why_not = match look(runtime, instance, &mut stored, passed)? {
        Outcome::Adopted(succession, file) => return adopted(runtime, path, *succession, file, stored),
        Outcome::Nothing => None,
        Outcome::Unusable(why) => Some(why),
    };
    if let Some(why) = &why_not {
        tracing::error!("nothing is adopted from the supervisor that ran here before: {why}; starting afresh");
    }
    let strays = strays::ask(runtime);
    if why_not.is_none() && strays > 0 {
        let noun = if strays == 1 { "worker" } else { "workers" };
        let path = path.display();
        tracing::error!("stopped {strays} {noun} that no state file names: {path} is missing; starting afresh");
    }
    strays::end(runtime, |_| true);
    sweep(runtime, |_| false, |_| false);
    // The open copies would stand in the way of those that are made anew.
    drop(stored);
    sd_notify::forget(names.iter());
    let file = StateFile::create(&path).map_err(|error| TakeUpError::File { path, error })?;
    Ok((None, file))
}

fn look(
    runtime: &Path,
    instance: &str,
    stored: &mut Descriptors,
    passed: &mut Vec<Passed>,
) -> Result<Outcome, TakeUpError> {
    match find(runtime, stored) {
        Ok(None) => Ok(Outcome::Nothing),
        Ok(Some(found)) if found.state.instance != instance => {
            let path = runtime.join(state::FILE);
            let text = format!("{}: it is of the instance \"{}\"", path.display(), found.state.instance);
            Ok(Outcome::Unusable(text))
        }
        Ok(Some(found)) => take_up(found, stored, passed),
        // No reason to end a worker.
        Err(error) if error.is_transient => Err(TakeUpError::State(error.text)),
        Err(error) => Ok(Outcome::Unusable(error.text)),
    }
}

/// Ends what the dead master had begun to make, and goes on writing its state file.
fn adopted(
    runtime: &Path,
    path: PathBuf,
    succession: Succession,
    file: Option<(File, Slot)>,
    stored: Descriptors,
) -> Result<(Option<Succession>, StateFile), TakeUpError> {
    let kept: Vec<WorkerId> = succession.alive.iter().map(|(worker, _)| worker.id).collect();
    strays::end(runtime, |notify| !kept.iter().any(|id| notify == worker_file(runtime, *id, "notify")));
    strays::end_commands(&succession.state.commands);
    let file = match file {
        Some((file, slot)) => StateFile::adopt(file, &path, slot),
        None => StateFile::create(&path),
    };
    let file = file.map_err(|error| TakeUpError::File { path, error })?;
    Ok((Some(Succession { descriptors: stored, ..succession }), file))
}

/// Takes up each worker that lives, and each socket that they have.
fn take_up(found: Found, stored: &mut Descriptors, passed: &mut Vec<Passed>) -> Result<Outcome, TakeUpError> {
    let Found { state, file } = found;
    let mut alive = Vec::new();
    for worker in &state.workers {
        match child::open_left(worker.process, stored.take(&descriptor_name::pidfd(worker.id))) {
            Ok(Some(fd)) => alive.push((worker.clone(), fd)),
            Ok(None) => {}
            // Too many open files, or the like: no reason to end a worker.
            Err(error) => return Err(TakeUpError::Worker { worker: worker.id, error }),
        }
    }
    let mut sockets = HashMap::new();
    for socket in &state.sockets {
        let by_inode = |passed: &Passed| succession::inode(passed).is_ok_and(|inode| inode == socket.inode);
        let place = passed.iter().position(by_inode);
        let fd = match (stored.take(&socket.name()), place) {
            (Some(fd), _) => Some(fd),
            (None, Some(place)) => Some(OwnedFd::from(passed.remove(place))),
            (None, None) => match from_worker(&alive, socket.inode) {
                Ok(fd) => fd,
                // Its workers are told to end, and it closes with the last one: no reason to end them before.
                Err(error) if socket.closed && !error.is_transient => None,
                Err(error) => {
                    let (worker, _) = &alive[0];
                    let from = format!("worker {} (pid {})", worker.id, worker.process.pid);
                    let text = format!("the listener {} cannot be taken from {from}: {}", socket.address, error.text);
                    if error.is_transient {
                        return Err(TakeUpError::State(text));
                    }
                    let workers = alive.into_iter().map(|(worker, process)| (worker.stop_signal, Pidfd::from(process)));
                    strays::finish(&workers.collect::<Vec<_>>());
                    return Ok(Outcome::Unusable(format!("{text}; the workers were ended")));
                }
            },
        };
        sockets.extend(fd.map(|fd| (socket.inode, fd)));
    }
    let tls = state.tls.and_then(|inode| memory(MEMFD, stored_material(stored, inode), &alive, Some(inode)));
    let mut memory = |name: &str, kept: &str, inode| memory(name, stored.take(kept), &alive, inode);
    let rate_limit = memory(shared_memory::RATE_LIMIT, MEMORY, state.memory);
    let metrics = memory(shared_memory::METRICS, METRICS, state.metrics);
    let descriptors = Descriptors::default();
    let succession =
        Succession { state, alive, sockets, memory: rate_limit, metrics, tls, descriptors, in_place: false };
    Ok(Outcome::Adopted(Box::new(succession), file))
}

/// The memory with certificates that the service manager has kept: that of the state, else one before it. The master may have died before
/// it could store the newest, and then maybe no worker has that either.
fn stored_material(stored: &mut Descriptors, inode: u64) -> Option<OwnedFd> {
    let older = || stored.names().find(|name| name.starts_with(descriptor_name::TLS)).cloned();
    let newest = descriptor_name::tls(inode);
    let name = if stored.names().any(|name| *name == newest) { newest } else { older()? };
    stored.take(&name)
}

/// Takes a socket from any worker that has it.
fn from_worker(alive: &[(WorkerRecord, OwnedFd)], inode: u64) -> Result<Option<OwnedFd>, AdoptError> {
    let mut failed = None;
    for (worker, process) in alive {
        match succession::take_socket(worker.process.pid, process, inode) {
            Ok(Some(fd)) => return Ok(Some(fd)),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// The memory of this name that workers share: the one that the service manager has `kept`, else that of a worker. Without it clients'
/// limits, or the counters, begin anew, or certificates are read anew and sessions of TLS do not resume; and that is all.
fn memory(
    name: &str,
    kept: Option<OwnedFd>,
    alive: &[(WorkerRecord, OwnedFd)],
    inode: Option<u64>,
) -> Option<SharedMemory> {
    let kept = kept.and_then(|fd| SharedMemory::resume(fd).ok());
    if kept.is_some() {
        return kept;
    }
    let inode = inode?;
    alive.iter().find_map(|(worker, process)| match SharedMemory::of_worker(name, worker.process.pid, process, inode) {
        Ok(memory) => memory,
        Err(error) => {
            let (id, why) = (worker.id, error.text);
            tracing::warn!("the shared memory {name} cannot be taken from worker {id}: {why}");
            None
        }
    })
}

/// The configuration that was in force when a master died with workers that live: for a start that cannot use what lies on
/// disk now.
#[must_use]
pub fn configuration_of_the_dead(cli: &Cli) -> Option<Config> {
    found::configuration_of_the_dead(cli)
}

/// Separates the descriptors that a service manager has kept for a successor from the sockets that it passes.
///
/// # Errors
/// If a descriptor is no socket that a listener can be.
pub fn split(passed: Vec<(String, OwnedFd)>) -> Result<(Vec<Passed>, Descriptors), ActivationError> {
    let (mut sockets, mut stored) = (Vec::new(), Descriptors::default());
    for (name, fd) in passed {
        if name.starts_with(PREFIX) {
            stored.insert(name, fd);
        } else {
            sockets.push(Passed::new(name, fd)?);
        }
    }
    Ok((sockets, stored))
}
