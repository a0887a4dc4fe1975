//! The states of a worker, the parts of its life that they belong to, and its progress on the way to serve.
//!
//! What each state means, and by what it is left, stands in the table at the head of [`super::worker`].

use serde::{Deserialize, Serialize};

use super::event::WorkerEvent;
use crate::moment::{Deadline, Moment};

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// The driver was asked for a process.
    Spawning,
    /// The driver was asked for a process that is not wanted any more.
    Doomed,
    /// The exec helper prepares the process.
    Executing(Deadline),
    /// The program runs. `next`: when it counts as ready by age, or when the next check is due.
    Starting {
        /// When patience ends.
        deadline: Deadline,
        /// The next thing to do before that.
        next: Option<Moment>,
    },
    /// The operator's warm-up runs.
    WarmingUp(Deadline),
    /// It is probed.
    Probing(Deadline),
    /// Fit to serve, not told to.
    Ready,
    /// Told to accept, has not said so.
    Going(Deadline),
    /// Accepts.
    Serving,
    /// Sent SIGABRT.
    Aborting(Deadline),
    /// Told to end.
    Draining(Deadline),
    /// Sent SIGKILL.
    Killed,
}

impl WorkerState {
    /// The state in a word, for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Spawning | Self::Executing(_) => "spawning",
            Self::Starting { .. } => "starting",
            Self::WarmingUp(_) => "warming up",
            Self::Probing(_) => "probing",
            Self::Ready | Self::Going(_) => "ready",
            Self::Serving => "serving",
            Self::Draining(_) => "draining",
            Self::Aborting(_) => "aborting",
            Self::Doomed | Self::Killed => "killed",
        }
    }

    /// The progress of a worker on its way to serve.
    #[must_use]
    pub fn progress(self) -> Progress {
        match self {
            Self::Spawning
            | Self::Doomed
            | Self::Executing(_)
            | Self::Aborting(_)
            | Self::Draining(_)
            | Self::Killed => Progress::None,
            Self::Starting { .. } => Progress::Started,
            Self::WarmingUp(_) => Progress::Ready,
            Self::Probing(_) => Progress::WarmedUp,
            Self::Ready | Self::Going(_) => Progress::Fit,
            Self::Serving => Progress::Serving,
        }
    }

    /// The part of a worker's life that the state belongs to.
    #[must_use]
    pub fn part(self) -> Part {
        match self {
            Self::Spawning | Self::Doomed => Part::Ordered,
            Self::Executing(_) => Part::Executing,
            Self::Starting { .. } | Self::WarmingUp(_) | Self::Probing(_) | Self::Ready | Self::Going(_) => Part::Gated,
            Self::Serving => Part::Serving,
            Self::Aborting(_) | Self::Draining(_) | Self::Killed => Part::Ending,
        }
    }

    /// True if an event means something in this state. All others come too early or too late, and are passed over.
    #[must_use]
    pub fn expects(self, event: &WorkerEvent) -> bool {
        let part = self.part();
        match event {
            WorkerEvent::Spawned { .. } | WorkerEvent::SpawnFailed { .. } => part == Part::Ordered,
            WorkerEvent::Executed | WorkerEvent::ExecFailed { .. } => part == Part::Executing,
            // READY=1 may overtake the news that the program runs: the two come over different sockets.
            WorkerEvent::Ready => matches!(self, Self::Executing(_) | Self::Starting { .. }),
            WorkerEvent::Checked(_) => matches!(self, Self::Starting { .. }),
            WorkerEvent::WarmedUp(_) => matches!(self, Self::WarmingUp(_)),
            WorkerEvent::Probed(_) => matches!(self, Self::Probing(_)),
            // It may overtake the news that the program runs, too. Whoever was told to accept before it was given a channel serves.
            WorkerEvent::Announced => part == Part::Executing || part == Part::Gated,
            WorkerEvent::Accepting => matches!(self, Self::Going(_)),
            WorkerEvent::Alive
            | WorkerEvent::Hangs
            | WorkerEvent::Overweight(_)
            | WorkerEvent::Full
            | WorkerEvent::Load => part == Part::Serving,
            WorkerEvent::NoTaker => matches!(self, Self::Draining(_)),
            // A worker that was told to end says it, too.
            WorkerEvent::Stopping => part == Part::Gated || part == Part::Serving,
            WorkerEvent::Extend(_) => (part == Part::Gated && self != Self::Ready) || matches!(self, Self::Draining(_)),
            // Before that no process was made known.
            WorkerEvent::Exited { .. } => part != Part::Ordered,
        }
    }

    /// The deadline that EXTEND_TIMEOUT_USEC can move.
    pub(super) fn deadline_mut(&mut self) -> Option<&mut Deadline> {
        match self {
            Self::Starting { deadline, .. }
            | Self::Executing(deadline)
            | Self::WarmingUp(deadline)
            | Self::Probing(deadline)
            | Self::Going(deadline)
            | Self::Aborting(deadline)
            | Self::Draining(deadline) => Some(deadline),
            Self::Spawning | Self::Doomed | Self::Ready | Self::Serving | Self::Killed => None,
        }
    }
}

/// A part of a worker's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The driver was asked for a process, and has not answered.
    Ordered,
    /// The exec helper prepares the process.
    Executing,
    /// The program runs and passes its gate.
    Gated,
    /// The worker serves.
    Serving,
    /// The worker was told to end.
    Ending,
}

/// The progress of a worker on its way to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Its program does not run yet, or is to end.
    None,
    /// Its program runs.
    Started,
    /// It is ready.
    Ready,
    /// It is warmed up, or needs not be.
    WarmedUp,
    /// It has passed its probe, or has none.
    Fit,
    /// It serves.
    Serving,
}
