//! Operations as their callers follow them: the steps so far, and a wake-up when there is more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gin_shared::channel::Fates;
use gin_shared::control::{NumberedStep, OperationId, Outcome, Step};
use gin_shared::exit;
use gin_shared::generation::Generation;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::moment::Moment;
use crate::os::time;

/// Operations that have ended and are kept, for callers that ask late.
const KEPT: usize = 128;
/// Ended operations that survive the master.
const SAVED: usize = 4;

/// All operations that are known; shared between the driver and the control API.
#[derive(Debug, Clone)]
pub struct Operations(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    next: u64,
    known: BTreeMap<OperationId, Operation>,
    changed: watch::Sender<()>,
}

/// The operations as the state file describes them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationsRecord {
    next: u64,
    known: Vec<(OperationId, Operation)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Operation {
    began: Moment,
    steps: Vec<NumberedStep>,
    generation: Option<Generation>,
    ended: bool,
    drained: bool,
}

/// The steps that a follower has not seen yet.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// New steps.
    pub steps: Vec<NumberedStep>,
    /// True if there will be no more.
    pub over: bool,
}

impl Operation {
    /// Adds a step. Its number follows the clock: so it is higher than those that a dead master has told and never saved.
    fn add(&mut self, step: Step) {
        let (micros, last) = (time::now().0 / 1000, self.steps.iter().rev().find_map(|told| told.number));
        let number = last.map_or(micros, |last| micros.max(last.saturating_add(1)));
        self.steps.push(NumberedStep { number: Some(number), step });
    }

    fn before_drained(&self) -> usize {
        self.steps.iter().position(|told| matches!(told.step, Step::Drained { .. })).unwrap_or(self.steps.len())
    }
}

impl Default for Operations {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner { next: 1, known: BTreeMap::new(), changed: watch::Sender::new(()) })))
    }
}

impl Operations {
    /// A new one.
    #[must_use]
    pub fn begin(&self, now: Moment) -> OperationId {
        self.with(|inner| {
            let id = OperationId(inner.next);
            inner.next += 1;
            let operation = Operation { began: now, steps: Vec::new(), generation: None, ended: false, drained: false };
            inner.known.insert(id, operation);
            while inner.known.len() > KEPT
                && let Some(oldest) = inner.known.iter().find(|(_, op)| op.ended).map(|(id, _)| *id)
            {
                inner.known.remove(&oldest);
            }
            id
        })
    }

    /// The operations that a successor has to know: those that are open, and the last that ended, whose callers may not have
    /// heard it yet.
    #[must_use]
    pub fn record(&self) -> OperationsRecord {
        self.with(|inner| {
            let mut ended = 0;
            let newest_first = inner.known.iter().rev().filter(|(_, operation)| {
                ended += usize::from(operation.ended);
                !operation.ended || ended <= SAVED
            });
            let known = newest_first.map(|(id, operation)| (*id, operation.clone())).collect();
            OperationsRecord { next: inner.next, known }
        })
    }

    /// Goes on with what a master before this one knew.
    pub fn restore(&self, saved: OperationsRecord) {
        self.with(|inner| {
            inner.next = inner.next.max(saved.next);
            inner.known = saved.known.into_iter().collect();
        });
    }

    /// Ends those that nobody will: `awaited` are those that somebody does, `current` is what serves.
    pub fn abandon(&self, now: Moment, awaited: impl Fn(OperationId) -> bool, current: Option<Generation>) {
        let open = self.with(|inner| {
            let open = inner.known.iter().filter(|(id, operation)| !operation.ended && !awaited(**id));
            open.map(|(id, operation)| (*id, operation.generation)).collect::<Vec<_>>()
        });
        for (id, generation) in open {
            match generation.filter(|generation| Some(*generation) == current) {
                Some(generation) => self.end(now, id, exit::DONE, format!("generation {generation} serves")),
                None => {
                    let text = "the supervisor died before it was done; gin-ctl status tells what serves".to_owned();
                    self.end(now, id, exit::FAILED, text);
                }
            }
        }
    }

    /// Adds a step to these operations.
    pub fn step(&self, operations: &[OperationId], step: &Step) {
        self.each(|id, operation| {
            if operations.contains(id) {
                if let Step::Generation { generation, .. } = step {
                    operation.generation = Some(*generation);
                }
                operation.add(step.clone());
            }
        });
    }

    /// Adds a step to the operations that wait for a generation.
    pub fn step_of(&self, generation: Generation, step: &Step) {
        self.each(|_, operation| {
            if operation.generation == Some(generation) && !operation.ended {
                operation.add(step.clone());
            }
        });
    }

    /// A program was found fit to become the master.
    pub fn checked(&self, operations: &[OperationId], version: &str) {
        self.step(operations, &Step::Checked { version: version.to_owned() });
    }

    /// Something that those who wait for a generation should know.
    pub fn warn(&self, generation: Generation, text: &str) {
        self.step_of(generation, &Step::Warning { text: text.to_owned() });
    }

    /// Names the release and directory of a generation, once they are known, to those who wait for it.
    pub fn name(&self, generation: Generation, release: Option<&String>, directory: Option<&String>) {
        self.each(|_, operation| {
            for told in &mut operation.steps {
                if let Step::Generation { generation: of, release: to, directory: at, .. } = &mut told.step
                    && *of == generation
                    && at.is_none()
                {
                    (*to, *at) = (release.cloned(), directory.cloned());
                }
            }
        });
    }

    /// Ends an operation.
    pub fn end(&self, now: Moment, id: OperationId, exit: u8, text: String) {
        self.each(|known, operation| {
            if *known == id && !operation.ended {
                let took_ms = millis(now.since(operation.began));
                operation.add(Step::Ended(Outcome { exit, text: text.clone(), took_ms }));
                operation.ended = true;
            }
        });
    }

    /// Generations have gone: whoever waited for all before theirs is told, as `is_left` says.
    pub fn drained(&self, connections: Option<Fates>, is_left: impl Fn(Generation) -> bool) {
        self.each(|_, operation| {
            let waits = operation.ended && !operation.drained;
            if waits && operation.generation.is_none_or(|generation| !is_left(generation)) {
                operation.drained = true;
                operation.add(Step::Drained { connections });
            }
        });
    }

    /// The steps after the first `seen`; `None` if there is no such operation.
    #[must_use]
    pub fn news(&self, id: OperationId, seen: usize, until_drained: bool) -> Option<News> {
        self.with(|inner| {
            let operation = inner.known.get(&id)?;
            let last = if until_drained { operation.steps.len() } else { operation.before_drained() };
            let steps = operation.steps[..last].iter().skip(seen).cloned().collect();
            let failed = |told: &NumberedStep| matches!(&told.step, Step::Ended(outcome) if outcome.exit != 0);
            let failed = operation.steps.iter().any(failed);
            let over = operation.ended && (!until_drained || failed || operation.drained);
            Some(News { steps, over })
        })
    }

    /// The generation whose failure this operation has been told of, with the reason.
    #[must_use]
    pub fn failed_generation(&self, id: OperationId) -> Option<Generation> {
        self.with(|inner| {
            let operation = inner.known.get(&id)?;
            let told = operation.steps.iter().any(|told| matches!(told.step, Step::Failed { .. }));
            operation.generation.filter(|_| told)
        })
    }

    /// Wakes up after each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.with(|inner| inner.changed.subscribe())
    }

    fn each(&self, mut change: impl FnMut(&OperationId, &mut Operation)) {
        self.with(|inner| {
            inner.known.iter_mut().for_each(|(id, operation)| change(id, operation));
            inner.changed.send_replace(());
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A length of time in milliseconds, for people.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(text: &str) -> Step {
        Step::Waiting { text: text.to_owned() }
    }

    fn numbers(operations: &Operations, id: OperationId) -> Vec<u64> {
        let steps = operations.news(id, 0, false).unwrap().steps;
        steps.into_iter().map(|step| step.number.expect("a number")).collect()
    }

    #[test]
    fn a_successor_that_knows_fewer_steps_numbers_its_own_above_all_that_were_told() {
        let dead = Operations::default();
        let id = dead.begin(time::now());
        dead.step(&[id], &waiting("saved"));
        let saved = dead.record();
        (0..5).for_each(|_| dead.step(&[id], &waiting("told, and never saved")));
        let told = numbers(&dead, id);
        assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");

        let successor = Operations::default();
        successor.restore(saved);
        // A start takes longer than the microseconds in which steps follow one another.
        while time::now().0 / 1000 <= told[5] {}
        successor.end(time::now(), id, exit::DONE, "done".to_owned());
        let now = numbers(&successor, id);
        assert_eq!(now[0], told[0]);
        assert!(now.len() == 2 && now[1] > told[5], "{now:?} after {told:?}");
    }

    #[test]
    fn steps_of_an_older_version_are_read_and_go_before_those_that_follow() {
        let text =
            r#"{"began":1,"steps":[{"step":"waiting","text":"x"}],"generation":null,"ended":false,"drained":false}"#;
        let mut operation: Operation = serde_json::from_str(text).unwrap();
        operation.add(waiting("y"));
        let numbered: Vec<bool> = operation.steps.iter().map(|step| step.number.is_some()).collect();
        assert_eq!(numbered, [false, true]);
    }
}
