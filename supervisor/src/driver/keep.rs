//! What a successor will need is written down before anything is done that it would have to know of: who dies after that has
//! left a state that is true, or that says more than was done. What it says again is said again.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use gin_shared::state::{ProcessId, boot_id};

use super::command::Claim;
use super::frozen::Frozen;
use super::perform::Performer;
use crate::descriptor_name;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::{Machine, snapshot};
use crate::os::listener::Listener;
use crate::os::{fault, limits};
use crate::state::Written;

/// Whether an event changes what a successor has to know, even if nothing is done about it. How far a worker has come on its
/// way to serve is not: what is on its way is ended then.
pub(super) fn is_telling(event: &Event) -> bool {
    !matches!(
        event,
        Event::Worker {
            what: WorkerEvent::Alive
                | WorkerEvent::Overweight(_)
                | WorkerEvent::Spawned { .. }
                | WorkerEvent::Executed
                | WorkerEvent::Ready
                | WorkerEvent::Checked(_)
                | WorkerEvent::WarmedUp(_)
                | WorkerEvent::Probed(_),
            ..
        }
    )
}

impl Performer {
    /// Writes the state down, and has the service manager keep what goes with it.
    pub(super) fn keep(&mut self, machine: &Machine) {
        let _ = fault::at("keep.before");
        match self.written(machine, BTreeMap::new()) {
            Ok(bytes) => self.parts.state_file.save(bytes),
            Err(error) => tracing::error!("the state cannot be written: {error}"),
        }
        // Taken out, for what it is to keep is borrowed from the rest.
        let mut manager = std::mem::take(&mut self.service_manager);
        if manager.is_there() {
            manager.store(&self.descriptors());
        }
        self.service_manager = manager;
        let _ = fault::at("keep.after");
    }

    /// The whole state.
    pub(super) fn written(
        &self,
        machine: &Machine,
        descriptors: BTreeMap<String, RawFd>,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let claims = self.claims.borrow();
        let commands = claims.iter().filter(|(_, claim)| **claim == Claim::Command).map(|(pid, _)| pid.as_raw());
        let mut generations: Vec<_> = self.frozen.values().collect();
        generations.sort_by_key(|frozen| frozen.id);
        let mut workers: Vec<_> =
            self.processes.values().map(|process| process.left(self.patience(process.id))).collect();
        workers.sort_by_key(|worker| worker.id);
        let written = Written {
            instance: &self.parts.config.instance,
            version: env!("CARGO_PKG_VERSION"),
            master: self.identity,
            started: self.started,
            nofile: limits::inherited_nofile(),
            paths: &self.parts.paths,
            config: self.parts.config.file.as_ref(),
            passed: self.parts.passed.as_ref(),
            machine,
            operations: self.handle.operations.record(),
            generations,
            sockets: self.open_sockets().map(Listener::state).collect(),
            workers,
            memory: Some(self.parts.memory.inode()),
            commands: commands.filter_map(ProcessId::of).collect(),
            descriptors,
        };
        snapshot::write(&written, &boot_id())
    }

    fn patience(&self, worker: gin_shared::generation::WorkerId) -> std::time::Duration {
        self.frozen.get(&worker.generation).map(|frozen| frozen.config.drain_timeout).unwrap_or_default()
    }

    fn open_sockets(&self) -> impl Iterator<Item = &Listener> {
        let mut seen = Vec::new();
        let of_generations = self.frozen.values().flat_map(|frozen| frozen.listeners.open());
        let sockets = of_generations.map(|listening| &*listening.socket);
        sockets.filter(move |socket| {
            let inode = socket.state().inode;
            let new = !seen.contains(&inode);
            seen.push(inode);
            new
        })
    }

    /// What is kept open for a successor, by name. A service manager passes its own sockets again by itself.
    pub(super) fn descriptors(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let sockets = self.open_sockets().map(|socket| (socket.state(), socket.as_fd()));
        let own = sockets.filter(|(socket, _)| !socket.passed).map(|(socket, fd)| (socket.name(), fd));
        let workers = self.processes.values().flat_map(|process| process.descriptors());
        let executables = self.frozen.values().flat_map(Frozen::executables);
        let file = &self.parts.state_file;
        let state = std::iter::once((descriptor_name::state(file.inode()), file.as_fd()));
        let memory = std::iter::once((descriptor_name::MEMORY.to_owned(), self.parts.memory.as_fd()));
        let mut all: Vec<_> = own.chain(workers).chain(executables).chain(state).chain(memory).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(a, _), (b, _)| a == b);
        all
    }

    /// The same and those that a service manager passed, for a program that is executed in our place.
    pub(super) fn all_descriptors(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let passed = self.open_sockets().map(|socket| (socket.state(), socket.as_fd()));
        let passed = passed.filter(|(socket, _)| socket.passed).map(|(socket, fd)| (socket.name(), fd));
        self.descriptors().into_iter().chain(passed).chain(self.parts.foundation.descriptors()).collect()
    }
}

/// Names and numbers.
pub(super) fn numbers(descriptors: &[(String, BorrowedFd<'_>)]) -> BTreeMap<String, RawFd> {
    descriptors.iter().map(|(name, fd)| (name.clone(), fd.as_raw_fd())).collect()
}
