//! The status in the control API's words.

use std::time::{Duration, SystemTime};

use gin_shared::generation::Generation;
use gin_shared::status::{
    GenerationStatus, LastFailure, Listener, PhaseTook, Role, State, Status, Upgrade, WorkerStatus,
};

use super::Reporter;
use super::reason::reason;
use crate::generations::frozen::Frozen;
use crate::machine::Machine;
use crate::machine::failure::Failure;
use crate::machine::fleet::Fleet;
use crate::machine::generation::{Occupant, Run, SlotRun};
use crate::machine::history::Record;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::os::listener::Listening;
use crate::os::time;
use crate::view::View;
use crate::workers::Workers;

impl Reporter {
    /// Everything at a glance.
    #[must_use]
    pub fn status(&self, now: Moment, view: View<'_>) -> Status {
        let View { machine, workers, generations, certificates } = view;
        let nobody_serves = !machine.runs().flat_map(Run::workers).any(Worker::is_serving);
        let state = match machine.fleet {
            Fleet::Serving(_) | Fleet::Upgrading { .. } if nobody_serves => State::Down,
            Fleet::Idle | Fleet::Booting(_) => State::Booting,
            Fleet::Serving(_) => State::Serving,
            Fleet::Upgrading { .. } => State::Upgrading,
            Fleet::Stopping { .. } | Fleet::Stopped => State::Stopping,
        };
        let of = Generations { now, workers };
        let current = machine.current().map(|run| of.generation(run, Role::Current));
        let candidate = machine.candidate().and_then(|candidate| candidate.run.as_ref());
        let leaving = machine.leaving.iter().rev().map(|run| of.generation(run, Role::Leaving));
        let config = generations.config();
        let problems = self.problems(now, view);
        let (today, refused) = (SystemTime::now(), workers.refused());
        let is_degraded = |run: &Run| run.is_degraded() || !problems.is_empty() || certificates.has_ended(today);
        let frozen = machine.current().or(candidate).and_then(|run| generations.get(run.id));
        Status {
            instance: config.instance.clone(),
            state,
            degraded: machine.current().is_some_and(is_degraded),
            crash_loop: machine.has_crash_loop(now),
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(now.since(self.started)),
            pid_file: self.paths.pid_file.display().to_string(),
            control: self.paths.control.display().to_string(),
            rollback: machine.rollback_target(),
            workers: machine.current().map_or(config.worker.workers, |run| run.plan.workers),
            listeners: frozen.map(listeners).unwrap_or_default(),
            sandbox: frozen.and_then(|frozen| frozen.config.sandbox.line()),
            generations: current
                .into_iter()
                .chain(candidate.map(|run| of.generation(run, Role::Candidate)))
                .chain(leaving)
                .collect(),
            last_upgrade: machine.history.iter().next_back().map(upgrade),
            problems: problems.iter().cloned().chain(certificates.problems(today, &refused)).collect(),
            drained: workers.tally().last_drained(),
            connections: workers.all_fates(machine),
        }
    }
}

/// The generations and their workers, in the control API's words.
#[derive(Clone, Copy)]
struct Generations<'a> {
    now: Moment,
    workers: &'a Workers,
}

impl Generations<'_> {
    fn generation(self, run: &Run, role: Role) -> GenerationStatus {
        let in_slot = |slot: &SlotRun| {
            let successor = slot.successor.worker().map(|worker| self.in_slot(worker, slot));
            [Some(self.slot(run.id, slot)), successor]
        };
        GenerationStatus {
            generation: run.id,
            release: run.plan.release.clone(),
            role,
            since_ms: time::wall_ms_at(run.since),
            connections: self.workers.fates_of(run),
            workers: run
                .slots
                .iter()
                .filter(|slot| !(slot.surplus && slot.is_empty()))
                .flat_map(in_slot)
                .flatten()
                .chain(run.retiring.iter().map(|worker| self.worker(worker)))
                .collect(),
        }
    }

    fn worker(self, worker: &Worker) -> WorkerStatus {
        let left = |at: Moment| millis(at.since(self.now));
        WorkerStatus {
            slot: worker.id.slot.0,
            pid: worker.pid,
            state: worker.state.word().to_owned(),
            age_ms: millis(self.now.since(worker.born)),
            restarts: worker.id.attempt,
            // A worker that serves has a deadline only for its age, which nobody waits for.
            deadline_ms: worker.deadline().filter(|_| !worker.is_serving()).map(left),
            said: self.workers.get(worker.id).and_then(|process| process.said.borrow().clone()),
            last_failure: None,
        }
    }

    fn in_slot(self, worker: &Worker, slot: &SlotRun) -> WorkerStatus {
        let (restarts, last_failure) = (slot.attempts.saturating_sub(1), self.last_failure(worker.id.generation, slot));
        WorkerStatus { restarts, last_failure, ..self.worker(worker) }
    }

    fn last_failure(self, generation: Generation, slot: &SlotRun) -> Option<LastFailure> {
        let last = slot.last_failure.as_ref()?;
        let said = self.workers.last_words_in(generation, slot.slot);
        Some(LastFailure { reason: reason(&last.failure, &said), at_ms: time::wall_ms_at(last.at) })
    }

    fn slot(self, generation: Generation, slot: &SlotRun) -> WorkerStatus {
        let empty = |state: &str, deadline_ms| WorkerStatus {
            slot: slot.slot.0,
            pid: None,
            state: state.to_owned(),
            age_ms: 0,
            restarts: slot.attempts.saturating_sub(1),
            deadline_ms,
            said: None,
            last_failure: self.last_failure(generation, slot),
        };
        match &slot.occupant {
            Occupant::Worker(worker) => self.in_slot(worker, slot),
            Occupant::Backoff(until) => empty("backoff", Some(millis(until.since(self.now)))),
            Occupant::Vacant => empty("exited", None),
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
        cancelled: record.failure.as_ref().is_some_and(Failure::is_cancelled),
        reason: record.failure.as_ref().map(|failure| reason(failure, &record.said)),
        asked_by: record.asked_by.clone(),
        rollback: record.rollback,
        said: record.said.clone(),
        pid: record.failure.as_ref().and_then(Failure::pid),
        phases: record.phases.iter().map(|(phase, took)| PhaseTook { phase: *phase, took_ms: millis(*took) }).collect(),
        at_ms: time::wall_ms_at(record.ended),
        took_ms: millis(record.took),
    }
}

fn listeners(frozen: &Frozen) -> Vec<Listener> {
    let speaks_tls =
        |name: &str| frozen.config.listen.iter().any(|(other, settings)| other == name && settings.tls.is_some());
    let told = |listening: &Listening| Listener {
        name: listening.spec.name.clone(),
        address: listening.socket.address.to_string(),
        queue: listening.socket.queue(),
        backlog: listening.socket.backlog(),
        tls: speaks_tls(&listening.spec.name),
    };
    frozen.listeners.open().iter().map(told).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
