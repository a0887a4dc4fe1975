//! Body of `GET /v1/status`, `GET /v1/history` and `GET /v1/certificates`.

use serde::{Deserialize, Serialize};

use crate::channel::Fates;
use crate::control::Phase;
use crate::generation::{Generation, WorkerId};

/// What an instance does now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub instance: String,
    /// In one word.
    pub state: State,
    /// True if fewer workers serve than should, or clients wait and nobody accepts.
    pub degraded: bool,
    /// True if a slot is in a crash loop: from the second failure in a row of its workers until one has served for a while.
    #[serde(default)]
    pub crash_loop: bool,
    /// The master's PID.
    pub pid: i32,
    /// The master's version.
    pub version: String,
    /// Since the master started, in milliseconds.
    pub uptime_ms: u64,
    /// Where the PID stands.
    pub pid_file: String,
    /// Where to send commands.
    pub control: String,
    /// How many workers there should be.
    pub workers: u32,
    /// What clients connect to.
    pub listeners: Vec<Listener>,
    /// The steps that contain the current generation's workers, and what of them cannot be had here.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// The current one first, then the candidate, then those that drain.
    pub generations: Vec<GenerationStatus>,
    /// The generation that a rollback would bring back.
    #[serde(default)]
    pub rollback: Option<Generation>,
    /// The newest upgrade that ended.
    pub last_upgrade: Option<Upgrade>,
    /// The fates of connections in all drains. Each master goes on from the one whose workers it has taken over.
    #[serde(default)]
    pub connections: Fates,
    /// Troubles that there are though workers serve, or that keep the first generation waiting: a sentence each, with what to do.
    #[serde(default)]
    pub problems: Vec<String>,
    /// The newest generation that drained, and is gone.
    #[serde(default)]
    pub drained: Option<Drained>,
}

/// A generation that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Which.
    pub generation: Generation,
    /// What became of its connections.
    pub connections: Fates,
}

/// The fleet in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The first generation is on its way.
    Booting,
    /// One generation serves.
    Serving,
    /// One serves, one is on its way.
    Upgrading,
    /// All are on their way out.
    Stopping,
    /// A generation is current, and no worker serves.
    Down,
    /// A state that a later version has.
    #[serde(other)]
    Other,
}

/// A socket that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where it listens, with the port that was chosen.
    pub address: String,
    /// How many connections wait to be accepted; unknown for Unix sockets.
    pub queue: Option<u32>,
    /// How many may.
    pub backlog: u32,
    /// True if clients speak TLS there.
    #[serde(default)]
    pub tls: bool,
}

/// What a generation is to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It serves.
    Current,
    /// It is to.
    Candidate,
    /// It did, or was not fit to.
    Leaving,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number.
    pub generation: Generation,
    /// Its name.
    pub release: Option<String>,
    /// What it is to the fleet.
    pub role: Role,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// What has become of its connections, once it drains; of workers of ours alone.
    #[serde(default)]
    pub connections: Option<Fates>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its place.
    pub slot: u32,
    /// Its process, while there is one.
    pub pid: Option<i32>,
    /// In one word.
    pub state: String,
    /// Since its program was started, in milliseconds.
    pub age_ms: u64,
    /// How often its slot was started again.
    pub restarts: u32,
    /// When it is cut or started again, in milliseconds from now.
    pub deadline_ms: Option<u64>,
    /// What it last said by STATUS=.
    pub said: Option<String>,
    /// Failure of the last worker of its slot.
    #[serde(default)]
    pub last_failure: Option<LastFailure>,
}

/// The last failure of a worker in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// In a sentence, with slot, PID and exit status where they are known.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// A certificate that workers use: the newest valid one of its files. `GET /v1/certificates` has a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// A name for people: the first that it is for.
    pub name: String,
    /// All names that it is for.
    pub names: Vec<String>,
    /// The authority that has signed it, in one word.
    pub issuer: String,
    /// When it ends, in milliseconds since 1970.
    pub ends_ms: u64,
    /// Its file.
    pub file: String,
    /// Rises with each change of what workers are given; this is the number with which this certificate came.
    pub number: u64,
    /// Reason for which its files, as they are on disk now, are not used. `None`: they are in use.
    #[serde(default)]
    pub bad: Option<String>,
    /// Workers that could not use it, and go on with what they had; each with its reason.
    #[serde(default)]
    pub refused: Vec<(WorkerId, String)>,
}

/// One upgrade that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The generation that it made.
    pub generation: Generation,
    /// Its name.
    pub release: Option<String>,
    /// Whether that became current.
    pub done: bool,
    /// True if somebody called it off: then it is neither done nor failed.
    #[serde(default)]
    pub cancelled: bool,
    /// Why it did not become current.
    pub reason: Option<String>,
    /// Who asked for it.
    pub asked_by: String,
    /// The generation that it was to bring back, if it was a rollback.
    #[serde(default)]
    pub rollback: Option<Generation>,
    /// The last lines of the worker that it failed by, where the supervisor could read them.
    #[serde(default)]
    pub said: Vec<String>,
    /// The PID of that worker, to find more in the log.
    #[serde(default)]
    pub pid: Option<i32>,
    /// What it reached.
    #[serde(default)]
    pub phases: Vec<PhaseTook>,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What an upgrade reached, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTook {
    /// What.
    pub phase: Phase,
    /// Since the phase before, in milliseconds.
    pub took_ms: u64,
}
