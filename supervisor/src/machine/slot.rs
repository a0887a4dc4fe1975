//! A slot of a generation: its occupant, and the successor of that.

use std::time::Duration;

use gin_shared::generation::{Generation, Slot, WorkerId};
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::failure::{Failure, Unfit};
use super::worker::{Progress, Worker};
use crate::moment::Moment;

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlotRun {
    /// Its number.
    pub slot: Slot,
    /// Its occupant.
    pub occupant: Occupant,
    /// The worker that takes the place of an unfit one, once it serves.
    #[serde(default)]
    pub successor: Occupant,
    /// The reason to replace the worker in it.
    #[serde(default)]
    pub unfit: Option<Unfit>,
    /// The number of workers in a row that were too large soon after they were started.
    #[serde(default)]
    pub quick: u32,
    /// True if a rolling candidate has taken its place.
    #[serde(default)]
    pub yielded: bool,
    /// True if a change of the number of workers has taken it away: nobody else comes into it.
    #[serde(default)]
    pub surplus: bool,
    /// The number of workers that it has had.
    pub attempts: u32,
    /// The number of workers that failed in a row.
    pub failures: u32,
    /// The last failure of a worker in it, for people.
    #[serde(default)]
    pub last_failure: Option<LastFailure>,
}

/// The last failure of a worker in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastFailure {
    /// The failure.
    pub failure: Failure,
    /// The moment when the worker was gone.
    pub at: Moment,
}

/// The occupant of a slot.
#[expect(clippy::large_enum_variant, reason = "one a slot, and most slots have a worker")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occupant {
    /// A worker.
    Worker(Worker),
    /// Nobody before this moment.
    Backoff(Moment),
    /// Nobody any more.
    #[default]
    Vacant,
}

impl Occupant {
    /// The worker, if it is one.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        match self {
            Self::Worker(worker) => Some(worker),
            Self::Backoff(_) | Self::Vacant => None,
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut Worker> {
        match self {
            Self::Worker(worker) => Some(worker),
            Self::Backoff(_) | Self::Vacant => None,
        }
    }

    fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Worker(worker) => worker.deadline(),
            Self::Backoff(until) => Some(*until),
            Self::Vacant => None,
        }
    }
}

impl SlotRun {
    pub(super) fn new(slot: Slot) -> Self {
        Self {
            slot,
            occupant: Occupant::Vacant,
            successor: Occupant::Vacant,
            unfit: None,
            quick: 0,
            yielded: false,
            surplus: false,
            attempts: 0,
            failures: 0,
            last_failure: None,
        }
    }

    /// Its worker, if it has one.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        self.occupant.worker()
    }

    /// True if a worker is to be in it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.surplus && !self.yielded
    }

    /// Progress of its worker on its way to serve; nothing if it has none. A worker that hangs serves nobody.
    pub(super) fn service(&self) -> Option<Progress> {
        let hangs = matches!(self.unfit, Some(Unfit::Hangs(_)));
        self.worker().map(|worker| if hangs { Progress::None } else { worker.state.progress() })
    }

    /// True if nobody is in it, nor to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occupant == Occupant::Vacant && self.successor == Occupant::Vacant
    }

    /// The age that a worker must have before it is replaced for its size: a limit that every worker exceeds must not fill the
    /// machine with them.
    pub(super) fn rest(&self) -> Duration {
        const FIRST: Duration = Duration::from_secs(2);
        const LONGEST: Duration = Duration::from_secs(300);
        match self.quick {
            0 => Duration::ZERO,
            quick => FIRST.saturating_mul(1 << quick.min(16)).min(LONGEST),
        }
    }

    fn next(&mut self, now: Moment, generation: Generation, out: &mut Vec<Action>) -> Occupant {
        let id = WorkerId { generation, slot: self.slot, attempt: self.attempts };
        self.attempts += 1;
        Occupant::Worker(Worker::spawn(now, id, out))
    }

    pub(super) fn spawn(&mut self, now: Moment, generation: Generation, out: &mut Vec<Action>) {
        self.occupant = self.next(now, generation, out);
    }

    /// Orders its next worker once `wait` is over.
    pub(super) fn spawn_after(&mut self, now: Moment, wait: Duration, generation: Generation, out: &mut Vec<Action>) {
        if wait.is_zero() {
            self.spawn(now, generation, out);
        } else {
            self.occupant = Occupant::Backoff(now + wait);
        }
    }

    pub(super) fn spawn_successor(&mut self, now: Moment, generation: Generation, out: &mut Vec<Action>) {
        self.successor = self.next(now, generation, out);
    }

    /// Orders the worker whose backoff was over at `read`.
    pub(super) fn end_backoff(&mut self, now: Moment, read: Moment, generation: Generation, out: &mut Vec<Action>) {
        if matches!(self.occupant, Occupant::Backoff(until) if until <= read) {
            self.spawn(now, generation, out);
        }
        if matches!(self.successor, Occupant::Backoff(until) if until <= read) {
            self.spawn_successor(now, generation, out);
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.occupant.deadline().into_iter().chain(self.successor.deadline()).min()
    }
}
