//! The reporter: tells transitions to the log, to whoever follows the events, to operations, and to the service manager.
//! With the feature `otel` it traces restarts, too.
//!
//! A line for each transition, with generation, slot, PID and how long it took. The reporter reads a [`View`] of the whole
//! and changes nothing but what it has told.

mod answer;
mod problems;
pub mod reason;
mod samples;
pub mod service_manager;
mod status;
#[cfg(feature = "otel")]
mod traces;
mod unaccepted;
#[cfg(not(feature = "otel"))]
mod without_traces;
mod workers;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use gin_shared::channel::Fates;
use gin_shared::control::{EventLine, OperationId, Phase, Step};
use gin_shared::generation::{Generation, WorkerId};
use gin_shared::status::Status;
use gin_shared::trace_context::TraceContext;
use tokio::sync::broadcast;

use crate::failed_start::FailedStart;
use crate::inbox::Handle;
use crate::inbox::operations::{Operations, millis};
use crate::machine::Machine;
use crate::machine::action::{Answer, Report, Speed};
use crate::machine::failure::{CommandError, Failure};
use crate::machine::generation::Run;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::os::time;
use crate::state::Paths;
use crate::view::View;
use crate::worker_count::workers as workers_text;
use reason::reason;
use service_manager::ServiceManager;
pub use status::history;
#[cfg(feature = "otel")]
use traces::Traces;
use unaccepted::Unaccepted;
#[cfg(not(feature = "otel"))]
use without_traces::Traces;

/// The way in which a master came to serve.
#[derive(Debug, Clone, Copy)]
pub enum Boot {
    /// By a first generation of its own.
    Served {
        /// The time that this took, in milliseconds.
        took_ms: f64,
    },
    /// By workers of a master that died.
    Adopted {
        /// The number of workers.
        workers: usize,
        /// The PID of that master.
        from: i32,
    },
}

/// The request that a generation was made for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The operation.
    operation: Option<u64>,
    /// The generation that served then.
    previous: Option<Generation>,
}

/// The reporter.
#[derive(Debug)]
pub struct Reporter {
    /// The operations that callers follow.
    pub operations: Operations,
    /// The service manager.
    pub service_manager: ServiceManager,
    events: broadcast::Sender<EventLine>,
    /// The requests that generations were made for.
    asked: HashMap<Generation, Asked>,
    /// True if a generation has served.
    booted: bool,
    /// The listeners at which clients wait.
    unaccepted: Unaccepted,
    /// Called once, when the first generation serves.
    on_boot: fn(&Status, Boot),
    /// The moment when the master was started.
    started: Moment,
    paths: Paths,
    traces: Traces,
}

// Getters and small steps.
impl Reporter {
    /// A reporter that has told nothing. `stored`: the names that are in the service manager's store already; `failed`: the
    /// start before this one, if it failed.
    #[must_use]
    pub fn new(
        handle: &Handle,
        stored: BTreeSet<String>,
        failed: Option<FailedStart>,
        on_boot: fn(&Status, Boot),
        started: Moment,
        paths: Paths,
    ) -> Self {
        Self {
            operations: handle.operations.clone(),
            service_manager: ServiceManager::from_env(stored, failed),
            events: handle.events.clone(),
            asked: HashMap::new(),
            booted: false,
            unaccepted: Unaccepted::default(),
            on_boot,
            started,
            paths,
            traces: Traces::new(started),
        }
    }

    /// True if a generation has served.
    #[must_use]
    pub fn is_booted(&self) -> bool {
        self.booted
    }

    /// Notes that a generation serves; gives whether one did before.
    pub fn set_booted(&mut self, booted: bool) -> bool {
        std::mem::replace(&mut self.booted, booted)
    }

    /// The moment before which the first generation is not tried, because the starts before this one failed.
    #[must_use]
    pub fn held_back_until(&self, now: Moment) -> Option<Moment> {
        self.service_manager.failed_start()?.next_try(now)
    }

    /// Tells that the first generation waits until `until`.
    pub fn hold_back(&mut self, now: Moment, until: Moment, machine: &Machine) {
        let reason = self.service_manager.failed_start().map(FailedStart::text).unwrap_or_default();
        let seconds = until.since(now).as_secs_f64();
        tracing::warn!("{reason}; the next try is in {seconds:.1} s, gin-ctl restart tries at once");
        self.service_manager.hold_back(now, until, machine);
    }

    /// The generation that served when `generation` was asked for.
    #[must_use]
    pub fn previous(&self, generation: Generation) -> Option<Generation> {
        self.asked.get(&generation).and_then(|asked| asked.previous)
    }

    /// The moment of the next look at the listeners' queues, if one is to come by itself.
    #[must_use]
    pub fn next_look(&self) -> Option<Moment> {
        self.unaccepted.next_look()
    }

    /// Forgets a generation.
    pub fn forget(&mut self, generation: Generation) {
        self.asked.remove(&generation);
    }

    /// Greets the operator: the first generation serves.
    pub fn greet_served(&self, now: Moment, view: View<'_>) {
        let took_ms = millis(now.since(self.started));
        (self.on_boot)(&self.status(now, view), Boot::Served { took_ms });
    }

    /// Greets the operator: workers of a dead master were adopted.
    pub fn greet_adopted(&self, now: Moment, view: View<'_>, workers: usize, from: i32) {
        (self.on_boot)(&self.status(now, view), Boot::Adopted { workers, from });
    }

    /// Ends an operation with the machine's answer.
    pub fn answer(&self, now: Moment, view: View<'_>, operation: OperationId, answer: &Answer) {
        let (exit, text) = answer::text(view, &self.operations, operation, answer);
        self.operations.end(now, operation, exit, text);
    }
}

// Traces of restarts.
impl Reporter {
    /// Sets the start of the instance's first master. Its successors trace under the same ids.
    pub fn set_first_started(&mut self, first_started: Moment) {
        self.traces.set_first_started(first_started);
    }

    /// The span that a worker's start belongs to, if restarts are traced.
    #[must_use]
    pub fn trace_of_worker(&self, worker: WorkerId) -> Option<TraceContext> {
        self.traces.of_worker(worker)
    }

    /// The span that a worker's drain belongs to, if it drains because of a restart that is traced.
    #[must_use]
    pub fn trace_of_drain(&self, worker: WorkerId) -> Option<TraceContext> {
        self.traces.of_drain(worker)
    }

    /// Sends the spans that wait, for half a second at most, before another program takes over.
    pub fn hand_on_traces(&mut self) {
        self.traces.hand_on();
    }

    /// Sends the spans that wait, for half a second at most, at the end.
    pub async fn end_traces(&mut self) {
        self.traces.end().await;
    }
}

// Reports.
impl Reporter {
    /// Tells a transition.
    pub fn report(&mut self, now: Moment, view: View<'_>, report: &Report) {
        self.traces.report(now, view, report);
        match report {
            Report::Waiting { operations, text } => {
                tracing::info!("a command waits: {text}");
                self.operations.step(operations, &Step::Waiting { text: text.clone() });
                self.event(format!("a command waits: {text}"), None, None);
            }
            Report::Candidate { generation, operations, asked_by } => {
                self.report_candidate(view.machine, *generation, operations, asked_by);
            }
            Report::Phase { generation, phase, workers, took } => {
                self.report_phase(view, *generation, *phase, *workers, *took);
            }
            Report::Replaced { generation, slots, workers, took } => {
                let (number, took_ms) = (generation.0, millis(*took));
                let text = format!("generation {number} serves in {slots} of {workers} slots");
                tracing::info!(generation = number, took_ms, "{text}");
                let step = Step::Replaced { slots: *slots, workers: *workers, took_ms };
                self.operations.step_of(*generation, &step);
                self.event(text, Some(*generation), None);
            }
            Report::Withdrawn { generation, phase, failure, worker } => {
                self.report_withdrawn(view, *generation, *phase, failure, *worker);
            }
            Report::Gone { generation, took } => {
                let (number, took_ms) = (generation.0, millis(*took));
                let fates = view.workers.tally().of(*generation).map(|fates| format!(": {fates}")).unwrap_or_default();
                tracing::info!(generation = number, took_ms, "generation {number} gone{fates}");
                self.event(format!("generation {number} gone, {took_ms} ms{fates}"), Some(*generation), None);
            }
            Report::Worker { worker, pid, what, took } => self.report_worker(view, *worker, *pid, what, millis(*took)),
            Report::Stopping(speed) => {
                let text = match speed {
                    Speed::Graceful => "stopping: all workers drain",
                    Speed::Fast => "stopping at once",
                };
                tracing::info!("{text}");
                self.service_manager.stopping(view.machine);
                self.event(text.to_owned(), None, None);
                if *speed == Speed::Graceful {
                    self.tell_stop(view.machine);
                }
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
    }

    fn report_candidate(
        &mut self,
        machine: &Machine,
        generation: Generation,
        operations: &[OperationId],
        asked_by: &str,
    ) {
        let (number, operation) = (generation.0, operations.first().map(|operation| operation.0));
        let previous = machine.current().map(|run| run.id);
        self.asked.insert(generation, Asked { operation, previous });
        tracing::info!(generation = number, operation, asked_by, "generation {number} begins");
        let step = Step::Generation { generation, release: None, directory: None, replaces: previous };
        self.operations.step(operations, &step);
        self.event(format!("generation {number} begins, asked for by {asked_by}"), Some(generation), None);
        if self.booted {
            self.service_manager.reloading(machine);
        }
    }

    /// Tells those who wait for a stop what it waits for.
    fn tell_stop(&self, machine: &Machine) {
        let workers: Vec<&Worker> = machine.leaving.iter().flat_map(Run::workers).collect();
        let Some(latest) = workers.iter().filter_map(|worker| worker.deadline()).max() else { return };
        let verb = if workers.len() == 1 { "drains" } else { "drain" };
        let seconds = latest.since(time::now()).as_secs_f64();
        let text = format!("{} {verb}, for {seconds:.0} s at most", workers_text(workers.len()));
        tracing::info!("{text}");
        self.operations.step(machine.stop_operations(), &Step::Waiting { text });
    }

    fn report_phase(&mut self, view: View<'_>, generation: Generation, phase: Phase, workers: u32, took: Duration) {
        let (number, took_ms, word) = (generation.0, millis(took), phase.word());
        let release = view.generations.get(generation).and_then(|frozen| frozen.release.clone());
        let operation = self.asked.get(&generation).and_then(|asked| asked.operation);
        tracing::info!(generation = number, operation, release, workers, took_ms, "generation {number} {word}");
        self.operations.step_of(generation, &Step::Phase { phase, workers, took_ms });
        self.event(
            format!("generation {number} {word}, {}, {took_ms} ms", workers_text(workers)),
            Some(generation),
            None,
        );
    }

    fn report_withdrawn(
        &mut self,
        view: View<'_>,
        generation: Generation,
        phase: Phase,
        failure: &Failure,
        worker: Option<WorkerId>,
    ) {
        let said = worker.map(|worker| view.workers.last_words(worker)).unwrap_or_default();
        let (number, missing, reason) = (generation.0, phase.word(), reason(failure, &said));
        let operation = self.asked.get(&generation).and_then(|asked| asked.operation);
        let text = match failure.is_cancelled() {
            true => format!("generation {number} was cancelled: {reason}"),
            false => format!("generation {number} failed: {reason}"),
        };
        if failure.is_cancelled() {
            tracing::warn!(generation = number, operation, missing, "{text}");
        } else {
            tracing::error!(generation = number, operation, missing, said = said.join(" | "), "{text}");
        }
        if self.service_manager.is_reloading() {
            self.service_manager.ready(view.machine);
        }
        self.operations.step_of(generation, &Step::Failed { phase, reason, said, pid: failure.pid() });
        self.event(text, Some(generation), worker);
    }

    /// Tells what became of the connections of a worker that is gone.
    pub fn report_connections(&self, worker: WorkerId, fates: Fates) {
        let text = format!("the worker's connections: {fates}");
        tracing::info!(generation = worker.generation.0, slot = worker.slot.0, "{text}");
        self.event(text, Some(worker.generation), Some(worker));
    }

    /// Tells those who wait for a generation what it runs, as soon as that is known.
    pub fn name_candidate(&self, view: View<'_>) {
        let Some(candidate) = view.machine.candidate().filter(|candidate| candidate.run.is_some()) else { return };
        let Some(frozen) = view.generations.get(candidate.generation) else { return };
        if let Some(directory) = &frozen.directory {
            let directory = directory.display().to_string();
            self.operations.name(candidate.generation, frozen.release.as_ref(), Some(&directory));
        }
    }

    fn event(&self, text: String, generation: Option<Generation>, worker: Option<WorkerId>) {
        let slot = worker.map(|worker| worker.slot.0);
        let _ = self.events.send(EventLine { at_ms: time::wall_ms(), text, generation, slot, pid: None });
    }
}

/// Tells the end of a hook to those who wait for its generation, and to the log.
pub fn hook_ended(
    operations: &Operations,
    generation: Generation,
    name: &str,
    result: &Result<(), CommandError>,
    took: Duration,
) {
    let took_ms = millis(took);
    let outcome = result.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
    match result {
        Ok(()) => tracing::info!(generation = generation.0, took_ms, "hook {name} done"),
        Err(_) => tracing::error!(generation = generation.0, took_ms, "hook {name} failed: {outcome}"),
    }
    operations.step_of(generation, &Step::Hook { name: name.to_owned(), outcome, took_ms });
}
