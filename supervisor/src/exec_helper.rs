//! The short program between the master and a worker: plain, single-threaded, one step after the other.
//!
//! It runs before any argument parser or runtime starts, and ends by becoming the worker. Each step that fails is
//! named to the master: "user deploy: unknown", "command /srv/x/bin/y: no such file or directory".

mod containment;

use std::convert::Infallible;
use std::ffi::CString;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use gin_shared::inherit::{LISTEN_PID, WATCHDOG_PID};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, fstat, stat, umask};
use nix::unistd::{Gid, Uid, User, chdir, execve, execveat, getppid, initgroups, setgid, setgroups, setsid, setuid};
use rustix::process::Signal;
use rustix::thread::{
    CapabilitySet, CapabilitySets, CpuSet, clear_ambient_capability_set, configure_capability_in_ambient_set,
    sched_setaffinity, set_capabilities, set_keep_capabilities,
};

use crate::os::exec::{self, Orders};
use crate::os::file_access::FileAccessError;
use crate::os::identity::{LookupError, lookup};
use crate::os::spawn::{ERROR_MAX, HELPER, Spec};

/// Exit code of a helper that did not become a worker. Nobody reads meaning into it: the link tells.
const FAILED: u8 = 70;

/// A step that failed, with its name and its error: what the master is told.
#[derive(Debug, thiserror::Error)]
enum StepError {
    /// A system call failed.
    #[error("{step}: {}", words(error))]
    System { step: String, error: io::Error },
    /// The user or group is unknown.
    #[error(transparent)]
    Identity(#[from] LookupError),
    /// The worker's files cannot be restricted.
    #[error(transparent)]
    Files(#[from] FileAccessError),
    /// A text cannot be passed to the kernel.
    #[error("{0}: NUL in it")]
    Nul(&'static str),
    /// The master died before its death could be noticed.
    #[error("on_master_death: the master is gone already")]
    MasterGone,
}

/// Names a step that fails.
fn step<E: Into<io::Error>>(name: &str) -> impl Fn(E) -> StepError + use<E> {
    let name = name.to_owned();
    move |error| StepError::System { step: name.clone(), error: error.into() }
}

/// True if this process was started to be a helper.
#[must_use]
pub fn is_helper() -> bool {
    std::env::args_os().next().is_some_and(|name| name == HELPER)
}

/// Becomes the worker, or says why not.
#[must_use]
pub fn run() -> ExitCode {
    let Ok(link) = exec::take_link() else { return ExitCode::from(FAILED) };
    let failed = match exec::receive(&link) {
        Ok(None) => return ExitCode::from(FAILED),
        Ok(Some(orders)) => match become_worker(orders) {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        },
        Err(error) => format!("spec: {error}"),
    };
    let text = &failed.as_bytes()[..failed.len().min(ERROR_MAX)];
    // If the master is gone there is nobody to tell.
    let _ = send(link.as_raw_fd(), text, MsgFlags::MSG_NOSIGNAL);
    ExitCode::from(FAILED)
}

/// Goes through the steps; returns only if one failed.
fn become_worker(orders: Orders) -> Result<Infallible, StepError> {
    let Orders { spec, executable, pass_on } = orders;
    // What has to open files comes before the limits.
    let ids = lookup(spec.user.as_deref(), spec.group.as_deref())?;
    let script = is_script(&executable);
    setsid().map_err(step("session"))?;
    if let Some(nice) = spec.nice {
        rustix::process::setpriority_process(None, nice).map_err(step(&format!("nice {nice}")))?;
    }
    set_kernel_wishes(&spec)?;
    if let Some(mask) = spec.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    // Before the user: raising the hard limit may be root's right alone. What is open above the limit stays open.
    exec::pass_on(pass_on).map_err(step("descriptors"))?;
    set_nofile(spec.nofile).map_err(step("limits.nofile"))?;
    for (resource, name, limit) in
        [(Resource::RLIMIT_NPROC, "limits.nproc", spec.nproc), (Resource::RLIMIT_CORE, "limits.core", spec.core)]
    {
        if let Some(limit) = limit {
            setrlimit(resource, limit, limit).map_err(step(name))?;
        }
    }
    containment::bound(&spec.sandbox)?;
    if spec.capabilities.is_some() {
        set_keep_capabilities(true).map_err(step("capabilities"))?;
    }
    become_user(&spec, ids)?;
    if let Some(bits) = spec.capabilities {
        keep_capabilities(CapabilitySet::from_bits_retain(bits)).map_err(step("capabilities"))?;
    }
    if let Some(directory) = &spec.directory {
        let name = format!("directory {}", directory.display());
        chdir(directory.as_path()).map_err(step(&name))?;
    }
    containment::reduce(&spec.sandbox)?;
    if spec.dies_with_master {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("on_master_death"))?;
        if getppid().as_raw() != spec.master {
            return Err(StepError::MasterGone);
        }
    }
    crate::os::signal::reset().map_err(step("signals"))?;
    containment::close(&spec.sandbox, &executable)?;
    execute(&spec, &executable, script)
}

/// Sets the cores, the treatment when memory runs out, and what a core dump has in it.
fn set_kernel_wishes(spec: &Spec) -> Result<(), StepError> {
    if let Some(cores) = &spec.cores {
        let mut set = CpuSet::new();
        cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
        sched_setaffinity(None, &set).map_err(step("cpu_affinity"))?;
    }
    if let Some(score) = spec.oom_score_adjust {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(step(&format!("oom_score_adjust {score}")))?;
    }
    if let Some(filter) = spec.core_filter {
        // It cannot be written in some namespaces. The worker tries it once more, and tells.
        let _ = std::fs::write("/proc/self/coredump_filter", format!("{filter:#x}"));
    }
    Ok(())
}

/// Of those that the change of user has left permitted, keeps these alone: in force, inheritable, and ambient, so that
/// execve keeps them (capabilities(7)).
fn keep_capabilities(wanted: CapabilitySet) -> rustix::io::Result<()> {
    set_capabilities(None, CapabilitySets { effective: wanted, permitted: wanted, inheritable: wanted })?;
    clear_ambient_capability_set()?;
    for one in wanted.iter() {
        configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

/// The configured limit, soft and hard; or the soft one that the master was started with: it raised its own.
fn set_nofile((soft, configured): (u64, bool)) -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft, if configured { soft } else { hard })
}

/// Group before user: after the user the right to change the group is gone.
fn become_user(spec: &Spec, (uid, gid): (Option<Uid>, Option<Gid>)) -> Result<(), StepError> {
    if spec.user.is_none() && spec.group.is_none() {
        return Ok(());
    }
    let name = format!("user {}", spec.user.as_deref().unwrap_or("(unchanged)"));
    if let Some(gid) = gid {
        // Without the right to change groups nobody can become another user either; who stays the same keeps its groups.
        let changes = uid.is_some_and(|uid| uid != Uid::effective()) || gid != Gid::effective();
        if Uid::effective().is_root() || changes {
            match spec.user.as_deref().and_then(|user| User::from_name(user).ok().flatten()) {
                Some(user) => {
                    let user = CString::new(user.name).map_err(|_| StepError::Nul("user"))?;
                    initgroups(&user, gid).map_err(step(&name))?;
                }
                None => setgroups(&[gid]).map_err(step(&name))?,
            }
        }
        setgid(gid).map_err(step(&format!("group {gid}")))?;
    }
    match uid {
        Some(uid) => setuid(uid).map_err(step(&name)),
        None => Ok(()),
    }
}

/// By its path while the file there is the one that was frozen; else by descriptor. A script is read by its interpreter,
/// by path, whatever lies there now.
fn execute(spec: &Spec, executable: &OwnedFd, script: bool) -> Result<Infallible, StepError> {
    let pid = std::process::id().to_string();
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| StepError::Nul("command: an argument or variable"));
    let argv = spec.argv.iter().map(|arg| text(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let pair = |(key, value): &(std::ffi::OsString, std::ffi::OsString)| {
        text(&[key.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let mut environment = spec.environment.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    if spec.passes_descriptors {
        environment.push(text(format!("{LISTEN_PID}={pid}").as_bytes())?);
    }
    if spec.watched {
        environment.push(text(format!("{WATCHDOG_PID}={pid}").as_bytes())?);
    }
    let path = text(spec.program.as_os_str().as_bytes())?;
    let name = format!("command {}", spec.program.display());
    if is_unchanged(spec, executable) || script {
        execve(&path, &argv, &environment).map_err(step(&name))
    } else {
        let own = executable.as_fd();
        execveat(own, c"", &argv, &environment, AtFlags::AT_EMPTY_PATH).map_err(step(&name))
    }
}

fn is_unchanged(spec: &Spec, executable: &OwnedFd) -> bool {
    match (stat(spec.program.as_path()), fstat(executable)) {
        (Ok(there), Ok(frozen)) => (there.st_dev, there.st_ino) == (frozen.st_dev, frozen.st_ino),
        _ => false,
    }
}

fn is_script(executable: &OwnedFd) -> bool {
    let mut start = [0; 2];
    let file = executable.try_clone().map(std::fs::File::from);
    file.is_ok_and(|mut file| file.rewind().is_ok() && file.read_exact(&mut start).is_ok() && start == *b"#!")
}

/// The error as people write it.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}
