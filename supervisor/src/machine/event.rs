//! What happens to the machine.

use std::collections::HashMap;
use std::time::Duration;

use gin_shared::control::OperationId;
use gin_shared::generation::{Generation, WorkerId};

use super::failure::{CommandError, Failure, ProbeError};
use super::plan::Plan;
use crate::exit_status::Exit;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants a new generation. Before boot: the first one.
    Restart {
        /// Whom to answer.
        operation: Option<OperationId>,
        /// For the history.
        asked_by: String,
        /// What to do while another upgrade is under way.
        queue: Queue,
    },
    /// Somebody wants the last good generation back.
    Rollback {
        /// Whom to answer.
        operation: Option<OperationId>,
        /// For the history.
        asked_by: String,
    },
    /// Somebody wants the master itself upgraded in place.
    Reexec {
        /// Whom to answer.
        operation: Option<OperationId>,
        /// What to do while workers are on their way.
        queue: Queue,
    },
    /// The program that is to become the master can take over, or cannot.
    ReexecChecked(Result<(), Failure>),
    /// It was not executed; without a reason: something is on its way again, later then.
    ReexecFailed(Option<String>),
    /// It was: this is the first that the machine hears there.
    Reexeced,
    /// The master before this one has died: the first that the machine hears from the one that found it.
    Adopted {
        /// The workers that live, with their PIDs.
        alive: HashMap<WorkerId, i32>,
        /// The generations whose frozen configuration is at hand.
        kept: Vec<Generation>,
    },
    /// Somebody wants an upgrade called off.
    Cancel {
        /// Whom to answer.
        operation: Option<OperationId>,
        /// Which one; else the one under way and those that wait.
        target: Option<OperationId>,
        /// What those are told.
        because: String,
    },
    /// Somebody wants more or fewer workers.
    Scale {
        /// Whom to answer.
        operation: Option<OperationId>,
        /// How many.
        to: ScaleTo,
    },
    /// Somebody wants everything to end.
    Stop {
        /// Whom to answer.
        operation: Option<OperationId>,
        /// How.
        speed: Speed,
    },
    /// The driver has frozen a generation, or could not.
    Prepared {
        /// Which.
        generation: Generation,
        /// What the machine needs of it, or why not.
        plan: Result<Plan, Failure>,
    },
    /// Something happened to a worker.
    Worker {
        /// Whom.
        worker: WorkerId,
        /// What.
        what: WorkerEvent,
    },
    /// The deadline that was asked for has come.
    Time,
}

/// What a restart does while another upgrade is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Waits its turn.
    Wait,
    /// Is answered `busy`.
    Refuse,
}

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleTo {
    /// So many.
    Exactly(u32),
    /// One more (TTIN).
    More,
    /// One fewer, but one at least (TTOU).
    Fewer,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Drain; asked for twice it is fast.
    Graceful,
    /// Kill.
    Fast,
}

/// What happened to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It has a process, which is recorded now.
    Spawned {
        /// Its PID.
        pid: i32,
    },
    /// It could not be given one; nothing else follows.
    SpawnFailed {
        /// Why.
        error: String,
    },
    /// Its program runs.
    Executed,
    /// Its program could not be started; `Exited` follows.
    ExecFailed {
        /// The step and its error.
        error: String,
    },
    /// It said READY=1.
    Ready,
    /// The operator's check ended.
    Checked(Result<(), CommandError>),
    /// The operator's warm-up ended.
    WarmedUp(Result<(), CommandError>),
    /// Its probe came to a result: what was answered, or what was wrong.
    Probed(Result<String, ProbeError>),
    /// It said WATCHDOG=1.
    Alive,
    /// It said WATCHDOG=trigger: it knows itself that it hangs.
    Hangs,
    /// Its processes hold so many bytes, which is more than they may.
    Overweight(u64),
    /// It said over the channel that it accepts.
    Accepting,
    /// It asked for time (EXTEND_TIMEOUT_USEC).
    Extend(Duration),
    /// Its process is gone and reaped. The last event of this worker.
    Exited {
        /// How.
        exit: Exit,
        /// 0 to 1000: spreads the restarts of workers that crash together.
        jitter: u16,
    },
}
