//! The upgrades that ended, newest last.

use std::time::Duration;

use gin_shared::control::Phase;
use gin_shared::generation::Generation;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::moment::Moment;

/// The number of records that are kept.
pub const LENGTH: usize = 50;

/// One upgrade that ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The generation that it made.
    pub generation: Generation,
    /// The name of its release.
    pub release: Option<String>,
    /// The reason why it did not become current; `None` if it did.
    pub failure: Option<Failure>,
    /// The last lines of the worker that it failed by, where they could be read.
    #[serde(default)]
    pub said: Vec<String>,
    /// The name of whoever asked.
    pub asked_by: String,
    /// The generation that it was to bring back.
    #[serde(default)]
    pub rollback: Option<Generation>,
    /// The phases that were reached, and the time that each took.
    pub phases: Vec<(Phase, Duration)>,
    /// The moment when it ended.
    pub ended: Moment,
    /// The time that it took.
    pub took: Duration,
}

/// The upgrades that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<Record>);

impl History {
    /// Adds one; the oldest is forgotten.
    pub fn push(&mut self, record: Record) {
        self.0.push(record);
        // There may be more of them: another version has kept them.
        self.0.drain(..self.0.len().saturating_sub(LENGTH));
    }

    /// Keeps the last lines of the worker that the upgrade to `generation` failed by.
    pub fn quote(&mut self, generation: Generation, said: Vec<String>) {
        if let Some(record) = self.0.iter_mut().rev().find(|record| record.generation == generation) {
            record.said = said;
        }
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.0.iter()
    }
}
