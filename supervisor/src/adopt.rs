//! Taking over: from the program that this process was before, or from a master that has died.
//!
//! A master that died has left its state in a file, and maybe descriptors with the service manager. Nothing is believed that
//! cannot be checked: the file must be ours alone to write, whole, of this boot and of a format that is known; each process
//! is told from a later one of its PID; a socket is the one that the state means, or is not taken.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use gin_shared::runtime_dir::Surroundings;
use gin_shared::state::{self, ProcessId, Slot, boot_id};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Stop;
use crate::cli::Cli;
use crate::config::Config;
use crate::descriptor_name::{self, MEMORY, PREFIX};
use crate::machine::snapshot;
use crate::os;
use crate::os::activation::Passed;
use crate::os::adopt_error::AdoptError;
use crate::os::listener::Listener;
use crate::os::shared_memory::SharedMemory;
use crate::os::state_file::StateFile;
use crate::os::succession::{self, Descriptors};
use crate::os::{orphan, pidfd, state_file};
use crate::state::{State, WorkerRecord as LeftWorker};

/// How long workers that cannot be adopted have to end, before they are killed.
const FAREWELL: Duration = Duration::from_secs(10);

/// What a master takes over.
#[derive(Debug)]
pub struct Succession {
    /// What was written down.
    pub state: State<'static>,
    /// The workers that live, with a pidfd of each.
    pub alive: Vec<(LeftWorker, OwnedFd)>,
    /// The sockets, by inode.
    pub sockets: HashMap<u64, OwnedFd>,
    /// What workers share.
    pub memory: Option<SharedMemory>,
    /// What else was kept, by name.
    pub descriptors: Descriptors,
    /// Whether this process is the master that wrote it, under another program.
    pub in_place: bool,
}

impl Succession {
    /// The sockets, for a start that has no worker to go on with.
    pub fn take_sockets(&mut self) -> Vec<Listener> {
        let of = |inode: u64| self.state.sockets.iter().find(|socket| socket.inode == inode).cloned();
        let sockets: Vec<_> = self.sockets.drain().map(|(inode, fd)| (of(inode), fd)).collect();
        sockets.into_iter().filter_map(|(socket, fd)| Some(Listener::resume(socket?, fd))).collect()
    }
}

/// The state that the program before this one has left in this process.
///
/// # Errors
/// If there should be one and is none; nothing can be done about it here.
pub fn in_place() -> Result<Option<(State<'static>, Descriptors)>, String> {
    let failed = |error: String| format!("upgrade in place: {error}");
    let Some(bytes) = succession::inherited().map_err(|error| failed(error.to_string()))? else { return Ok(None) };
    let state: State<'static> = snapshot::read(&bytes, &boot_id()).map_err(|error| failed(error.to_string()))?;
    let descriptors = succession::adopt(&state.descriptors).map_err(|error| failed(error.to_string()))?;
    Ok(Some((state, descriptors)))
}

/// Whether this program can go on with the state in a file, for one that asks before it is executed.
///
/// # Errors
/// Why not.
pub fn check(cli: &Cli, path: &Path) -> Result<(), String> {
    let place = |error: &dyn std::fmt::Display| format!("the state in {}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| place(&error))?;
    let state: State<'static> = snapshot::read(&bytes, &boot_id()).map_err(|error| place(&error))?;
    if let Some(file) = state.config {
        let problems = |problems: Vec<gin_shared::config::Problem>| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            format!("the configuration in force: {}", lines.join("; "))
        };
        Config::reload(cli, file.into_owned()).map_err(problems)?;
    }
    Ok(())
}

/// What a master that died has left.
#[derive(Debug)]
struct Found {
    state: State<'static>,
    file: Option<(File, Slot)>,
}

/// Reads the state: what the service manager has kept, or the file; the newer one.
fn find(runtime: &Path, stored: &Descriptors) -> Result<Option<Found>, AdoptError> {
    let path = runtime.join(state::FILE);
    let prefix = format!("{PREFIX}state/");
    let kept = stored.names().find(|name| name.starts_with(&prefix)).and_then(|name| stored.copy(name)).map(File::from);
    let there = state_file::open(&path);
    let read = |file: File| state_file::latest(&file).map(|slot| (file, slot));
    let place = |error: AdoptError| error.at(&path.display());
    let there = match there {
        Ok(None) => None,
        Ok(Some(file)) => Some(read(file).map_err(place)),
        Err(error) => Some(Err(place(error))),
    };
    let kept = kept.map(|file| read(file).map_err(|error| error.at(&"the state kept by the service manager")));
    let (slot, file) = match (there, kept) {
        (Some(Ok((file, there))), Some(Ok((_, kept)))) if there.sequence >= kept.sequence => (there, Some(file)),
        (_, Some(Ok((_, kept)))) => (kept, None),
        (Some(Ok((file, slot))), _) => (slot, Some(file)),
        (Some(Err(error)), _) | (None, Some(Err(error))) => return Err(error),
        (None, None) => return Ok(None),
    };
    let state =
        snapshot::read(&slot.bytes, &boot_id()).map_err(|error| place(AdoptError::lasting(error.to_string())))?;
    Ok(Some(Found { state, file: file.map(|file| (file, slot)) }))
}

/// The configuration that was in force when a master died with workers that live: for one that starts and finds that what
/// lies on disk now cannot be used.
#[must_use]
pub fn configuration_of_the_dead(cli: &Cli) -> Option<Config> {
    let instance =
        cli.instance.clone().unwrap_or_else(|| gin_shared::runtime_dir::instance_name(cli.config.as_deref()));
    let directories = Surroundings::from_env().directories(&instance);
    let found = directories.iter().find_map(|runtime| find(runtime, &Descriptors::default()).ok().flatten())?;
    let lives = |worker: &LeftWorker| ProcessId::of(worker.process.pid) == Some(worker.process);
    if !found.state.workers.iter().any(lives) || ProcessId::of(found.state.master.pid) == Some(found.state.master) {
        return None;
    }
    Config::reload(cli, found.state.config?.into_owned()).ok()
}

/// Looks for what a master of this instance has left, and takes it up. We hold the instance's lock: it is dead.
///
/// # Errors
/// If it cannot be adopted now, but the next try may: nothing was touched.
pub fn adopt(
    runtime: &Path,
    instance: &str,
    mut stored: Descriptors,
    passed: &mut Vec<Passed>,
) -> Result<(Option<Succession>, StateFile), Stop> {
    let path = runtime.join(state::FILE);
    let names: Vec<String> = stored.names().cloned().collect();
    let adopted = match find(runtime, &stored) {
        Ok(None) => Ok(None),
        Ok(Some(found)) if found.state.instance != instance => {
            Err(format!("{}: it is of the instance \"{}\"", path.display(), found.state.instance))
        }
        Ok(Some(found)) => take_up(found, &mut stored, passed)?,
        // No reason to end anybody.
        Err(error) if error.is_transient => return Err(Stop::failed("taking up what runs here", error.text)),
        Err(error) => Err(error.text),
    };
    let why = match adopted {
        Ok(Some((succession, file))) => {
            let kept: Vec<_> = succession.alive.iter().map(|(worker, _)| worker.id).collect();
            end_strays(runtime, |path| !kept.iter().any(|id| path == os::runtime::worker_file(runtime, *id, "notify")));
            end_commands(&succession.state.commands);
            let file = match file {
                Some((file, slot)) => StateFile::adopt(file, &path, slot),
                None => StateFile::create(&path),
            };
            let file = file.map_err(|error| Stop::failed(&path.display().to_string(), error))?;
            return Ok((Some(Succession { descriptors: stored, ..succession }), file));
        }
        Ok(None) => None,
        Err(why) => Some(why),
    };
    let why_not = why;
    if let Some(why) = &why_not {
        tracing::error!("nothing is adopted from the supervisor that ran here before: {why}; starting afresh");
    }
    let strays = ask_strays(runtime);
    if why_not.is_none() && strays > 0 {
        let (noun, verb) = if strays == 1 { ("worker", "was") } else { ("workers", "were") };
        let path = path.display();
        tracing::error!("{strays} {noun} that no state tells of {verb} ended: {path} is missing; starting afresh");
    }
    end_strays(runtime, |_| true);
    os::runtime::sweep(runtime, |_| false, |_| false);
    // What it kept open would stand in our way.
    drop(stored);
    os::sd_notify::forget(names.iter());
    let file = StateFile::create(&path).map_err(|error| Stop::failed(&path.display().to_string(), error))?;
    Ok((None, file))
}

type TakenUp = Result<Option<(Succession, Option<(File, Slot)>)>, String>;

/// Each worker that lives, and each socket that they have.
fn take_up(found: Found, stored: &mut Descriptors, passed: &mut Vec<Passed>) -> Result<TakenUp, Stop> {
    let Found { state, file } = found;
    let mut alive = Vec::new();
    for worker in &state.workers {
        let name = descriptor_name::pidfd(worker.id);
        match pidfd::open_left(worker.process, stored.take(&name)) {
            Ok(Some(fd)) => alive.push((worker.clone(), fd)),
            Ok(None) => {}
            // Too many open files, or the like: no reason to end anybody.
            Err(error) => return Err(Stop::failed(&format!("adopting worker {}", worker.id), error)),
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
                Err(error) => {
                    let (worker, _) = &alive[0];
                    let from = format!("worker {} (pid {})", worker.id, worker.process.pid);
                    let text = format!("the listener {} cannot be taken from {from}: {}", socket.address, error.text);
                    if error.is_transient {
                        return Err(Stop::failed("taking up what runs here", text));
                    }
                    let text = format!("{text}; the workers were ended");
                    let workers = alive.into_iter().map(|(worker, process)| (worker.stop_signal, process));
                    finish(&workers.collect::<Vec<_>>());
                    return Ok(Err(text));
                }
            },
        };
        if let Some(fd) = fd {
            sockets.insert(socket.inode, fd);
        }
    }
    let memory = memory(&state, &alive, stored.take(MEMORY));
    let descriptors = Descriptors::default();
    Ok(Ok(Some((Succession { state, alive, sockets, memory, descriptors, in_place: false }, file))))
}

fn from_worker(alive: &[(LeftWorker, OwnedFd)], inode: u64) -> Result<Option<OwnedFd>, AdoptError> {
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

/// What the workers share: without it clients' limits begin anew, and that is all.
fn memory(state: &State<'static>, alive: &[(LeftWorker, OwnedFd)], kept: Option<OwnedFd>) -> Option<SharedMemory> {
    let kept = kept.and_then(|fd| SharedMemory::resume(fd).ok());
    if kept.is_some() {
        return kept;
    }
    let inode = state.memory?;
    alive.iter().find_map(|(worker, process)| match SharedMemory::of_worker(worker.process.pid, process, inode) {
        Ok(memory) => memory,
        Err(error) => {
            tracing::warn!(
                "rate limits begin anew: the memory of worker {} cannot be taken: {}",
                worker.id,
                error.text
            );
            None
        }
    })
}

/// Asks them to finish, and kills those that do not.
fn finish(workers: &[(i32, OwnedFd)]) {
    for (signal, process) in workers {
        let signal = Signal::from_named_raw(*signal).unwrap_or(Signal::TERM);
        let _ = pidfd_send_signal(process, signal);
        let _ = pidfd_send_signal(process, Signal::CONT);
    }
    let until = std::time::Instant::now() + FAREWELL;
    for (_, process) in workers {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let left = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        if poll(&mut ended, Some(&left)) != Ok(1) {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// Asks workers that cannot be adopted to finish, and waits for a while; gives how many.
fn ask_strays(runtime: &Path) -> usize {
    // A worker leads its session; what else there is ends with it, or is ended after it.
    let strays = orphan::strays(runtime).into_iter().map(|(pid, _)| pid.as_raw());
    let leaders =
        strays.filter(|pid| orphan::session_of(*pid) == Some(*pid)).filter_map(rustix::process::Pid::from_raw);
    let opened = leaders.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let workers: Vec<(i32, OwnedFd)> = opened.map(|fd| (Signal::TERM.as_raw(), fd)).collect();
    finish(&workers);
    workers.len()
}

/// Ends processes of workers that nobody knows: those that a dead master had begun to make, and what dead workers left.
fn end_strays(runtime: &Path, is_stray: impl Fn(&Path) -> bool) {
    // Those that die leave others to be found.
    for _ in 0..3 {
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

/// Ends the operator's commands that ran for the dead master.
fn end_commands(commands: &[ProcessId]) {
    for command in commands {
        if let Ok(Some(process)) = pidfd::open_left(*command, None) {
            pidfd::kill_with_group(command.pid, &process);
        }
    }
}

/// The descriptors that a service manager has kept for a successor, apart from the sockets that it passes.
///
/// # Errors
/// In words, if one is not there or is no socket that a listener can be.
pub fn split(
    passed: Vec<(String, OwnedFd)>,
) -> Result<(Vec<Passed>, Descriptors), os::activation::ActivationError> {
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

/// For one that is executed in place: its workers are known, and its sockets are at hand.
///
/// # Errors
/// Those of `pidfd_open(2)`.
pub fn go_on(state: State<'static>, mut descriptors: Descriptors) -> io::Result<Succession> {
    let mut alive = Vec::new();
    for worker in &state.workers {
        if let Some(fd) = pidfd::open_left(worker.process, descriptors.take(&descriptor_name::pidfd(worker.id)))? {
            alive.push((worker.clone(), fd));
        }
    }
    let sockets = state.sockets.iter().filter_map(|socket| Some((socket.inode, descriptors.take(&socket.name())?)));
    let sockets = sockets.collect();
    let memory = descriptors.take(MEMORY).map(SharedMemory::resume).transpose()?;
    Ok(Succession { state, alive, sockets, memory, descriptors, in_place: true })
}
