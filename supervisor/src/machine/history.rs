//! The upgrades that ended, newest last.

use std::time::Duration;

use gin_shared::control::Phase;
use gin_shared::generation::Generation;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::moment::Moment;

/// How many are kept.
pub const LENGTH: usize = 50;

/// One upgrade that ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The generation that it made.
    pub generation: Generation,
    /// Its name.
    pub release: Option<String>,
    /// Why it did not become current; `None` if it did.
    pub failure: Option<Failure>,
    /// Who asked.
    pub asked_by: String,
    /// The generation that it was to bring back.
    #[serde(default)]
    pub rollback: Option<Generation>,
    /// What was reached, and how long each took.
    pub phases: Vec<(Phase, Duration)>,
    /// When it ended.
    pub ended: Moment,
    /// How long it took.
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

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.0.iter()
    }
}
