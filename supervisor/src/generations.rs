//! The generations: what each runs, the configuration in force, and the sockets that clients connect to.
//!
//! A generation is frozen once, from the configuration as it is then ([`Frozen`]). Its sockets are shared with other
//! generations that have the same address; a socket closes when the last generation that has it is gone.

mod certificates;
pub mod environment;
pub mod freeze_error;
pub mod frozen;
pub mod listeners;
pub mod program;
pub mod snapshot_file;
pub mod worker_program;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use gin_shared::config::Problem;
use gin_shared::generation::Generation;

use crate::cli::Cli;
use crate::config::{Config, Fixed, Live};
use crate::machine::Machine;
use crate::machine::failure::Failure;
use crate::machine::plan::Plan;
use crate::os::listener::{Existing, ListenError, Listener, ListenerSpec, Listening, gather};
use crate::os::socket_file::BoundFile;
use crate::os::succession::Descriptors;
use crate::socket_record::SocketRecord;
use crate::state::GenerationRecord;
use freeze_error::FreezeError;
use frozen::Frozen;

/// All generations that have workers or can be brought back.
#[derive(Debug)]
pub struct Generations {
    frozen: HashMap<Generation, Frozen>,
    /// The configurations of generations that do not serve yet.
    candidates: HashMap<Generation, Config>,
    /// The sockets that any generation has.
    sockets: Vec<Weak<Listener>>,
    /// The sockets that were opened at the start, until the first generation has them.
    opened: Vec<Rc<Listener>>,
    /// The files of sockets that were closed before the end: workers may accept there still.
    left: Vec<BoundFile>,
    /// The configuration in force.
    config: Config,
    /// The keys that count from a new start alone, as the configuration named them last.
    fixed_on_disk: Fixed,
    /// The command line, to read the configuration anew.
    cli: Cli,
    /// The listeners that a service manager passed, if the configuration names none.
    passed: Option<Vec<ListenerSpec>>,
    runtime: PathBuf,
}

/// A generation that was frozen: its plan, and a warning for its operator.
pub type Refrozen = (Plan, Option<String>);

impl Generations {
    /// No generation yet. `opened` are the sockets for the first one.
    #[must_use]
    pub fn new(
        cli: Cli,
        config: Config,
        opened: Vec<Rc<Listener>>,
        passed: Option<Vec<ListenerSpec>>,
        runtime: PathBuf,
    ) -> Self {
        Self {
            frozen: HashMap::new(),
            candidates: HashMap::new(),
            sockets: Vec::new(),
            opened,
            left: Vec::new(),
            fixed_on_disk: config.fixed.clone(),
            config,
            cli,
            passed,
            runtime,
        }
    }
}

// Getters.
impl Generations {
    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The keys that a reload changes in place.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.config.live
    }

    /// The listeners that a service manager passed, if the configuration names none.
    #[must_use]
    pub fn passed(&self) -> Option<&[ListenerSpec]> {
        self.passed.as_deref()
    }

    /// The paths that are watched beside the program (`--watch`); `None` if nothing is.
    #[must_use]
    pub fn watched_paths(&self) -> Option<&[PathBuf]> {
        self.cli.watch.as_deref()
    }

    /// A generation.
    #[must_use]
    pub fn get(&self, generation: Generation) -> Option<&Frozen> {
        self.frozen.get(&generation)
    }

    /// The generation that serves.
    #[must_use]
    pub fn current(&self, machine: &Machine) -> Option<&Frozen> {
        machine.current().and_then(|run| self.frozen.get(&run.id))
    }

    /// The numbers of all generations.
    pub fn ids(&self) -> impl Iterator<Item = Generation> {
        self.frozen.keys().copied()
    }

    /// The configuration of a generation that does not serve yet.
    #[must_use]
    pub fn candidate_config(&self, generation: Generation) -> Option<&Config> {
        self.candidates.get(&generation)
    }

    /// The most memory that a worker of the current generation may hold, in bytes; `None` without a limit.
    #[must_use]
    pub fn memory_limit(&self, machine: &Machine) -> Option<u64> {
        self.current(machine)?.config.limits.memory_restart
    }

    /// True if `features.hot_restart` allows a restart: of the current generation, or of the file as it is now.
    #[must_use]
    pub fn allow_restart(&self, machine: &Machine) -> bool {
        let allowed = self.current(machine).is_none_or(|frozen| frozen.config.hot_restart);
        allowed || self.load().is_ok_and(|config| config.worker.hot_restart)
    }

    /// True if the current generation runs just what `config` says: its own settings, the listeners, and every section
    /// that the workers read.
    #[must_use]
    pub fn in_force(&self, machine: &Machine, config: &Config) -> bool {
        self.current(machine).is_some_and(|frozen| {
            frozen.config == config.worker
                && frozen.listeners.specs() == config.listeners
                && frozen.others == config.others()
                && frozen.is_where_it_was()
        })
    }

    /// True if `config` says the same as the configuration in force, of the keys that need no new generation.
    #[must_use]
    pub fn is_same_master(&self, config: &Config) -> bool {
        config.live == self.config.live && config.fixed == self.fixed_on_disk
    }

    /// The generations as the state file describes them.
    #[must_use]
    pub fn records(&self) -> Vec<GenerationRecord<'_>> {
        let mut records: Vec<_> = self.frozen.values().map(Frozen::record).collect();
        records.sort_by_key(|record| record.id);
        records
    }

    /// The open sockets, each once.
    #[must_use]
    pub fn sockets(&self) -> Vec<(SocketRecord, BorrowedFd<'_>)> {
        let mut sockets: Vec<(SocketRecord, BorrowedFd<'_>)> = Vec::new();
        for listening in self.frozen.values().flat_map(|frozen| frozen.listeners.open()) {
            let record = listening.socket.record();
            if !sockets.iter().any(|(other, _)| other.inode == record.inode) {
                sockets.push((record, listening.socket.as_fd()));
            }
        }
        sockets
    }

    /// The sockets that were closed on a stop, each once: workers may have them still.
    #[must_use]
    pub fn left_sockets(&self) -> Vec<SocketRecord> {
        let mut sockets: Vec<SocketRecord> = Vec::new();
        for (_, record) in self.frozen.values().flat_map(|frozen| frozen.listeners.left()) {
            if !sockets.iter().any(|other| other.inode == record.inode) {
                sockets.push(record.clone());
            }
        }
        sockets
    }

    /// The open executables, by name.
    pub fn executables(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        self.frozen.values().flat_map(Frozen::executables)
    }
}

// From the configuration to a generation.
impl Generations {
    /// Reads the configuration as it is now.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self) -> Result<Config, Vec<Problem>> {
        let mut config = Config::load(&self.cli)?;
        if let (Some(passed), false) = (&self.passed, config.listeners_asked_for) {
            let nonblocking = config.listeners.first().map(|spec| spec.nonblocking);
            config.listeners.clone_from(passed);
            config.listeners.iter_mut().for_each(|spec| spec.nonblocking = nonblocking.unwrap_or(spec.nonblocking));
        }
        Ok(config)
    }

    /// Freezes the first generation, from the configuration that the master was started with.
    ///
    /// # Errors
    /// The failure, for the machine.
    pub fn freeze_first(&mut self, generation: Generation) -> Result<Plan, Failure> {
        let config = self.config.clone();
        self.freeze_as(generation, config)
    }

    /// Freezes a generation from the configuration as it is now.
    ///
    /// # Errors
    /// The failure, for the machine.
    pub fn freeze(&mut self, generation: Generation) -> Result<Plan, Failure> {
        let config = self.load().map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::Config(lines.join("\n"))
        })?;
        self.freeze_as(generation, config)
    }

    fn freeze_as(&mut self, generation: Generation, config: Config) -> Result<Plan, Failure> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let listeners = self.gather(&config.listeners).map_err(|error| Failure::Prepare(error.to_string()))?;
        let frozen = Frozen::freeze(generation, &config, listeners, &self.runtime);
        let frozen = frozen.map_err(|error| Failure::Prepare(error.to_string()))?;
        let plan = frozen.plan();
        self.frozen.insert(generation, frozen);
        self.candidates.insert(generation, config);
        Ok(plan)
    }

    /// Freezes a generation as another one was frozen.
    ///
    /// # Errors
    /// The failure, for the machine.
    pub fn freeze_again(&mut self, generation: Generation, from: Generation) -> Result<Refrozen, Failure> {
        let again = self.refreeze(generation, from).map_err(|error| Failure::Prepare(error.to_string()))?;
        let warning = again.points_elsewhere();
        let plan = again.plan();
        self.frozen.insert(generation, again);
        Ok((plan, warning))
    }

    fn refreeze(&mut self, generation: Generation, from: Generation) -> Result<Frozen, FreezeError> {
        let specs = self.frozen.get(&from).ok_or(FreezeError::Forgotten(from))?.listeners.specs();
        let listeners = self.gather(&specs)?;
        let frozen = self.frozen.get(&from).ok_or(FreezeError::Forgotten(from))?;
        frozen.again(generation, listeners, &self.runtime)
    }

    /// Gathers the sockets of a configuration: those that are open, and new ones for new listeners.
    fn gather(&mut self, specs: &[ListenerSpec]) -> Result<Vec<Listening>, ListenError> {
        let opened = std::mem::take(&mut self.opened);
        self.sockets.extend(opened.iter().map(Rc::downgrade));
        self.sockets.retain(|socket| socket.strong_count() > 0);
        let all: Vec<&Listening> = self.frozen.values().flat_map(|frozen| frozen.listeners.open()).collect();
        let names = |socket: &Rc<Listener>| {
            let with = all.iter().filter(|listening| Rc::ptr_eq(&listening.socket, socket));
            with.map(|listening| listening.spec.name.clone()).collect()
        };
        let upgraded = self.sockets.iter().filter_map(Weak::upgrade);
        let existing: Vec<Existing> = upgraded.map(|socket| Existing { names: names(&socket), socket }).collect();
        let listeners = gather(specs, &existing)?;
        for listening in &listeners {
            if !existing.iter().any(|there| Rc::ptr_eq(&there.socket, &listening.socket)) {
                self.sockets.push(Rc::downgrade(&listening.socket));
                tracing::info!(name = listening.spec.name, "listening on {}", listening.socket.address);
            }
        }
        Ok(listeners)
    }
}

// The course of a generation.
impl Generations {
    /// Puts a configuration into force, and names the keys that need a new start.
    pub fn apply(&mut self, mut config: Config) {
        let fixed = self.changed_fixed(&config);
        if !fixed.is_empty() {
            tracing::warn!("changed, but counts only from a new start of the supervisor: {}", fixed.join(", "));
        }
        self.fixed_on_disk = config.fixed.clone();
        config.fixed = self.config.fixed.clone();
        self.config = config;
    }

    /// The keys of `config` that count only from a new start of the master, and differ.
    #[must_use]
    pub fn changed_fixed(&self, config: &Config) -> Vec<&'static str> {
        self.config.fixed.changed(&config.fixed)
    }

    /// Puts a generation's configuration into force, because the generation serves now: settings, and sockets' modes.
    pub fn take_effect(&mut self, generation: Generation) {
        if let Some(config) = self.candidates.remove(&generation) {
            self.apply(config);
        }
        let Some(frozen) = self.frozen.get(&generation) else { return };
        for listening in frozen.listeners.open() {
            if let Err(error) = listening.socket.apply(&listening.spec) {
                tracing::error!(name = listening.spec.name, "listener: mode, owner or backlog: {error}");
            }
        }
    }

    /// Closes the sockets of a generation that has no worker left, but may be brought back.
    pub fn close(&mut self, generation: Generation) {
        if let Some(frozen) = self.frozen.get_mut(&generation) {
            frozen.listeners.close();
        }
    }

    /// Closes all listeners that were bound here, because nobody is to serve any more.
    pub fn close_own_listeners(&mut self) {
        let (passed, mut own): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.opened).into_iter().partition(|socket| socket.is_passed());
        self.opened = passed;
        own.extend(self.frozen.values_mut().flat_map(|frozen| frozen.listeners.take_own()));
        // Generations share sockets: the last one of each takes the file along.
        let files = own.into_iter().filter_map(Rc::into_inner).filter_map(Listener::into_file);
        self.left.extend(files);
    }

    /// Drops a generation.
    pub fn forget(&mut self, generation: Generation) {
        self.frozen.remove(&generation);
        self.candidates.remove(&generation);
    }

    /// Opens listeners again that a worker has shut down, for all that share them.
    pub fn reopen_listeners(&self) {
        self.sockets.iter().filter_map(Weak::upgrade).for_each(|socket| socket.reopen());
    }
}

// After a master before this one.
impl Generations {
    /// Restores the generations of a state file. `running` have workers, `sockets` are open, by inode; `pids` gives the
    /// workers of a generation that live. Gives the generations of which a worker can be started, or lives.
    pub fn restore(
        &mut self,
        records: Vec<GenerationRecord<'static>>,
        sockets: &HashMap<u64, Rc<Listener>>,
        descriptors: &Descriptors,
        running: &[Generation],
        pids: impl Fn(Generation) -> Vec<i32>,
    ) -> Vec<Generation> {
        self.sockets = sockets.values().map(Rc::downgrade).collect();
        let mut kept = Vec::new();
        for mut frozen in records.into_iter().map(Frozen::restore) {
            let pids = pids(frozen.id);
            let can_start = frozen.resume(descriptors, &pids);
            if running.contains(&frozen.id) {
                frozen.listeners.reopen(sockets);
            }
            if can_start || !pids.is_empty() {
                kept.push(frozen.id);
            }
            self.frozen.insert(frozen.id, frozen);
        }
        kept
    }

    /// Drops the generations for which `is_known` does not hold.
    pub fn retain(&mut self, is_known: impl Fn(Generation) -> bool) {
        self.frozen.retain(|generation, _| is_known(*generation));
    }
}
