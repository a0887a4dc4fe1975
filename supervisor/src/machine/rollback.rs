//! Back to a generation that served before, as it was frozen then.

use gin_shared::control::OperationId;
use gin_shared::generation::Generation;

use super::action::{Action, Answer, GenerationAction};
use super::event::RollbackTo;
use super::fleet::{Fleet, Restart};
use super::generation::Run;
use super::{HELD_BACK, Machine, answer, answer_all};
use crate::moment::Moment;

/// The number of generations that are kept to go back to.
pub const KEPT: usize = 3;

/// The reason for a generation whose program no descriptor was left of.
const PROGRAM_GONE: &str =
    "its program is gone, and nobody has kept it open since the supervisor died; deploy it again, and restart";

impl Machine {
    /// The generation that a rollback would bring back.
    #[must_use]
    pub fn rollback_target(&self) -> Option<Generation> {
        self.good.last().copied()
    }

    /// True if a generation is one that could be brought back.
    #[must_use]
    pub fn keeps(&self, generation: Generation) -> bool {
        self.good.contains(&generation)
    }

    pub(super) fn handle_rollback(
        &mut self,
        now: Moment,
        operation: Option<OperationId>,
        asked_by: String,
        to: RollbackTo,
        out: &mut Vec<Action>,
    ) {
        let refusal = match &self.fleet {
            Fleet::Serving(current) => match self.target_of(current.id, to) {
                Ok(target) => return self.roll_back(now, operation, asked_by, target, out),
                Err(why) => Answer::Refused(why),
            },
            Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } => Answer::Busy(format!(
                "generation {} is on its way, asked for by {}; gin-ctl cancel calls it off",
                candidate.generation, candidate.request.asked_by
            )),
            Fleet::Idle => Answer::Refused(HELD_BACK.to_owned()),
            Fleet::Stopping { .. } | Fleet::Stopped => Answer::Refused("the supervisor is stopping".to_owned()),
        };
        answer(operation, &refusal, out);
    }

    /// The generation that a rollback from `current` brings back, or the reason why there is none.
    fn target_of(&self, current: Generation, to: RollbackTo) -> Result<Generation, String> {
        let last = self.good.last().copied();
        match (to, last) {
            (RollbackTo::Exactly(generation), _) if self.good.contains(&generation) => Ok(generation),
            (RollbackTo::Exactly(generation), _) => Err(self.why_not(current, generation)),
            (RollbackTo::Last | RollbackTo::LastForced, None) => Err(self.why_none(current)),
            (RollbackTo::LastForced, Some(last)) => Ok(last),
            (RollbackTo::Last, Some(last)) => match self.failed_since(current) {
                Some(failed) => Err(format!(
                    "generation {failed} did not come to serve, and generation {current} serves as before: a rollback \
                     would bring generation {last} back, which is older; if that is meant: gin-ctl rollback --to {last}, \
                     or gin-ctl rollback --force"
                )),
                None => Ok(last),
            },
        }
    }

    /// The upgrade after `current` that has failed or was called off, if it is the last one. A rollback that has failed may
    /// be tried again.
    fn failed_since(&self, current: Generation) -> Option<Generation> {
        let last = self.history.iter().next_back()?;
        let failed = last.failure.is_some() && last.rollback.is_none() && last.generation > current;
        failed.then_some(last.generation)
    }

    /// The reason why `generation` cannot be brought back.
    fn why_not(&self, current: Generation, generation: Generation) -> String {
        let record = self.history.iter().rev().find(|record| record.generation == generation);
        let why = match record {
            _ if generation == current => "it serves".to_owned(),
            _ if self.lost.contains(&generation) => PROGRAM_GONE.to_owned(),
            Some(record) if record.failure.is_some() => "it was never good".to_owned(),
            Some(_) => {
                format!("it is not kept any more: a rollback leaves what came after, and the last {KEPT} are kept")
            }
            None => "the history does not know it".to_owned(),
        };
        let kept: Vec<String> = self.good.iter().map(ToString::to_string).collect();
        let others = match kept.as_slice() {
            [] => "nor any other".to_owned(),
            kept => format!("those that can: {}", kept.join(", ")),
        };
        format!("generation {generation} cannot be brought back: {why}; {others}")
    }

    /// The reason why there is no generation to bring back.
    fn why_none(&self, current: Generation) -> String {
        let origin = self.origin(current);
        let served = self.history.iter().filter(|record| record.generation < origin);
        let (good, failed): (Vec<_>, Vec<_>) = served.partition(|record| record.failure.is_none());
        let why = match (self.lost.last(), good.last()) {
            (Some(lost), _) if *lost < origin => format!("generation {lost} was good, but {PROGRAM_GONE}"),
            (_, Some(good)) => {
                format!("generation {} is not kept any more: the last {KEPT} are", good.generation)
            }
            (_, None) if !failed.is_empty() => format!("none before generation {origin} was good"),
            (_, None) if origin == current => "this is the oldest".to_owned(),
            (_, None) => format!("this one brought generation {origin} back, which is the oldest"),
        };
        format!("no generation before this one can be brought back: {why}")
    }

    /// The generation that `generation` is of the same make as: the one that it brought back.
    fn origin(&self, generation: Generation) -> Generation {
        let mut origin = generation;
        // A rollback goes back to an earlier one, and so is newer than its target in the history.
        for record in self.history.iter().rev() {
            match record.rollback {
                Some(target) if record.generation == origin && record.failure.is_none() => origin = target,
                Some(_) | None => {}
            }
        }
        origin
    }

    /// Begins a rollback. It waits for no old generation: its operator is in a hurry. Restarts that wait would undo it.
    fn roll_back(
        &mut self,
        now: Moment,
        operation: Option<OperationId>,
        asked_by: String,
        target: Generation,
        out: &mut Vec<Action>,
    ) {
        if let Some(waiting) = self.waiting.restart.take() {
            let because = format!("{asked_by} rolls back to generation {target}");
            answer_all(waiting.operations, &Answer::Cancelled(because), out);
        }
        let request = Restart {
            unattended: operation.is_none(),
            operations: operation.into_iter().collect(),
            asked_by,
            rollback: Some(target),
        };
        let candidate = self.begin(now, request, out);
        match std::mem::replace(&mut self.fleet, Fleet::Stopped) {
            Fleet::Serving(current) => self.fleet = Fleet::Upgrading { current, candidate },
            Fleet::Idle | Fleet::Booting(_) | Fleet::Upgrading { .. } | Fleet::Stopping { .. } | Fleet::Stopped => {
                unreachable!("its caller has looked")
            }
        }
    }

    /// Of the good generations, only those in `kept` can be brought back after the master's death.
    pub(super) fn keep_alone(&mut self, kept: &[Generation]) {
        let good = std::mem::take(&mut self.good);
        let (good, lost): (Vec<Generation>, Vec<Generation>) = good.into_iter().partition(|good| kept.contains(good));
        self.good = good;
        self.lost.extend(lost);
        self.lost.drain(..self.lost.len().saturating_sub(KEPT));
    }

    /// A candidate has become current in the place of `previous`, which was good: unless it was just rolled back from.
    pub(super) fn keep_good(
        &mut self,
        previous: Option<Generation>,
        rollback: Option<Generation>,
        out: &mut Vec<Action>,
    ) {
        let mut dropped = Vec::new();
        match rollback {
            Some(target) => {
                dropped.extend(self.good.iter().copied().filter(|good| *good >= target));
                self.good.retain(|good| *good < target);
            }
            None => self.good.extend(previous),
        }
        if self.good.len() > KEPT {
            dropped.extend(self.good.drain(..self.good.len() - KEPT));
        }
        let lives = |generation: Generation| self.runs().any(|run: &Run| run.id == generation);
        out.extend(
            dropped
                .into_iter()
                .filter(|generation| !lives(*generation))
                .map(|generation| Action::Generation(generation, GenerationAction::Forget)),
        );
    }
}
