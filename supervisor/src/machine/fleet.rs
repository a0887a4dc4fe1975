//! What the fleet is doing, and what waits.

use gin_shared::control::OperationId;
use gin_shared::generation::Generation;
use serde::{Deserialize, Serialize};

use super::generation::Run;
use crate::moment::Moment;

/// What the fleet is doing. Generations on their way out are kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a master")]
pub enum Fleet {
    /// Nothing was asked for yet.
    Idle,
    /// The first generation is on its way.
    Booting(Candidate),
    /// One generation serves.
    Serving(Run),
    /// One serves, one is on its way.
    Upgrading {
        /// What serves.
        current: Run,
        /// What is to.
        candidate: Candidate,
    },
    /// All are on their way out; then the master leaves with this code.
    Stopping {
        /// The master's exit code.
        code: u8,
    },
    /// The machine has said `Exit`.
    Stopped,
}

/// A generation not yet current, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub generation: Generation,
    /// Its workers, once it is frozen.
    pub run: Option<Run>,
    /// What its configuration says of the number of workers.
    #[serde(default)]
    pub configured: u32,
    /// Who waits for it, and why it is there.
    pub request: Restart,
    /// When it began.
    pub began: Moment,
}

/// A wish for a new generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restart {
    /// Who waits for it.
    pub operations: Vec<OperationId>,
    /// Who asked first.
    pub asked_by: String,
    /// Whether somebody asked who waits for no answer: a signal.
    #[serde(default)]
    pub unattended: bool,
    /// The generation to bring back; else what the configuration says now.
    #[serde(default)]
    pub rollback: Option<Generation>,
}

/// A wish for another number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// Who waits for it.
    pub operations: Vec<OperationId>,
    /// How many.
    pub workers: u32,
}

/// What waits for the upgrade under way. One restart serves all who asked before it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// A restart.
    pub restart: Option<Restart>,
    /// A change of number; the last one counts.
    pub scale: Option<Scale>,
}

/// A number of workers that was asked for holds until the configuration says another number than it did then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scaled {
    /// What the configuration said.
    pub configured: u32,
    /// What was asked for.
    pub workers: u32,
}
