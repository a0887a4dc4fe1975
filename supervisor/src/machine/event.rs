//! Events: everything that happens to the machine.

use std::collections::HashMap;
use std::time::Duration;

use gin_shared::control::OperationId;
use gin_shared::generation::{Generation, WorkerId};

use super::failure::{CommandError, Failure, ProbeError};
use super::plan::Plan;
use crate::exit_status::Exit;
use crate::moment::Moment;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request for a new generation. Before boot: the first one.
    Restart {
        /// The operation to answer.
        operation: Option<OperationId>,
        /// The name for the history.
        asked_by: String,
        /// The choice between waiting and refusing while another upgrade is under way.
        queue: Queue,
    },
    /// A request to bring a good generation back.
    Rollback {
        /// The operation to answer.
        operation: Option<OperationId>,
        /// The name for the history.
        asked_by: String,
        /// The generation to bring back.
        to: RollbackTo,
    },
    /// A request to upgrade the master itself in place.
    Reexec {
        /// The operation to answer.
        operation: Option<OperationId>,
        /// The choice between waiting and refusing while workers are on their way.
        queue: Queue,
    },
    /// The program that is to become the master can take over, or cannot.
    ReexecChecked(Result<(), Failure>),
    /// The new program was not executed. Without a reason: workers are on their way again, so it is executed later.
    ReexecFailed(Option<String>),
    /// Re-exec succeeded; first event in the new process.
    Reexeced,
    /// The master before this one has died; first event in the master that found its workers.
    Adopted {
        /// The workers that live, with their PIDs.
        alive: HashMap<WorkerId, i32>,
        /// The generations whose frozen configuration is at hand.
        kept: Vec<Generation>,
    },
    /// A request to call an upgrade off.
    Cancel {
        /// The operation to answer.
        operation: Option<OperationId>,
        /// The operation to call off; `None`: the upgrade under way and those that wait.
        target: Option<OperationId>,
        /// The reason that their callers are told.
        because: String,
    },
    /// A request for more or fewer workers.
    Scale {
        /// The operation to answer.
        operation: Option<OperationId>,
        /// The number.
        to: ScaleTo,
    },
    /// A request to stop.
    Stop {
        /// The operation to answer.
        operation: Option<OperationId>,
        /// The way in which it was asked for.
        by: StopBy,
    },
    /// The driver has frozen a generation, or could not.
    Prepared {
        /// The generation.
        generation: Generation,
        /// Its plan, or the failure.
        plan: Result<Plan, Failure>,
    },
    /// An event of a worker.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// The event.
        what: WorkerEvent,
    },
    /// Everything that came before this moment has been read, so deadlines up to it can be judged.
    Time(Moment),
}

/// The choice of a restart while another upgrade is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Waits its turn.
    Wait,
    /// Is answered `busy`.
    Refuse,
}

/// The generation that a rollback is to bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackTo {
    /// The last good one. Refused if an upgrade has failed since: what serves is what `restart || rollback` wants.
    Last,
    /// The last good one, also after an upgrade that failed.
    LastForced,
    /// This one.
    Exactly(Generation),
}

/// The number of workers to scale to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleTo {
    /// This number.
    Exactly(u32),
    /// Number of workers more than when everything under way is done; fewer, if it is negative (TTIN, TTOU: one).
    By(i32),
}

/// The way in which a stop is asked for. It decides what becomes of a stop that is under way already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBy {
    /// A command: drains. It joins a stop that is under way, so that a command typed twice cuts nobody.
    Command,
    /// A command that waits for no request: kills.
    FastCommand,
    /// A signal: drains. The second signal kills.
    Signal,
}

/// The speed of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Drain.
    Graceful,
    /// Kill.
    Fast,
}

/// Everything that happens to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It has a process, which the state file knows.
    Spawned {
        /// Its PID.
        pid: i32,
    },
    /// It could not be given one; nothing else follows.
    SpawnFailed {
        /// The reason.
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
    /// Its processes hold this many bytes, which is more than they may.
    Overweight(u64),
    /// It has announced itself, and was given a channel: it waits for `go`.
    Announced,
    /// It said over the channel that it accepts.
    Accepting,
    /// It said over the channel that it has no room for new connections.
    Full,
    /// It drains, and said over the channel that none of the workers that were to take its connections does.
    NoTaker,
    /// It said over the channel how many connections it has.
    Load,
    /// It said STOPPING=1: it ends, whoever has told it to.
    Stopping,
    /// It asked for time (EXTEND_TIMEOUT_USEC).
    Extend(Duration),
    /// Its process is gone and reaped. The last event of this worker.
    Exited {
        /// The exit status.
        exit: Exit,
        /// 0 to 1000: spreads the restarts of workers that crash together.
        jitter: u16,
    },
}
