//! Actions: everything that the machine wants done, and everything that it reports.

use std::time::Duration;

use gin_shared::channel::DrainReason;
use gin_shared::control::{OperationId, Phase};
use gin_shared::generation::{Generation, WorkerId};

use super::failure::{Failure, Unfit};
use crate::exit_status::Exit;

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Something about a worker.
    Worker(WorkerId, WorkerAction),
    /// Something about a generation.
    Generation(Generation, GenerationAction),
    /// Something about the master itself.
    Master(MasterAction),
    /// The one answer that an operation gets.
    Answer(OperationId, Answer),
    /// A transition, to log and to tell whoever listens.
    Report(Report),
}

/// An order for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerAction {
    /// Make a process; answer with `Spawned` or `SpawnFailed`.
    Spawn,
    /// Run the operator's ready check; answer with `Checked`.
    Check,
    /// Run the operator's warm-up; answer with `WarmedUp`.
    WarmUp,
    /// Probe it; answer with `Probed`.
    Probe,
    /// Let it accept; a worker with a channel answers with `Accepting`.
    Go,
    /// Ask it to finish and exit.
    Drain(DrainReason),
    /// It ends by itself, so it gets no order to finish: have it give its connections to others.
    HandOver,
    /// It has no room for new connections: have it give idle ones to others that have.
    Relieve,
    /// It drains, and none of the workers that were to take its connections does: name others that serve.
    Redirect,
    /// It has told how many connections it has: look whether workers are to share their load.
    Balance,
    /// Send SIGABRT, because it hangs.
    Abort,
    /// Send SIGKILL to its process group.
    Kill,
}

/// A step of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationAction {
    /// Freeze it; answer with `Prepared`.
    Prepare {
        /// The generation to freeze again; `None`: the configuration as it is now.
        from: Option<Generation>,
    },
    /// It has no worker left, but may be brought back: keep what was frozen for it, let go of its sockets.
    Keep,
    /// It is gone: drop what was frozen for it.
    Forget,
}

/// A step of the master itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterAction {
    /// Ask the program that is to become the master whether it can take over; answer with `ReexecChecked`.
    CheckReexec,
    /// Become it; answer with `Reexeced` there, or `ReexecFailed` here.
    Reexec,
    /// Everybody was told to end: close the listeners. Workers have their own copies, so clients are refused as soon as the last
    /// worker accepts no more.
    CloseListeners,
    /// Nothing is left: leave with this code.
    Exit(u8),
}

impl Action {
    /// The worker that it is for.
    #[must_use]
    pub fn worker(&self) -> Option<WorkerId> {
        if let Self::Worker(id, _) = self { Some(*id) } else { None }
    }

    /// True if the state is written before it is done. After a relief, with other takers, or with a shared load, everything is as it
    /// was, for whoever comes next.
    #[must_use]
    pub fn is_saved_ahead(&self) -> bool {
        !matches!(
            self,
            Self::Report(_) | Self::Worker(_, WorkerAction::Relieve | WorkerAction::Redirect | WorkerAction::Balance)
        )
    }

    /// True if it tells a worker to end in a way that must not be repeated.
    #[must_use]
    pub fn is_order_to_end(&self) -> bool {
        matches!(self, Self::Worker(_, WorkerAction::Drain(_) | WorkerAction::HandOver | WorkerAction::Abort))
    }
}

/// The end of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A new generation serves.
    Restarted {
        /// The new one.
        generation: Generation,
        /// The one that drains now.
        previous: Generation,
    },
    /// This number of workers serves.
    Scaled(u32),
    /// A worker failed before so many served; it is tried again.
    Incomplete {
        /// The failure.
        failure: Failure,
        /// The number that was asked for.
        workers: u32,
    },
    /// Called off as asked.
    CancelDone,
    /// Another program is the master now, and everything else as it was.
    Reexeced,
    /// The master that was asked died before it was done.
    Died,
    /// This program stays the master.
    NotReexeced(Failure),
    /// All is stopped.
    Stopped,
    /// The operation failed, and the generation that served before still serves.
    Failed(Failure),
    /// Somebody else called it off.
    Cancelled(String),
    /// Something else is under way and the caller would not wait.
    Busy(String),
    /// The operation makes no sense now.
    Refused(String),
}

/// A transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An upgrade has to wait.
    Waiting {
        /// The operations that wait.
        operations: Vec<OperationId>,
        /// The reason.
        text: String,
    },
    /// A candidate was made, for these operations.
    Candidate {
        /// The generation.
        generation: Generation,
        /// The operations that wait for it.
        operations: Vec<OperationId>,
        /// The name of whoever asked.
        asked_by: String,
    },
    /// A candidate has reached something.
    Phase {
        /// The generation.
        generation: Generation,
        /// The phase.
        phase: Phase,
        /// The number of workers.
        workers: u32,
        /// The time since the phase before.
        took: Duration,
    },
    /// A rolling candidate serves in one slot more.
    Replaced {
        /// The generation.
        generation: Generation,
        /// The number of slots in which it serves.
        slots: u32,
        /// The number of all slots.
        workers: u32,
        /// The time since the slot before.
        took: Duration,
    },
    /// A candidate was withdrawn.
    Withdrawn {
        /// The generation.
        generation: Generation,
        /// The phase that it had not reached.
        phase: Phase,
        /// The failure.
        failure: Failure,
        /// The worker whose failure it was, to quote its last words.
        worker: Option<WorkerId>,
    },
    /// It has no worker left.
    Gone {
        /// The generation.
        generation: Generation,
        /// The time since it began to drain.
        took: Duration,
    },
    /// A worker has changed its state.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Option<i32>,
        /// The new state.
        what: WorkerReport,
        /// The time since the state before.
        took: Duration,
    },
    /// Everything is to end.
    Stopping(Speed),
    /// The number of workers was changed.
    Scaled {
        /// From.
        from: u32,
        /// To.
        to: u32,
    },
    /// A request was passed over.
    Ignored(String),
}

pub use super::event::Speed;

/// The reason why a worker was sent SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// It still ran when its time to drain was over.
    DrainTimeout,
    /// It hung, and SIGABRT did not end it in time.
    Hangs,
    /// It was not wanted any more before its program ran, or its program could not be started.
    NotStarted,
    /// Somebody asked for a stop that waits for nobody.
    FastStop,
}

/// The new state of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerReport {
    /// Its process exists.
    Spawned,
    /// Its program runs.
    Started,
    /// It is ready.
    Ready,
    /// It is warmed up.
    WarmedUp,
    /// It was probed, with this result.
    Probed(String),
    /// It serves.
    Serving,
    /// It drains.
    Draining,
    /// It said itself that it ends: somebody else has told it to.
    Stopping,
    /// It is to be replaced.
    Unfit(Unfit),
    /// It was sent SIGABRT.
    Aborted,
    /// It was sent SIGKILL.
    Killed(KillReason),
    /// It ended as it was told to.
    Exited(Exit),
    /// It failed.
    Failed(Failure),
    /// Another one takes its slot after this time.
    Respawn(Duration),
}
