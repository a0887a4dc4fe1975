//! The store: writes down, ahead of every step, what a successor will need.
//!
//! The state is saved after the machine has decided and before anything is done. So a master that dies has left a state
//! that is true, or that says more than was done. Repeating an action is harmless: `drain` is sent once a worker and master,
//! and a kill twice is a kill.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use gin_shared::generation::Generation;
use gin_shared::process::ProcessId;
use gin_shared::state::boot_id;

use crate::config::Config;
use crate::descriptor_name;
use crate::inbox::operations::Operations;
use crate::instance_files::InstanceFiles;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::snapshot;
use crate::moment::Moment;
use crate::os::state_file::StateFile;
use crate::os::{core_filter, limits};
use crate::samples::{Meter, MeterRecord};
use crate::state::{Paths, State};
use crate::view::View;

/// Descriptors by name.
pub type Named<'a> = Vec<(String, BorrowedFd<'a>)>;

/// The state file, and what of the state is nobody else's.
#[derive(Debug)]
pub struct Store {
    file: StateFile,
    /// The locks, the PID file and the control sockets.
    files: InstanceFiles,
    paths: Paths,
    /// The master's own process.
    master: ProcessId,
    /// The moment when the master was started.
    started: Moment,
    /// The moment when the instance's first master was started, if that is known.
    first_started: Option<Moment>,
    /// The memory of the metrics.
    meter: Arc<Meter>,
}

impl Store {
    /// A store that writes to `file`.
    #[must_use]
    pub fn new(file: StateFile, files: InstanceFiles, paths: Paths, started: Moment) -> Self {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let master = ProcessId::of(own).unwrap_or(ProcessId { pid: own, started: 0 });
        Self { file, files, paths, master, started, first_started: Some(started), meter: Arc::default() }
    }

    /// Goes on with what a master before this one has told: the start of the instance, and its metrics.
    pub fn resume(&mut self, first_started: Option<Moment>, meter: MeterRecord) {
        self.first_started = first_started;
        self.meter = Arc::new(Meter::resume(meter));
    }

    /// The moment when the instance's first master was started, if that is known.
    #[must_use]
    pub fn first_started(&self) -> Option<Moment> {
        self.first_started
    }

    /// The memory of the metrics.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Saves the state. If it cannot be written, that is logged, and what was written before stands.
    pub fn save(&mut self, view: View<'_>, operations: &Operations) {
        match self.bytes(view, operations, BTreeMap::new()) {
            Ok(bytes) => self.file.save(bytes),
            Err(error) => tracing::error!("the state cannot be written: {error}"),
        }
    }

    /// The whole state. `descriptors` are the numbers of those that an execve leaves open.
    ///
    /// # Errors
    /// None is known; see [`snapshot::write`].
    pub fn bytes(
        &self,
        view: View<'_>,
        operations: &Operations,
        descriptors: BTreeMap<String, RawFd>,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let View { machine, workers, generations, certificates } = view;
        let config = generations.config();
        let drain_timeout = |generation: Generation| {
            generations.get(generation).map_or(Duration::ZERO, |frozen| frozen.config.drain_timeout)
        };
        let open = generations.sockets().into_iter().map(|(record, _)| record);
        let state = State {
            instance: Cow::Borrowed(&config.instance),
            version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
            master: self.master,
            started: Some(self.started),
            first_started: self.first_started,
            nofile: Some(limits::inherited_nofile()),
            core_filter: core_filter::inherited(),
            paths: Cow::Borrowed(&self.paths),
            config: config.file.as_ref().map(Cow::Borrowed),
            passed: generations.passed().map(Cow::Borrowed),
            machine: Cow::Borrowed(machine),
            operations: operations.record(),
            generations: generations.records(),
            sockets: open.chain(generations.left_sockets()).collect(),
            workers: workers.records(drain_timeout),
            memory: Some(workers.memories().rate_limit.inode()),
            metrics: Some(workers.memories().metrics.inode()),
            tls: certificates.sealed().map(|sealed| sealed.inode()),
            connections: workers.tally().total(),
            meter: self.meter.record(),
            commands: workers.children().commands(),
            descriptors,
        };
        snapshot::write(&state, &boot_id())
    }

    /// The descriptors that the service manager keeps for a successor. It passes its own sockets again by itself.
    #[must_use]
    pub fn descriptors<'a>(&'a self, view: View<'a>) -> Named<'a> {
        let sockets = view.generations.sockets().into_iter().filter(|(record, _)| !record.passed);
        let sockets = sockets.map(|(record, fd)| (record.name(), fd));
        let state = std::iter::once((descriptor_name::state(self.file.inode()), self.file.as_fd()));
        let (workers, executables) = (view.workers.descriptors(), view.generations.executables());
        let material = view.certificates.sealed().map(|sealed| (descriptor_name::tls(sealed.inode()), sealed.as_fd()));
        let mut all: Named<'a> = sockets.chain(workers).chain(executables).chain(state).chain(material).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(a, _), (b, _)| a == b);
        all
    }

    /// All descriptors, for a program that is executed in our place: those of the service manager and the instance's own, too.
    #[must_use]
    pub fn all_descriptors<'a>(&'a self, view: View<'a>) -> Named<'a> {
        let passed = view.generations.sockets().into_iter().filter(|(record, _)| record.passed);
        let passed = passed.map(|(record, fd)| (record.name(), fd));
        self.descriptors(view).into_iter().chain(passed).chain(self.files.descriptors()).collect()
    }

    /// The places of the instance's files.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Makes files of the instance anew that somebody has removed. The state file is looked at whenever it is saved.
    pub fn renew_files(&mut self, config: &Config) {
        self.files.renew(&self.paths, config);
    }

    /// Removes the state file: nothing is left to be found.
    pub fn remove(&self) {
        self.file.remove();
    }
}

/// The numbers of descriptors, by name.
#[must_use]
pub fn numbers(descriptors: &Named<'_>) -> BTreeMap<String, RawFd> {
    descriptors.iter().map(|(name, fd)| (name.clone(), fd.as_raw_fd())).collect()
}

/// True if an event changes what a successor has to know, even if nothing is done about it.
///
/// A worker's progress on its way to serve does not: a successor ends what is on its way.
#[must_use]
pub fn is_telling(event: &Event) -> bool {
    let Event::Worker { what, .. } = event else { return true };
    match what {
        WorkerEvent::Alive
        | WorkerEvent::Full
        | WorkerEvent::NoTaker
        | WorkerEvent::Load
        | WorkerEvent::Overweight(_)
        | WorkerEvent::Spawned { .. }
        | WorkerEvent::Executed
        | WorkerEvent::Ready
        | WorkerEvent::Checked(_)
        | WorkerEvent::WarmedUp(_)
        | WorkerEvent::Probed(_) => false,
        WorkerEvent::SpawnFailed { .. }
        | WorkerEvent::ExecFailed { .. }
        | WorkerEvent::Hangs
        // Its channel: a successor connects to that.
        | WorkerEvent::Announced
        | WorkerEvent::Accepting
        | WorkerEvent::Stopping
        | WorkerEvent::Extend(_)
        | WorkerEvent::Exited { .. } => true,
    }
}
