//! Transitions become log lines, events and steps: one line each, with generation, slot, PID and how long it took.

use gin_shared::control::{EventLine, Step};
use gin_shared::generation::{Generation, WorkerId};

use sd_notify::NotifyState;

use super::operations::millis;
use super::perform::Performer;
use crate::machine::Machine;
use crate::machine::action::{Report, Speed, WorkerReport};
use crate::machine::moment::Moment;
use crate::os::time;

impl Performer {
    pub(super) fn report(&mut self, now: Moment, machine: &Machine, report: Report) {
        match report {
            Report::Waiting { operations, text } => {
                tracing::info!("a command waits: {text}");
                self.handle.operations.step(&operations, &Step::Waiting { text: text.clone() });
                self.event(format!("a command waits: {text}"), None, None);
            }
            Report::Candidate { generation, operations, asked_by } => {
                let number = generation.0;
                tracing::info!(generation = number, asked_by, "generation {number} begins");
                self.handle
                    .operations
                    .step(&operations, &Step::Generation { generation, release: None, directory: None });
                self.event(format!("generation {number} begins, asked for by {asked_by}"), Some(generation), None);
            }
            Report::Phase { generation, phase, workers, took } => {
                let (number, took_ms, word) = (generation.0, millis(took), phase.word());
                let release = self.frozen.get(&generation).and_then(|frozen| frozen.release.clone());
                tracing::info!(generation = number, release, workers, took_ms, "generation {number} {word}");
                self.handle.operations.step_of(generation, &Step::Phase { phase, workers, took_ms });
                self.event(
                    format!("generation {number} {word}, {workers} workers, {took_ms} ms"),
                    Some(generation),
                    None,
                );
                if phase == gin_shared::control::Phase::Current && !std::mem::replace(&mut self.booted, true) {
                    tell_service_manager(&[NotifyState::Ready, NotifyState::Status("serving")]);
                    (self.parts.on_boot)(&self.status(now, machine), millis(now.since(self.started)));
                }
            }
            Report::Withdrawn { generation, phase, failure, worker } => {
                let said = worker.map(|worker| self.last_words(worker)).unwrap_or_default();
                let (number, missing, reason) = (generation.0, phase.word(), failure.to_string());
                tracing::error!(
                    generation = number,
                    missing,
                    said = said.join(" | "),
                    "generation {number} failed: {reason}"
                );
                let step = Step::Failed { phase, reason: reason.clone(), said, pid: failure.pid() };
                self.handle.operations.step_of(generation, &step);
                self.event(format!("generation {number} failed: {reason}"), Some(generation), worker);
            }
            Report::Gone { generation, took } => {
                let (number, took_ms) = (generation.0, millis(took));
                tracing::info!(generation = number, took_ms, "generation {number} gone");
                self.event(format!("generation {number} gone, {took_ms} ms"), Some(generation), None);
            }
            Report::Worker { worker, pid, what, took } => self.report_worker(worker, pid, &what, millis(took)),
            Report::Stopping(speed) => {
                let text = match speed {
                    Speed::Graceful => "stopping: all workers drain",
                    Speed::Fast => "stopping at once",
                };
                tracing::info!("{text}");
                tell_service_manager(&[NotifyState::Stopping, NotifyState::Status(text)]);
                self.event(text.to_owned(), None, None);
            }
            Report::Scaled { from, to } => {
                tracing::info!(from, to, "workers: {from} to {to}");
                self.event(format!("workers: {from} to {to}"), None, None);
            }
            Report::Ignored(text) => {
                tracing::warn!("ignored: {text}");
                self.event(format!("ignored: {text}"), None, None);
            }
        }
        if let Some(candidate) = machine.candidate()
            && candidate.run.is_some()
        {
            self.name_generation(candidate.generation);
        }
    }

    /// Tells those who wait for a generation what it runs, as soon as that is known.
    fn name_generation(&self, generation: Generation) {
        if let Some(frozen) = self.frozen.get(&generation)
            && frozen.directory.is_some()
        {
            let directory = frozen.directory.as_ref().map(|directory| directory.display().to_string());
            self.handle.operations.name(generation, frozen.release.as_ref(), directory.as_ref());
        }
    }

    fn report_worker(&self, worker: WorkerId, pid: Option<i32>, what: &WorkerReport, took_ms: f64) {
        let (generation, slot) = (worker.generation.0, worker.slot.0);
        let text = match what {
            WorkerReport::Spawned => "spawned".to_owned(),
            WorkerReport::Started => "started".to_owned(),
            WorkerReport::Ready => "ready".to_owned(),
            WorkerReport::Serving => "serving".to_owned(),
            WorkerReport::Draining => "draining".to_owned(),
            WorkerReport::Killed => "sent SIGKILL".to_owned(),
            WorkerReport::Exited(exit) => exit.to_string(),
            WorkerReport::Failed(failure) => format!("failed: {failure}"),
            WorkerReport::Respawn(wait) => format!("respawned in {} ms", wait.as_millis()),
        };
        match what {
            WorkerReport::Failed(_) => tracing::error!(generation, slot, pid, took_ms, "worker {text}"),
            WorkerReport::Killed | WorkerReport::Respawn(_) => {
                tracing::warn!(generation, slot, pid, took_ms, "worker {text}");
            }
            WorkerReport::Spawned
            | WorkerReport::Started
            | WorkerReport::Ready
            | WorkerReport::Serving
            | WorkerReport::Draining
            | WorkerReport::Exited(_) => tracing::info!(generation, slot, pid, took_ms, "worker {text}"),
        }
        let line = EventLine {
            at_ms: time::wall_ms(),
            text: format!("worker {text}"),
            generation: Some(worker.generation),
            slot: Some(slot),
            pid,
        };
        // Nobody listens: as good.
        let _ = self.handle.events.send(line);
    }

    fn event(&self, text: String, generation: Option<Generation>, worker: Option<WorkerId>) {
        let slot = worker.map(|worker| worker.slot.0);
        let _ = self.handle.events.send(EventLine { at_ms: time::wall_ms(), text, generation, slot, pid: None });
    }
}

/// There may be none.
fn tell_service_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("NOTIFY_SOCKET: {error}");
    }
}
