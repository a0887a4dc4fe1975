//! A frozen generation: the answer to "what runs", found once, at the moment of the upgrade.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use gin_shared::generation::{Generation, WorkerId};
use gin_shared::{announcement, inherit};
use nix::unistd::{Gid, Uid};

use super::environment::{self, Environment};
use super::freeze_error::FreezeError;
use super::listeners::Listeners;
use super::program::Program;
use super::snapshot_file::SnapshotFile;
use super::worker_program;
use crate::config::{Config, OnMasterDeath, WorkerConfig};
use crate::machine::plan::Plan;
use crate::os::identity::lookup;
use crate::os::limits::inherited_nofile;
use crate::os::listener::Listening;
use crate::os::sandbox::Sandbox;
use crate::os::spawn::Spec;
use crate::os::succession::Descriptors;
use crate::state::{Commands, GenerationRecord};
use crate::watched::Stamp;

/// Finds everything that a generation of `config` would run, and keeps nothing: for a check.
///
/// # Errors
/// See [`FreezeError`].
pub fn check(config: &Config) -> Result<(), FreezeError> {
    Resolved::find(Generation(1), config).map(drop)
}

/// The directory and programs of a configuration, as they lie there now.
struct Resolved {
    directory: Option<PathBuf>,
    environment: Environment,
    program: Program,
    commands: Commands<Program>,
}

impl Resolved {
    fn find(id: Generation, config: &Config) -> Result<Self, FreezeError> {
        let worker = &config.worker;
        let directory = worker.directory.as_deref().map(resolve_directory).transpose()?;
        let environment = environment::of_generation(config, id, directory.as_deref());
        let argv = match &worker.command {
            Some(command) => command.clone(),
            None => vec![worker_program::find()?.display().to_string()],
        };
        let find = |argv: &Vec<String>| Program::find(argv, directory.as_deref(), &environment);
        let program = find(&argv).map_err(FreezeError::Command)?;
        let hooks = &worker.hooks;
        let commands = Commands {
            check: worker.check.as_ref(),
            warm_up: worker.warm_up.as_ref(),
            before_restart: hooks.before_restart.as_ref(),
            after_restart: hooks.after_restart.as_ref(),
            on_failure: hooks.on_failure.as_ref(),
        };
        let commands = commands.try_map(|argv| find(argv))?;
        Ok(Self { directory, environment, program, commands })
    }
}

/// A generation as its workers are started.
#[derive(Debug)]
pub struct Frozen {
    /// The generation.
    pub id: Generation,
    /// Its configuration.
    pub config: WorkerConfig,
    /// The text of the sections that are not the master's.
    pub others: String,
    /// The name of its release.
    pub release: Option<String>,
    /// The directory where it runs, links resolved.
    pub directory: Option<PathBuf>,
    /// Its listeners.
    pub listeners: Listeners,
    /// The worker's program.
    pub program: Program,
    /// The operator's commands.
    pub commands: Commands<Program>,
    /// User and group of the workers' sockets, if they are not the master's.
    owner: Option<(u32, u32)>,
    environment: Environment,
    snapshot: Option<SnapshotFile>,
}

// Making one.
impl Frozen {
    /// Resolves and opens what `config` names.
    ///
    /// # Errors
    /// See [`FreezeError`].
    pub fn freeze(
        id: Generation,
        config: &Config,
        listeners: Vec<Listening>,
        runtime: &Path,
    ) -> Result<Self, FreezeError> {
        let worker = config.worker.clone();
        let Resolved { directory, environment, program, commands } = Resolved::find(id, config)?;
        let (uid, gid) = lookup(worker.user.as_deref(), worker.group.as_deref())?;
        let owner = uid.or(gid.map(|_| Uid::effective())).zip(gid).map(|(uid, gid)| (uid.as_raw(), gid.as_raw()));
        let write = |file: &crate::config::ConfigFile| SnapshotFile::write(runtime, id, &file.path, &file.text, owner);
        let snapshot = config.file.as_ref().map(write).transpose().map_err(FreezeError::Snapshot)?;
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

    /// Freezes the same once more, as another generation: it runs what this one ran, whatever lies there now.
    ///
    /// # Errors
    /// See [`FreezeError`]: what is gone.
    pub fn again(&self, id: Generation, listeners: Vec<Listening>, runtime: &Path) -> Result<Self, FreezeError> {
        if let Some(directory) = self.directory.as_deref().filter(|directory| !directory.is_dir()) {
            return Err(FreezeError::DirectoryGone(directory.to_owned()));
        }
        let mut environment = self.environment.clone();
        environment::set(&mut environment, inherit::GIN_GENERATION, id.to_string().into());
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.again(runtime, id, self.owner));
        Ok(Self {
            id,
            config: self.config.clone(),
            others: self.others.clone(),
            release: self.release.clone(),
            directory: self.directory.clone(),
            listeners: Listeners::Open(listeners),
            program: self.program.again()?,
            commands: self.commands.try_map(Program::again)?,
            owner: self.owner,
            environment,
            snapshot: snapshot.transpose().map_err(FreezeError::Snapshot)?,
        })
    }

    /// The generation that a state file describes, with nothing opened: see [`Self::resume`].
    #[must_use]
    pub fn restore(record: GenerationRecord<'static>) -> Self {
        let never = |record: &_| Ok::<_, std::convert::Infallible>(Program::restore(Clone::clone(record)));
        let Ok(commands) = record.commands.try_map(never);
        Self {
            id: record.id,
            config: record.config.into_owned(),
            others: record.others.into_owned(),
            release: record.release,
            directory: record.directory,
            listeners: Listeners::Closed(record.listeners),
            program: Program::restore(record.program),
            commands,
            owner: record.owner,
            environment: record.environment.into_owned(),
            snapshot: record.snapshot.map(SnapshotFile::restore),
        }
    }

    /// Takes the generation over from a master before this one: opens its programs, and owns its files. Gives whether a
    /// worker of it can be started. `workers` are the PIDs of its workers.
    pub fn resume(&mut self, descriptors: &Descriptors, workers: &[i32]) -> bool {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.own();
        }
        self.commands.iter_mut().for_each(|program| program.reopen(descriptors, &[]));
        self.program.reopen(descriptors, workers);
        self.program.is_open()
    }
}

// Getters.
impl Frozen {
    /// The generation as the state file describes it.
    #[must_use]
    pub fn record(&self) -> GenerationRecord<'_> {
        let clone = |program: &Program| Ok::<_, std::convert::Infallible>(program.record().clone());
        let Ok(commands) = self.commands.try_map(clone);
        GenerationRecord {
            id: self.id,
            config: Cow::Borrowed(&self.config),
            others: Cow::Borrowed(&self.others),
            release: self.release.clone(),
            directory: self.directory.clone(),
            listeners: self.listeners.records(),
            program: self.program.record().clone(),
            commands,
            owner: self.owner,
            environment: Cow::Borrowed(&self.environment),
            snapshot: self.snapshot.as_ref().map(SnapshotFile::record),
        }
    }

    /// The open executables, by name.
    pub fn executables(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        std::iter::once(&self.program).chain(self.commands.iter()).filter_map(Program::descriptor)
    }

    /// User and group of the workers' sockets, if they are not the master's.
    #[must_use]
    pub fn owner(&self) -> Option<(Uid, Gid)> {
        self.owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    /// True if its directory still resolves to the same one: a new release is none of a reload's small changes.
    #[must_use]
    pub fn is_where_it_was(&self) -> bool {
        self.config.directory.as_ref().and_then(|directory| directory.canonicalize().ok()) == self.directory
    }

    /// The path where the next restart would look for the worker's program: through links, where the configuration's leads through some.
    #[must_use]
    pub fn program_path(&self) -> PathBuf {
        let written = self.config.command.as_ref().and_then(|command| command.first());
        let found = || self.program.record().path.clone();
        match (written.filter(|written| written.contains('/')), &self.config.directory) {
            (Some(written), Some(directory)) => directory.join(written),
            (Some(written), None) => std::path::absolute(written).unwrap_or_else(|_| found()),
            (None, _) => found(),
        }
    }

    /// The stamp of the program that its workers run; `None` if an earlier master has not noted it.
    #[must_use]
    pub fn program_stamp(&self) -> Option<Stamp> {
        let record = self.program.record();
        record.stamp.map(|change| Stamp { identity: record.identity, change })
    }

    /// A warning, if the configured directory is another one than this generation's: the next restart runs that.
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

    /// The part of its configuration that decides its course.
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
            strategy: config.strategy,
            soak: config.soak,
            drain_timeout: config.drain_timeout,
            channel: config.channel,
            watchdog: config.watchdog,
            max_age: config.limits.max_age,
        }
    }
}

// Orders for the exec helper.
impl Frozen {
    /// The orders for the helper that becomes one of its workers. `notify` is the path of the worker's notify socket.
    #[must_use]
    pub fn worker_spec(&self, id: WorkerId, notify: &Path) -> Spec {
        let listeners = self.listeners.open();
        let mut names: Vec<&str> = listeners.iter().map(|listening| listening.spec.name.as_str()).collect();
        names.extend(self.config.private_listener.then_some(inherit::PRIVATE));
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: OsString| environment::set(&mut environment, name, value);
        set(inherit::GIN_ATTEMPT, id.attempt.to_string().into());
        set(inherit::GIN_SLOT, id.slot.to_string().into());
        set(inherit::NOTIFY_SOCKET, notify.into());
        if let Some(snapshot) = &self.snapshot {
            set(inherit::GIN_CONFIG, snapshot.path().into());
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
            set(inherit::GIN_METRICS_FD, (number + 2).to_string().into());
        }
        if self.config.offered.is_some() {
            set(inherit::GIN_ANNOUNCE, announcement::VERSION.to_string().into());
        }
        if let Some(patience) = self.config.watchdog {
            set(inherit::WATCHDOG_USEC, patience.as_micros().to_string().into());
        }
        let watched = self.config.watchdog.is_some();
        Spec {
            passes_descriptors,
            watched,
            sandbox: self.sandbox(self.directory.as_deref()),
            ..self.spec(&self.program, environment)
        }
    }

    /// The sandbox of a worker that runs in `directory`. If its files are restricted, it may read that and its configuration, too.
    fn sandbox(&self, directory: Option<&Path>) -> Sandbox {
        let mut sandbox = self.config.sandbox.clone();
        if let Some(files) = &mut sandbox.files {
            files.read.extend(directory.map(Path::to_owned));
            files.read.extend(self.snapshot.as_ref().map(|snapshot| snapshot.path().to_owned()));
        }
        sandbox
    }

    /// The orders for the helper that becomes one of the operator's commands. A command inherits no descriptor; it knows
    /// `more` beside the workers' environment. It is not contained: a hook may have to send mail or use sudo.
    #[must_use]
    pub fn command_spec(&self, program: &Program, more: Vec<(&str, String)>) -> Spec {
        let mut environment = self.environment.clone();
        more.into_iter().for_each(|(name, value)| environment::set(&mut environment, name, value.into()));
        self.spec(program, environment)
    }

    /// The workers' program as it lies at its path now, and the orders for a helper that becomes it once, beside the workers: to migrate
    /// their database. It has the workers' user, environment, configuration and sandbox, and no descriptor.
    ///
    /// # Errors
    /// See [`FreezeError`].
    pub fn program_anew(&self, more: Vec<(&str, String)>) -> Result<(Program, Spec), FreezeError> {
        let directory = self.config.directory.as_deref().map(resolve_directory).transpose()?;
        let argv = match &self.config.command {
            Some(command) => command.clone(),
            None => vec![worker_program::find()?.display().to_string()],
        };
        let program = Program::find(&argv, directory.as_deref(), &self.environment).map_err(FreezeError::Command)?;
        let mut environment = self.environment.clone();
        if let Some(snapshot) = &self.snapshot {
            environment::set(&mut environment, inherit::GIN_CONFIG, snapshot.path().into());
        }
        more.into_iter().for_each(|(name, value)| environment::set(&mut environment, name, value.into()));
        let sandbox = self.sandbox(directory.as_deref());
        let spec = Spec { directory, sandbox, ..self.spec(&program, environment) };
        Ok((program, spec))
    }

    fn spec(&self, program: &Program, environment: Environment) -> Spec {
        let program = program.record();
        Spec {
            argv: program.argv.clone(),
            program: program.path.clone(),
            directory: self.directory.clone(),
            environment,
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
            sandbox: Sandbox::default(),
            nofile: self.config.limits.nofile.map_or((inherited_nofile(), false), |nofile| (nofile, true)),
            dies_with_master: self.config.on_master_death == OnMasterDeath::Exit,
            master: i32::try_from(std::process::id()).unwrap_or_default(),
        }
    }
}

fn resolve_directory(directory: &Path) -> Result<PathBuf, FreezeError> {
    let failed = |error| FreezeError::Directory { path: directory.to_owned(), error };
    let resolved = directory.canonicalize().map_err(failed)?;
    if resolved.is_dir() { Ok(resolved) } else { Err(failed(io::Error::other("not a directory"))) }
}
