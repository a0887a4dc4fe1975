//! Spans of restarts, made of the machine's reports. Without I/O and clock.
//!
//! | span | from | to |
//! |---|---|---|
//! | `restart`, of a first generation `start` | the candidate | the end of the generation before it, if there is one; else `current`; or its withdrawal |
//! | a phase, such as `ready` | the phase before | the phase |
//! | `replaced 1 of 4` | the slot before | the slot serves, and has soaked |
//! | `drained` | the order to the generation before | its end |
//! | `worker 3.0` | its process exists | it serves, fails or ends |
//!
//! Ids are derived from the instance, the start of its first master and the generation: each master of the instance goes on under the same
//! ids, and no state file has them. A span is written by the master that sees its end, and a restart's begin stands in the machine's
//! history. So no span is written twice, whichever master saw its begin.

use std::collections::BTreeMap;
use std::time::Duration;

use gin_shared::control::{OperationId, Phase};
use gin_shared::generation::{Generation, WorkerId};
use gin_shared::trace_context::{SpanId, TraceContext, TraceId};

use super::span::{Attribute, Span};
use crate::machine::action::{Report, WorkerReport};
use crate::machine::failure::Failure;
use crate::machine::history::{History, Record};
use crate::moment::Moment;
use crate::reporter::reason::reason;

/// The most restarts that are remembered: those that end without workers are never gone.
const REMEMBERED: usize = 128;
/// The most bytes of a worker's last lines in a span.
const SAID_MAX: usize = 1024;

/// Facts beside a report.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The moment of the report.
    pub(super) now: Moment,
    /// The wall clock at that moment, in nanoseconds since 1970.
    pub(super) wall_ns: u64,
    /// The generation that serves.
    pub(super) current: Option<Generation>,
    /// The upgrades that ended.
    pub(super) history: &'a History,
    /// The last lines of the worker that the report is about, if it has failed.
    pub(super) said: Vec<String>,
}

impl Facts<'_> {
    /// The wall clock before this time.
    fn ns_before(&self, time: Duration) -> u64 {
        self.wall_ns.saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The course of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// The generation is on its way.
    UnderWay,
    /// Workers of the generation before it drain because of it.
    Replaces,
    /// It was withdrawn.
    Withdrawn,
}

/// A restart that this master has seen begin.
#[derive(Debug)]
struct Restart {
    /// The generation that served then.
    replaces: Option<Generation>,
    operation: Option<OperationId>,
    course: Course,
}

/// A worker that was started, and does not serve yet.
#[derive(Debug)]
struct Starting {
    began_ns: u64,
    events: Vec<(u64, String)>,
}

/// The restarts of an instance.
#[derive(Debug)]
pub(super) struct Restarts {
    instance: String,
    /// The start of the instance's first master.
    first_started: Moment,
    restarts: BTreeMap<Generation, Restart>,
    starting: BTreeMap<WorkerId, Starting>,
}

// Ids.
impl Restarts {
    /// No restart yet.
    #[must_use]
    pub(super) fn new(instance: &str, first_started: Moment) -> Self {
        let (restarts, starting) = (BTreeMap::new(), BTreeMap::new());
        Self { instance: instance.to_owned(), first_started, restarts, starting }
    }

    /// The span of a worker's start.
    #[must_use]
    pub(super) fn of_worker(&self, worker: WorkerId) -> TraceContext {
        let (slot, attempt) = (worker.slot.0.to_be_bytes(), worker.attempt.to_be_bytes());
        self.context(worker.generation, &[b"worker", &slot, &attempt])
    }

    /// The restart because of which a worker drains: the one that replaces its generation, or the one of its own generation, if that was
    /// withdrawn.
    #[must_use]
    pub(super) fn of_drain(&self, worker: WorkerId) -> Option<TraceContext> {
        let because = |(generation, restart): &(&Generation, &Restart)| match restart.course {
            Course::UnderWay => false,
            Course::Replaces => restart.replaces == Some(worker.generation),
            Course::Withdrawn => **generation == worker.generation,
        };
        let (generation, _) = self.restarts.iter().rev().find(because)?;
        Some(self.root(*generation))
    }

    fn root(&self, generation: Generation) -> TraceContext {
        self.context(generation, &[b"root"])
    }

    fn context(&self, generation: Generation, span: &[&[u8]]) -> TraceContext {
        let (first, number) = (self.first_started.0.to_be_bytes(), generation.0.to_be_bytes());
        let restart: [&[u8]; 4] = [b"restart", self.instance.as_bytes(), &first, &number];
        let span = SpanId::derived(&[&restart[..], span].concat());
        TraceContext { trace: TraceId::derived(&restart), span, is_sampled: true }
    }
}

// Reports.
impl Restarts {
    /// Gives `write` the spans that end with this report.
    pub(super) fn report(&mut self, report: &Report, facts: &Facts<'_>, write: &mut impl FnMut(Span)) {
        match report {
            Report::Candidate { generation, operations, .. } => {
                self.begin(*generation, facts.current, operations.first().copied());
            }
            Report::Phase { generation, phase, took, .. } => {
                write(self.part(*generation, phase.word(), *took, facts));
                if *phase == Phase::Current {
                    self.become_current(*generation, facts, write);
                }
            }
            Report::Replaced { generation, slots, workers, took } => {
                write(self.part(*generation, &format!("replaced {slots} of {workers}"), *took, facts));
                self.take(*generation, Course::Replaces);
            }
            Report::Withdrawn { generation, failure, .. } => self.withdraw(*generation, failure, facts, write),
            Report::Gone { generation, took } => self.handle_gone(*generation, *took, facts, write),
            Report::Worker { worker, pid, what, took } => self.report_worker(*worker, *pid, what, *took, facts, write),
            Report::Waiting { .. } | Report::Stopping(_) | Report::Scaled { .. } | Report::Ignored(_) => {}
        }
    }

    fn begin(&mut self, generation: Generation, replaces: Option<Generation>, operation: Option<OperationId>) {
        self.restarts.insert(generation, Restart { replaces, operation, course: Course::UnderWay });
        while self.restarts.len() > REMEMBERED {
            self.restarts.pop_first();
        }
    }

    fn take(&mut self, generation: Generation, course: Course) {
        if let Some(restart) = self.restarts.get_mut(&generation) {
            restart.course = course;
        }
    }

    fn become_current(&mut self, generation: Generation, facts: &Facts<'_>, write: &mut impl FnMut(Span)) {
        self.take(generation, Course::Replaces);
        // A candidate that becomes current was seen by this master: another one would have withdrawn it.
        if self.restarts.get(&generation).is_some_and(|restart| restart.replaces.is_none()) {
            write_all(self.whole(generation, None, facts), write);
            self.restarts.remove(&generation);
        }
    }

    fn withdraw(&mut self, generation: Generation, failure: &Failure, facts: &Facts<'_>, write: &mut impl FnMut(Span)) {
        write_all(self.whole(generation, Some(failure), facts), write);
        // Its begin may have been seen by a master that died.
        let unseen = Restart { replaces: facts.current, operation: None, course: Course::Withdrawn };
        self.restarts.entry(generation).or_insert(unseen).course = Course::Withdrawn;
    }

    fn handle_gone(&mut self, generation: Generation, took: Duration, facts: &Facts<'_>, write: &mut impl FnMut(Span)) {
        self.starting.retain(|worker, _| worker.generation != generation);
        if let Some(by) = replaced_by(facts.history, generation) {
            write(self.part(by, "drained", took, facts));
            write_all(self.whole(by, None, facts), write);
            self.restarts.remove(&by);
        }
        self.restarts.retain(|id, restart| *id != generation || restart.course != Course::Withdrawn);
    }

    fn report_worker(
        &mut self,
        worker: WorkerId,
        pid: Option<i32>,
        what: &WorkerReport,
        took: Duration,
        facts: &Facts<'_>,
        write: &mut impl FnMut(Span),
    ) {
        let event = match what {
            WorkerReport::Spawned => {
                let starting = Starting { began_ns: facts.wall_ns, events: Vec::new() };
                self.starting.insert(worker, starting);
                return;
            }
            WorkerReport::Serving | WorkerReport::Exited(_) => {
                let starting = self.starting.remove(&worker);
                return write_all(starting.map(|starting| self.worker(worker, pid, starting, facts)), write);
            }
            WorkerReport::Failed(failure) => {
                // A worker without a process was never spawned.
                let unborn = || Starting { began_ns: facts.ns_before(took), events: Vec::new() };
                let is_unborn = matches!(failure, Failure::Spawn(_));
                let starting = self.starting.remove(&worker).or_else(|| is_unborn.then(unborn));
                let failed = |starting| self.failed(worker, pid, starting, failure, facts);
                return write_all(starting.map(failed), write);
            }
            WorkerReport::Respawn(_) => return,
            WorkerReport::Started => "started".to_owned(),
            WorkerReport::Ready => "ready".to_owned(),
            WorkerReport::WarmedUp => "warmed up".to_owned(),
            WorkerReport::Probed(said) => format!("probed: {said}"),
            WorkerReport::Draining => "draining".to_owned(),
            WorkerReport::Stopping => "stopping".to_owned(),
            WorkerReport::Unfit(unfit) => unfit.to_string(),
            WorkerReport::Aborted => "sent SIGABRT".to_owned(),
            WorkerReport::Killed(_) => "sent SIGKILL".to_owned(),
        };
        if let Some(starting) = self.starting.get_mut(&worker) {
            starting.events.push((facts.wall_ns, event));
        }
    }
}

// Spans.
impl Restarts {
    /// A part of a restart that ends now.
    fn part(&self, generation: Generation, name: &str, took: Duration, facts: &Facts<'_>) -> Span {
        Span {
            context: self.context(generation, &[name.as_bytes()]),
            parent: Some(self.root(generation).span),
            name: name.to_owned(),
            start_ns: facts.ns_before(took),
            end_ns: facts.wall_ns,
            error: None,
            attributes: vec![("gin.generation", generation.0.into())],
            events: Vec::new(),
        }
    }

    /// A whole restart that ends now; none, if it is so old that the history has forgotten it.
    fn whole(&self, generation: Generation, failure: Option<&Failure>, facts: &Facts<'_>) -> Option<Span> {
        let record = facts.history.iter().rev().find(|record| record.generation == generation)?;
        let restart = self.restarts.get(&generation);
        let is_first = restart.is_some_and(|restart| restart.replaces.is_none());
        let mut span = Span {
            context: self.root(generation),
            parent: None,
            name: if is_first { "start" } else { "restart" }.to_owned(),
            start_ns: facts.ns_before(facts.now.since(record.ended) + record.took),
            error: failure.map(|failure| why(failure, &record.said)),
            ..self.part(generation, "", Duration::ZERO, facts)
        };
        span.attributes.push(("gin.instance", self.instance.as_str().into()));
        span.attributes.push(("gin.asked_by", record.asked_by.as_str().into()));
        span.attributes.extend(record.release.as_deref().map(|release| ("gin.release", Attribute::from(release))));
        let operation = restart.and_then(|restart| restart.operation);
        span.attributes.extend(operation.map(|operation| ("gin.operation", operation.0.into())));
        if let Some(failure) = failure {
            let kind = if failure.is_cancelled() { "cancelled" } else { "failed" };
            span.attributes.push(("error.type", kind.into()));
        }
        Some(span)
    }

    /// The start of a worker, which ends now.
    fn worker(&self, worker: WorkerId, pid: Option<i32>, starting: Starting, facts: &Facts<'_>) -> Span {
        let WorkerId { generation, slot, attempt } = worker;
        let numbers = [("gin.slot", u64::from(slot.0)), ("gin.attempt", u64::from(attempt))];
        let pid = pid.map(|pid| ("process.pid", Attribute::Integer(pid.into())));
        let own = numbers.map(|(key, number)| (key, Attribute::from(number)));
        let mut span = Span {
            context: self.of_worker(worker),
            name: format!("worker {generation}.{slot}"),
            start_ns: starting.began_ns,
            events: starting.events,
            ..self.part(generation, "", Duration::ZERO, facts)
        };
        span.attributes.extend(own.into_iter().chain(pid));
        span
    }

    /// The start of a worker that has failed.
    fn failed(
        &self,
        worker: WorkerId,
        pid: Option<i32>,
        starting: Starting,
        failure: &Failure,
        facts: &Facts<'_>,
    ) -> Span {
        let mut span = self.worker(worker, pid, starting, facts);
        span.error = Some(reason(failure, &facts.said));
        let said = facts.said.join("\n");
        if !said.is_empty() {
            span.attributes.push(("gin.last_words", end_of(&said).into()));
        }
        span
    }
}

/// The reason of a withdrawal. `said`: the last lines of the worker.
fn why(failure: &Failure, said: &[String]) -> String {
    let reason = reason(failure, said);
    if failure.is_cancelled() { format!("cancelled: {reason}") } else { reason }
}

fn write_all(spans: impl IntoIterator<Item = Span>, write: &mut impl FnMut(Span)) {
    spans.into_iter().for_each(write);
}

/// The upgrade that has replaced this generation, if that served.
fn replaced_by(history: &History, generation: Generation) -> Option<Generation> {
    let is_done = |record: &&Record| record.failure.is_none();
    history.iter().filter(is_done).find(|record| record.generation == generation)?;
    history.iter().filter(is_done).map(|record| record.generation).filter(|other| *other > generation).min()
}

/// The last [`SAID_MAX`] bytes of a text, in whole characters.
fn end_of(text: &str) -> &str {
    let from = text.len().saturating_sub(SAID_MAX);
    let from = (from..=text.len()).find(|index| text.is_char_boundary(*index)).unwrap_or(text.len());
    &text[from..]
}

#[cfg(test)]
mod tests;
