//! Back to a generation that served before, as it was frozen then.

use gin_shared::control::OperationId;
use gin_shared::generation::Generation;

use super::action::{Action, Answer, GenerationAction};
use super::fleet::{Fleet, Restart};
use super::generation::Run;
use super::{Machine, answer, answer_all};
use crate::moment::Moment;

/// The number of generations that are kept to go back to.
pub const KEPT: usize = 3;

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
        out: &mut Vec<Action>,
    ) {
        let refusal = match &self.fleet {
            Fleet::Serving(_) if self.good.is_empty() => {
                Answer::Refused("no generation before this one can be brought back: none was good, or its program is gone and nobody has kept it open; deploy it again, and restart".to_owned())
            }
            Fleet::Serving(_) => {
                self.roll_back(now, operation, asked_by, out);
                return;
            }
            Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } => Answer::Busy(format!(
                "generation {} is on its way, asked for by {}; gin-ctl cancel calls it off",
                candidate.generation, candidate.request.asked_by
            )),
            Fleet::Idle | Fleet::Stopping { .. } | Fleet::Stopped => {
                Answer::Refused("the supervisor is stopping".to_owned())
            }
        };
        answer(operation, &refusal, out);
    }

    /// Begins a rollback. It waits for no old generation: its operator is in a hurry. Restarts that wait would undo it.
    fn roll_back(&mut self, now: Moment, operation: Option<OperationId>, asked_by: String, out: &mut Vec<Action>) {
        let Some(target) = self.rollback_target() else { return };
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
