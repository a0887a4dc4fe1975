//! A generation's frozen answer to "what runs": taken once, at the moment of the upgrade.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gin_shared::generation::{Generation, WorkerId};
use gin_shared::inherit;
use nix::unistd::{Gid, Uid, User};
use serde::{Deserialize, Serialize};

use super::listeners::Listeners;
use super::program::{Commands, Program};
use crate::config::{Config, WorkerConfig};
use crate::descriptor_name;
use crate::error_text::without_code;
use crate::machine::plan::Plan;
use crate::os::identity::lookup;
use crate::os::limits::inherited_nofile;
use crate::os::listener::Listening;
use crate::os::runtime::generation_file;
use crate::os::spawn::Spec;
use crate::os::succession::Descriptors;
use crate::os_text;

/// What a generation runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Frozen {
    /// Which.
    pub id: Generation,
    /// What was configured.
    pub config: WorkerConfig,
    /// What the file said in the sections that are not the master's.
    #[serde(default)]
    pub others: String,
    /// The name people know it by.
    pub release: Option<String>,
    /// Where it runs: links resolved.
    #[serde(with = "os_text::option")]
    pub directory: Option<PathBuf>,
    /// What clients connect to.
    pub listeners: Listeners,
    /// The worker's program.
    pub program: Program,
    /// The operator's commands.
    pub commands: Commands,
    /// Whose the workers' sockets are, if not the master's: user and group.
    owner: Option<(u32, u32)>,
    #[serde(with = "os_text::pairs")]
    environment: Vec<(OsString, OsString)>,
    snapshot: Option<Snapshot>,
}

/// The configuration as the workers of one generation see it. Goes with the generation.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    #[serde(with = "os_text")]
    path: PathBuf,
    /// Not in a state that is only looked at.
    #[serde(skip)]
    ours: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Frozen {
    /// Resolves and opens what `config` names.
    ///
    /// # Errors
    /// In words for the operator: what, and why not.
    pub fn freeze(id: Generation, config: &Config, listeners: Vec<Listening>, runtime: &Path) -> Result<Self, String> {
        let worker = config.worker.clone();
        let directory = worker.directory.as_deref().map(resolve_directory).transpose()?;
        let environment = environment(config, id, directory.as_deref());
        let argv = match &worker.command {
            Some(command) => command.clone(),
            None => vec![gin_server()?.display().to_string()],
        };
        let find = |argv: &Vec<String>| Program::find(argv, directory.as_deref(), &environment);
        let program = find(&argv)?;
        let command = |argv: &Option<Vec<String>>| argv.as_ref().map(find).transpose();
        let commands = Commands {
            check: command(&worker.check)?,
            warm_up: command(&worker.warm_up)?,
            before_restart: command(&worker.hooks.before_restart)?,
            after_restart: command(&worker.hooks.after_restart)?,
            on_failure: command(&worker.hooks.on_failure)?,
        };
        let (uid, gid) = lookup(worker.user.as_deref(), worker.group.as_deref()).map_err(|error| error.to_string())?;
        let owner = uid.or(gid.map(|_| Uid::effective())).zip(gid).map(|(uid, gid)| (uid.as_raw(), gid.as_raw()));
        let snapshot = config.file.as_ref().map(|file| {
            let extension = file.path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            let path = generation_file(runtime, id, &extension);
            write_snapshot(&path, &file.text, owner).map(|()| Snapshot { path, ours: true })
        });
        let snapshot =
            snapshot.transpose().map_err(|error| format!("configuration snapshot: {}", without_code(&error)))?;
        let release = directory.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            id,
            config: worker,
            others: config.others(),
            release,
            directory,
            listeners: Listeners::Open(listeners),
            program,
            commands,
            owner,
            environment,
            snapshot,
        })
    }

    /// The same once more, as another generation: what it runs is what it ran, whatever lies there now.
    ///
    /// # Errors
    /// In words for the operator: what is gone.
    pub fn again(&self, id: Generation, listeners: Vec<Listening>, runtime: &Path) -> Result<Self, String> {
        if let Some(directory) = self.directory.as_deref().filter(|directory| !directory.is_dir()) {
            return Err(format!("directory {}: it is gone, and a worker runs in it", directory.display()));
        }
        let mut environment = self.environment.clone();
        put(&mut environment, inherit::GIN_GENERATION, id.to_string().into());
        let command = |program: &Option<Program>| program.as_ref().map(Program::again).transpose();
        let snapshot = self.snapshot.as_ref().map(|snapshot| {
            let extension = snapshot.path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            let path = generation_file(runtime, id, &extension);
            let text = std::fs::read_to_string(&snapshot.path)?;
            write_snapshot(&path, &text, self.owner).map(|()| Snapshot { path, ours: true })
        });
        let snapshot =
            snapshot.transpose().map_err(|error| format!("configuration snapshot: {}", without_code(&error)))?;
        Ok(Self {
            id,
            config: self.config.clone(),
            others: self.others.clone(),
            release: self.release.clone(),
            directory: self.directory.clone(),
            listeners: Listeners::Open(listeners),
            program: self.program.again()?,
            commands: Commands {
                check: command(&self.commands.check)?,
                warm_up: command(&self.commands.warm_up)?,
                before_restart: command(&self.commands.before_restart)?,
                after_restart: command(&self.commands.after_restart)?,
                on_failure: command(&self.commands.on_failure)?,
            },
            owner: self.owner,
            environment,
            snapshot,
        })
    }

    /// What to say if the configured directory is another one than this generation's: the next restart runs that.
    #[must_use]
    pub fn points_elsewhere(&self) -> Option<String> {
        let (written, own) = (self.config.directory.as_ref()?, self.directory.as_ref()?);
        (!self.is_where_it_was()).then(|| match written.canonicalize() {
            Ok(now) => format!(
                "{} still points to {}, not to {}: the next restart runs that again",
                written.display(),
                now.display(),
                own.display()
            ),
            Err(_) => format!("{} cannot be resolved: the next restart fails until it can", written.display()),
        })
    }

    /// Takes it over from a master before this one: opens what it runs, and owns its files. Gives whether a worker of it can
    /// be started.
    pub fn resume(&mut self, descriptors: &Descriptors, workers: &[i32]) -> bool {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.ours = true;
        }
        self.commands.each_mut().for_each(|program| program.reopen(descriptors, &[]));
        self.program.reopen(descriptors, workers);
        self.program.executable.is_some()
    }

    /// The open executables, by name.
    pub fn executables(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let Commands { check, warm_up, before_restart, after_restart, on_failure } = &self.commands;
        let commands = [check, warm_up, before_restart, after_restart, on_failure].into_iter().flatten();
        let programs = std::iter::once(&self.program).chain(commands);
        programs.filter_map(|program| {
            Some((descriptor_name::executable(program.identity), program.executable.as_ref()?.as_fd()))
        })
    }

    /// Whose the workers' sockets are, if not the master's.
    #[must_use]
    pub fn owner(&self) -> Option<(Uid, Gid)> {
        self.owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    /// Whether its directory still resolves to the same one: a new release is none of a reload's small changes.
    #[must_use]
    pub fn is_where_it_was(&self) -> bool {
        self.config.directory.as_ref().and_then(|directory| directory.canonicalize().ok()) == self.directory
    }

    /// What the machine needs to know of it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let config = &self.config;
        Plan {
            release: self.release.clone(),
            workers: config.workers,
            ready: config.ready.clone(),
            ready_timeout: config.ready_timeout,
            warms_up: config.warm_up.is_some(),
            probes: config.probe.is_some(),
            rolling: config.rolling,
            soak: config.soak,
            drain_timeout: config.drain_timeout,
            channel: config.channel,
            watchdog: config.watchdog,
            max_age: config.limits.max_age,
        }
    }

    /// What the helper of one of its workers is to become.
    #[must_use]
    pub fn spec(&self, id: WorkerId, notify: &Path) -> Spec {
        let listeners = self.listeners.open();
        let mut names: Vec<&str> = listeners.iter().map(|listening| listening.spec.name.as_str()).collect();
        names.extend(self.config.private_listener.then_some(inherit::PRIVATE));
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: OsString| put(&mut environment, name, value);
        set(inherit::GIN_ATTEMPT, id.attempt.to_string().into());
        set(inherit::GIN_SLOT, id.slot.to_string().into());
        set(inherit::NOTIFY_SOCKET, notify.into());
        if let Some(snapshot) = &self.snapshot {
            set(inherit::GIN_CONFIG, snapshot.path.clone().into());
        }
        // The worker's LISTEN_PID, which our channel needs too, is set where its PID is known; so is WATCHDOG_PID.
        let passes_descriptors = !names.is_empty() || self.config.channel;
        if passes_descriptors {
            set(inherit::LISTEN_FDS, names.len().to_string().into());
            set(inherit::LISTEN_FDNAMES, names.join(":").into());
        }
        if self.config.channel {
            let number = inherit::FIRST_FD as usize + names.len();
            set(inherit::GIN_CHANNEL_FD, number.to_string().into());
            set(inherit::GIN_SHARED_MEMORY_FD, (number + 1).to_string().into());
        }
        if let Some(patience) = self.config.watchdog {
            set(inherit::WATCHDOG_USEC, patience.as_micros().to_string().into());
        }
        Spec {
            argv: self.program.argv.clone(),
            program: self.program.path.clone(),
            environment,
            passes_descriptors,
            watched: self.config.watchdog.is_some(),
            ..self.base_spec()
        }
    }

    /// The same for a command of the operator's, which inherits no descriptor but knows `more`.
    #[must_use]
    pub fn command_spec(&self, program: &Program, more: Vec<(&str, String)>) -> Spec {
        let mut environment = self.environment.clone();
        more.into_iter().for_each(|(name, value)| put(&mut environment, name, value.into()));
        Spec { argv: program.argv.clone(), program: program.path.clone(), environment, ..self.base_spec() }
    }

    fn base_spec(&self) -> Spec {
        Spec {
            argv: Vec::new(),
            program: PathBuf::new(),
            directory: self.directory.clone(),
            environment: Vec::new(),
            passes_descriptors: false,
            watched: false,
            user: self.config.user.clone(),
            group: self.config.group.clone(),
            umask: self.config.umask,
            nice: self.config.nice,
            nproc: self.config.limits.nproc,
            core: self.config.limits.core,
            cores: self.config.cores.clone(),
            oom_score_adjust: self.config.oom_score_adjust,
            capabilities: self.config.capabilities,
            nofile: self.config.limits.nofile.map_or((inherited_nofile(), false), |nofile| (nofile, true)),
            dies_with_master: self.config.dies_with_master,
            master: i32::try_from(std::process::id()).unwrap_or_default(),
        }
    }
}

/// The master's own environment, what the configuration adds, and who the worker is.
fn environment(config: &Config, id: Generation, directory: Option<&Path>) -> Vec<(OsString, OsString)> {
    let added: Vec<(OsString, OsString)> =
        config.worker.env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    let of_user = user_environment(config.worker.user.as_deref());
    let stripped = |key: &OsString| inherit::STRIPPED.iter().any(|name| key == name);
    let inherited = std::env::vars_os().filter(|(key, _)| !stripped(key));
    // The later one counts.
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    for (key, value) in inherited.chain(of_user).chain(added) {
        put(&mut environment, key, value);
    }
    let mut set = |name: &str, value: OsString| put(&mut environment, name, value);
    set(inherit::GIN_INSTANCE, config.instance.clone().into());
    set(inherit::GIN_GENERATION, id.to_string().into());
    if let Some(release) = directory.and_then(Path::file_name) {
        set(inherit::GIN_RELEASE, release.to_owned());
    }
    environment
}

/// Sets a variable, once: of two, programs disagree which counts.
fn put(environment: &mut Vec<(OsString, OsString)>, name: impl Into<OsString>, value: OsString) {
    let name = name.into();
    environment.retain(|(other, _)| *other != name);
    environment.push((name, value));
}

/// As systemd sets it for `User=`.
fn user_environment(user: Option<&str>) -> Vec<(OsString, OsString)> {
    let Some(entry) = user.and_then(|name| User::from_name(name).ok().flatten()) else { return Vec::new() };
    let name = OsString::from(entry.name);
    vec![("HOME".into(), entry.dir.into()), ("USER".into(), name.clone()), ("LOGNAME".into(), name)]
}

fn resolve_directory(directory: &Path) -> Result<PathBuf, String> {
    let name = || format!("directory {}", directory.display());
    let resolved = directory.canonicalize().map_err(|error| format!("{}: {}", name(), without_code(&error)))?;
    if resolved.is_dir() { Ok(resolved) } else { Err(format!("{}: not a directory", name())) }
}

/// Asks gin-server, if that is what runs, whether it takes its part of the configuration.
///
/// # Errors
/// What it said.
pub fn check_worker(config: &Config) -> Result<(), String> {
    let (None, Some(file)) = (&config.worker.command, &config.file) else { return Ok(()) };
    let program = gin_server()?;
    let output = std::process::Command::new(&program).arg("-t").arg("-c").arg(&file.path).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("error: {}: {}", program.display(), without_code(&error))),
    }
}

/// The ready-made worker beside this program.
fn gin_server() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("gin-server: {}", without_code(&error)))?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let program = directory.join("gin-server");
    if program.as_os_str().as_bytes().is_empty() || !program.exists() {
        return Err(format!("there is no gin-server in {}; give a command", directory.display()));
    }
    Ok(program)
}

fn write_snapshot(path: &Path, text: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    let _ = std::fs::remove_file(path);
    crate::os::fault::at("snapshot.write")?;
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o400).open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some((uid, gid)) = owner {
        nix::unistd::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}
