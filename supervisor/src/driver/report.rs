//! Transitions become log lines, events and steps: one line each, with generation, slot, PID and how long it took.

use gin_shared::control::{EventLine, Phase, Step};
use gin_shared::generation::{Generation, WorkerId};

use super::Boot;
use super::command::Command;
use super::perform::{Asked, Performer};
use super::program::Commands;
use crate::inbox::operations::{Operations, millis};
use crate::machine::Machine;
use crate::machine::action::{Report, Speed, WorkerReport};
use crate::machine::failure::{CommandError, Failure};
use crate::moment::Moment;
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
                let (number, operation) = (generation.0, operations.first().map(|operation| operation.0));
                let previous = machine.current().map(|run| run.id);
                self.asked.insert(generation, Asked { operation, previous });
                tracing::info!(generation = number, operation, asked_by, "generation {number} begins");
                self.handle
                    .operations
                    .step(&operations, &Step::Generation { generation, release: None, directory: None });
                self.event(format!("generation {number} begins, asked for by {asked_by}"), Some(generation), None);
                if self.booted {
                    self.service_manager.reloading(machine);
                }
            }
            Report::Phase { generation, phase, workers, took } => {
                let (number, took_ms, word) = (generation.0, millis(took), phase.word());
                let release = self.frozen.get(&generation).and_then(|frozen| frozen.release.clone());
                let operation = self.asked.get(&generation).and_then(|asked| asked.operation);
                tracing::info!(generation = number, operation, release, workers, took_ms, "generation {number} {word}");
                self.handle.operations.step_of(generation, &Step::Phase { phase, workers, took_ms });
                self.event(
                    format!("generation {number} {word}, {workers} workers, {took_ms} ms"),
                    Some(generation),
                    None,
                );
                if phase == Phase::Current {
                    self.take_effect(generation);
                    self.service_manager.ready(machine);
                    if std::mem::replace(&mut self.booted, true) {
                        self.run_hook(machine, generation, "after_restart", "done", None);
                    } else {
                        let took_ms = millis(now.since(self.started));
                        (self.parts.on_boot)(&self.status(now, machine), Boot::Served { took_ms });
                    }
                }
            }
            Report::Replaced { generation, slots, workers, took } => {
                let (number, took_ms) = (generation.0, millis(took));
                tracing::info!(
                    generation = number,
                    took_ms,
                    "generation {number} serves in {slots} of {workers} slots"
                );
                self.handle.operations.step_of(generation, &Step::Replaced { slots, workers, took_ms });
                self.event(format!("generation {number} serves in {slots} of {workers} slots"), Some(generation), None);
            }
            Report::Withdrawn { generation, phase, failure, worker } => {
                self.report_withdrawn(machine, generation, phase, &failure, worker);
            }
            Report::Gone { generation, took } => {
                let (number, took_ms) = (generation.0, millis(took));
                let fates = self.fates.get(&generation).map(|fates| format!(": {fates}")).unwrap_or_default();
                tracing::info!(generation = number, took_ms, "generation {number} gone{fates}");
                self.event(format!("generation {number} gone, {took_ms} ms{fates}"), Some(generation), None);
            }
            Report::Worker { worker, pid, what, took } => self.report_worker(machine, worker, pid, &what, millis(took)),
            Report::Stopping(speed) => {
                let text = match speed {
                    Speed::Graceful => "stopping: all workers drain",
                    Speed::Fast => "stopping at once",
                };
                tracing::info!("{text}");
                self.service_manager.stopping(machine);
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

    fn report_withdrawn(
        &mut self,
        machine: &Machine,
        generation: Generation,
        phase: Phase,
        failure: &Failure,
        worker: Option<WorkerId>,
    ) {
        let said = worker.map(|worker| self.last_words(worker)).unwrap_or_default();
        let (number, missing, reason) = (generation.0, phase.word(), failure.to_string());
        let operation = self.asked.get(&generation).and_then(|asked| asked.operation);
        tracing::error!(
            generation = number,
            operation,
            missing,
            said = said.join(" | "),
            "generation {number} failed: {reason}"
        );
        if self.service_manager.is_reloading() {
            self.service_manager.ready(machine);
        }
        if self.booted {
            self.run_hook(machine, generation, "on_failure", "failed", Some(&reason));
        }
        let step = Step::Failed { phase, reason: reason.clone(), said, pid: failure.pid() };
        self.handle.operations.step_of(generation, &step);
        self.event(format!("generation {number} failed: {reason}"), Some(generation), worker);
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

    fn report_worker(&self, machine: &Machine, worker: WorkerId, pid: Option<i32>, what: &WorkerReport, took_ms: f64) {
        let (generation, slot) = (worker.generation.0, worker.slot.0);
        let text = match what {
            WorkerReport::Spawned => "spawned".to_owned(),
            WorkerReport::Started => "started".to_owned(),
            WorkerReport::Ready => "ready".to_owned(),
            WorkerReport::WarmedUp => "warmed up".to_owned(),
            WorkerReport::Probed(said) => format!("probed: {said}"),
            WorkerReport::Unfit(unfit) => format!("is to be replaced: {unfit}"),
            WorkerReport::Aborted => "sent SIGABRT".to_owned(),
            WorkerReport::Serving => "serving".to_owned(),
            WorkerReport::Draining => "draining".to_owned(),
            WorkerReport::Killed => "sent SIGKILL".to_owned(),
            WorkerReport::Exited(exit) => exit.to_string(),
            WorkerReport::Failed(failure) => format!("failed: {failure}"),
            WorkerReport::Respawn(wait) => format!("respawned in {} ms", wait.as_millis()),
        };
        match what {
            WorkerReport::Failed(_) => {
                tracing::error!(generation, slot, pid, took_ms, "worker {generation}.{slot} {text}");
            }
            WorkerReport::Killed | WorkerReport::Respawn(_) | WorkerReport::Unfit(_) | WorkerReport::Aborted => {
                tracing::warn!(generation, slot, pid, took_ms, "worker {generation}.{slot} {text}");
            }
            WorkerReport::Spawned
            | WorkerReport::Started
            | WorkerReport::Ready
            | WorkerReport::WarmedUp
            | WorkerReport::Probed(_)
            | WorkerReport::Serving
            | WorkerReport::Draining
            | WorkerReport::Exited(_) => {
                tracing::info!(generation, slot, pid, took_ms, "worker {generation}.{slot} {text}");
            }
        }
        if matches!(what, WorkerReport::Serving) {
            self.redirect(None, machine);
        }
        if let WorkerReport::Probed(said) = what {
            let step = Step::Probe { slot, text: said.clone() };
            self.handle.operations.step_of(worker.generation, &step);
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

    /// Runs one of the hooks that nobody waits for. If the generation could not be frozen, the current one's is run.
    fn run_hook(
        &mut self,
        machine: &Machine,
        generation: Generation,
        name: &'static str,
        outcome: &str,
        reason: Option<&str>,
    ) {
        let current = machine.current().map(|run| run.id);
        let frozen = self.frozen.get(&generation).or_else(|| self.frozen.get(&current?));
        let Some(id) = frozen.map(|frozen| frozen.id) else { return };
        let choose = |commands: &'_ Commands| match outcome {
            "done" => commands.after_restart.is_some(),
            _ => commands.on_failure.is_some(),
        };
        if !self.frozen.get(&id).is_some_and(|frozen| choose(&frozen.commands)) {
            return;
        }
        let failed = |error| tracing::error!(generation = generation.0, "hook {name} cannot be started: {error}");
        let command = match Command::begin(&self.claims) {
            Ok(command) => command,
            Err(error) => return failed(error),
        };
        self.keep(machine);
        let Some(frozen) = self.frozen.get(&id) else { return };
        let commands = &frozen.commands;
        let program = if outcome == "done" { &commands.after_restart } else { &commands.on_failure };
        let Some(program) = program else { return };
        let asked_by = machine.history.iter().next_back().map(|record| record.asked_by.clone());
        let previous = self.asked.get(&generation).and_then(|asked| asked.previous);
        let mut more = hook_variables(previous, asked_by.unwrap_or_default(), outcome, reason);
        more.push((gin_shared::inherit::GIN_GENERATION, generation.to_string()));
        let spec = frozen.command_spec(program, more);
        let (timeout, operations, began) = (frozen.config.hooks.timeout, self.handle.operations.clone(), time::now());
        match command.start(&spec, program) {
            Ok(()) => {
                super::task::spawn(async move {
                    let result = command.end(timeout).await;
                    hook_ended(&operations, generation, name, &result, time::now().since(began));
                });
            }
            Err(error) => failed(error),
        }
    }

    pub(super) fn event(&self, text: String, generation: Option<Generation>, worker: Option<WorkerId>) {
        let slot = worker.map(|worker| worker.slot.0);
        let _ = self.handle.events.send(EventLine { at_ms: time::wall_ms(), text, generation, slot, pid: None });
    }
}

/// What the hooks know.
pub(super) fn hook_variables(
    previous: Option<Generation>,
    asked_by: String,
    outcome: &str,
    reason: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![("GIN_OUTCOME", outcome.to_owned()), ("GIN_ASKED_BY", asked_by)];
    variables.extend(reason.map(|reason| ("GIN_REASON", reason.to_owned())));
    variables.extend(previous.map(|previous| ("GIN_PREVIOUS_GENERATION", previous.to_string())));
    variables
}

/// A hook is over: told to those who wait for its generation, and logged.
pub(super) fn hook_ended(
    operations: &Operations,
    generation: Generation,
    name: &str,
    result: &Result<(), CommandError>,
    took: std::time::Duration,
) {
    let (took_ms, outcome) =
        (millis(took), result.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string));
    match result {
        Ok(()) => tracing::info!(generation = generation.0, took_ms, "hook {name} done"),
        Err(said) => tracing::error!(generation = generation.0, took_ms, "hook {name} failed: {said}"),
    }
    operations.step_of(generation, &Step::Hook { name: name.to_owned(), outcome, took_ms });
}
