//! A frozen generation: the answer to "what runs", found once, at the moment of the upgrade.

mod orders;

use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gin_shared::generation::Generation;
use gin_shared::inherit;
use nix::unistd::{Gid, Uid};

use super::environment::{self, Environment};
use super::freeze_error::FreezeError;
use super::listeners::Listeners;
use super::program::Program;
use super::snapshot_file::SnapshotFile;
use super::worker_program;
use crate::certificates;
use crate::config::{Config, WorkerConfig};
use crate::machine::plan::Plan;
use crate::os::identity::lookup;
use crate::os::listener::Listening;
use crate::os::succession::Descriptors;
use crate::state::{Commands, GenerationRecord};
use crate::watched::Stamp;

/// Finds everything that a generation of `config` would run, and keeps nothing: for a check.
///
/// # Errors
/// See [`FreezeError`].
pub fn check(config: &Config) -> Result<(), FreezeError> {
    Resolved::find(Generation(1), config)?;
    certificates::check(&config.worker.tls, SystemTime::now())?;
    Ok(())
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

fn resolve_directory(directory: &Path) -> Result<PathBuf, FreezeError> {
    let failed = |error| FreezeError::Directory { path: directory.to_owned(), error };
    let resolved = directory.canonicalize().map_err(failed)?;
    if resolved.is_dir() { Ok(resolved) } else { Err(failed(io::Error::other("not a directory"))) }
}
