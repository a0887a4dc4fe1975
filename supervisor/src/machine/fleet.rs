//! The state of the fleet, and the requests that wait.

use gin_shared::control::OperationId;
use gin_shared::generation::Generation;
use serde::{Deserialize, Serialize};

use super::generation::Run;
use crate::moment::Moment;

/// The state of the fleet. Generations on their way out are kept beside it.
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
        /// The generation that serves.
        current: Run,
        /// The generation that is to serve.
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
    /// The generation.
    pub generation: Generation,
    /// Its workers, once it is frozen.
    pub run: Option<Run>,
    /// The number of workers in its configuration.
    #[serde(default)]
    pub configured: u32,
    /// The request that it was made for.
    pub request: Restart,
    /// The moment when it began.
    pub began: Moment,
}

/// A request for a new generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restart {
    /// The operations that wait for it.
    pub operations: Vec<OperationId>,
    /// The name of whoever asked first.
    pub asked_by: String,
    /// True if a signal asked, too: its sender waits for no answer.
    #[serde(default)]
    pub unattended: bool,
    /// The generation to bring back; else what the configuration says now.
    #[serde(default)]
    pub rollback: Option<Generation>,
}

/// A request for another number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// The operations that wait for it.
    pub operations: Vec<OperationId>,
    /// The number of workers.
    pub workers: u32,
}

/// Requests that wait for the upgrade under way. One restart serves all that were made before it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// A restart.
    pub restart: Option<Restart>,
    /// A change of number; the last one counts.
    pub scale: Option<Scale>,
}

/// An upgrade in place that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reexec {
    /// The operations that wait for it.
    pub operations: Vec<OperationId>,
    /// The step that it has reached.
    pub stage: ReexecStage,
}

/// The steps of an upgrade in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReexecStage {
    /// The new program is asked whether it can take over.
    Checking,
    /// It can; nothing may be on its way when it does.
    Checked,
    /// The driver was told to execute it.
    Executing,
}

/// A number of workers that was asked for holds until the configuration says another number than it did then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scaled {
    /// The number in the configuration.
    pub configured: u32,
    /// The number that was asked for.
    pub workers: u32,
}
