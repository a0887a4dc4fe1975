//! What is, in the control API's words.

use std::time::Duration;

use gin_shared::channel::Fates;
use gin_shared::status::{GenerationStatus, Listener, PhaseTook, Role, State, Status, Upgrade, WorkerStatus};

use super::perform::Performer;
use crate::machine::Machine;
use crate::machine::fleet::Fleet;
use crate::machine::generation::{Occupant, Run, SlotRun};
use crate::machine::history::Record;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::os::listener::Listening;
use crate::os::time;

impl Performer {
    /// Everything at a glance.
    #[must_use]
    pub fn status(&self, now: Moment, machine: &Machine) -> Status {
        let state = match machine.fleet {
            Fleet::Idle | Fleet::Booting(_) => State::Booting,
            Fleet::Serving(_) => State::Serving,
            Fleet::Upgrading { .. } => State::Upgrading,
            Fleet::Stopping { .. } | Fleet::Stopped => State::Stopping,
        };
        let current = machine.current().map(|run| self.generation(now, run, Role::Current));
        let candidate =
            machine.candidate().and_then(|c| c.run.as_ref()).map(|run| self.generation(now, run, Role::Candidate));
        let leaving = machine.leaving.iter().rev().map(|run| self.generation(now, run, Role::Leaving));
        Status {
            instance: self.parts.config.instance.clone(),
            state,
            degraded: machine.current().is_some_and(Run::is_degraded),
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(now.since(self.started)),
            pid_file: self.parts.paths.pid_file.display().to_string(),
            control: self.parts.paths.control.display().to_string(),
            rollback: machine.rollback_target(),
            workers: machine.current().map_or(self.parts.config.worker.workers, |run| run.plan.workers),
            listeners: machine
                .current()
                .or(machine.candidate().and_then(|candidate| candidate.run.as_ref()))
                .and_then(|run| self.frozen.get(&run.id))
                .map(|frozen| frozen.listeners.open().iter().map(listener).collect())
                .unwrap_or_default(),
            generations: current.into_iter().chain(candidate).chain(leaving).collect(),
            last_upgrade: machine.history.iter().next_back().map(upgrade),
            drained: self.drained,
            connections: self.all_fates + machine.runs().flat_map(Run::workers).filter_map(|w| self.fates_of(w)).sum(),
        }
    }

    fn fates_of(&self, worker: &Worker) -> Option<Fates> {
        self.processes.get(&worker.id)?.fates()
    }

    /// What has become of a generation's connections; `None` while no worker of it drains.
    pub(super) fn fates(&self, run: &Run) -> Option<Fates> {
        let gone = self.fates.get(&run.id).copied();
        let there: Vec<Fates> = run.workers().filter_map(|worker| self.fates_of(worker)).collect();
        if gone.is_none() && there.is_empty() { None } else { Some(there.into_iter().chain(gone).sum()) }
    }

    fn generation(&self, now: Moment, run: &Run, role: Role) -> GenerationStatus {
        GenerationStatus {
            generation: run.id,
            release: run.plan.release.clone(),
            role,
            since_ms: time::wall_ms_at(run.since),
            connections: self.fates(run),
            workers: run
                .slots
                .iter()
                .flat_map(|slot| {
                    let successor = slot.successor.worker().map(|worker| self.worker(now, worker, slot));
                    [Some(self.slot(now, slot)), successor]
                })
                .flatten()
                .chain(run.retiring.iter().map(|worker| self.of(now, worker)))
                .collect(),
        }
    }

    fn of(&self, now: Moment, worker: &Worker) -> WorkerStatus {
        let left = |at: Moment| millis(at.since(now));
        WorkerStatus {
            slot: worker.id.slot.0,
            pid: worker.pid,
            state: worker.state.word().to_owned(),
            age_ms: millis(now.since(worker.born)),
            restarts: worker.id.attempt,
            // One that serves has a deadline only for its age, which is its own business.
            deadline_ms: worker.deadline().filter(|_| !worker.is_serving()).map(left),
            said: self.processes.get(&worker.id).and_then(|process| process.said.borrow().clone()),
        }
    }

    fn worker(&self, now: Moment, worker: &Worker, slot: &SlotRun) -> WorkerStatus {
        WorkerStatus { restarts: slot.attempts.saturating_sub(1), ..self.of(now, worker) }
    }

    fn slot(&self, now: Moment, slot: &SlotRun) -> WorkerStatus {
        let restarts = slot.attempts.saturating_sub(1);
        let left = |at: Moment| millis(at.since(now));
        match &slot.occupant {
            Occupant::Worker(worker) => self.worker(now, worker, slot),
            Occupant::Backoff(until) => WorkerStatus {
                slot: slot.slot.0,
                pid: None,
                state: "backoff".to_owned(),
                age_ms: 0,
                restarts,
                deadline_ms: Some(left(*until)),
                said: None,
            },
            Occupant::Vacant => WorkerStatus {
                slot: slot.slot.0,
                pid: None,
                state: "exited".to_owned(),
                age_ms: 0,
                restarts,
                deadline_ms: None,
                said: None,
            },
        }
    }
}

/// The upgrades that ended, newest first.
#[must_use]
pub fn history(machine: &Machine) -> Vec<Upgrade> {
    machine.history.iter().rev().map(upgrade).collect()
}

fn upgrade(record: &Record) -> Upgrade {
    Upgrade {
        generation: record.generation,
        release: record.release.clone(),
        done: record.failure.is_none(),
        reason: record.failure.as_ref().map(ToString::to_string),
        asked_by: record.asked_by.clone(),
        rollback: record.rollback,
        phases: record.phases.iter().map(|(phase, took)| PhaseTook { phase: *phase, took_ms: millis(*took) }).collect(),
        at_ms: time::wall_ms_at(record.ended),
        took_ms: millis(record.took),
    }
}

fn listener(listening: &Listening) -> Listener {
    Listener {
        name: listening.spec.name.clone(),
        address: listening.socket.address.to_string(),
        queue: listening.socket.queue(),
        backlog: listening.socket.backlog(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
