//! The steps of one operation, from one supervisor and from the next.
//!
//! A supervisor that takes over tells an operation's steps from the first one on. It may know fewer of them than the one
//! before it has told: a step is told first and saved later. So a step that was seen is known by its number, which rises
//! from one supervisor to the next. A supervisor of a version without numbers is followed by count, and then an end is
//! never taken for a step that was seen.

use std::time::Duration;

use gin_shared::control::{NumberedStep, Step};
use gin_shared::exit;
use gin_shared::generation::Generation;
use tokio::time::Instant;

use crate::client::{Client, Lines, plainly};
use crate::failure::Failure;

/// Time for which a supervisor may be gone: another program takes its place, or a service manager starts it again.
const ABSENCE: Duration = Duration::from_secs(10);
/// Pause between two tries to reach it.
const RETRY: Duration = Duration::from_millis(50);
/// A stream that lasts for so long comes from a supervisor that is there.
const STEADY: Duration = Duration::from_secs(1);

/// A step, as it was read and as it was written.
#[derive(Debug)]
pub(super) struct Told {
    /// The step.
    pub(super) step: Step,
    /// Its line.
    pub(super) line: String,
}

/// The steps that were seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The number of steps.
    count: usize,
    /// The highest number of a step.
    newest: Option<u64>,
    /// The exit code, once the operation has ended.
    code: Option<u8>,
    /// True if the generations before it are gone, too.
    drained: bool,
    /// The generation that was replaced.
    replaced: Option<Generation>,
}

impl Seen {
    /// True if a step is new. `place`: its place in its stream, from 0.
    fn is_new(&self, place: usize, told: &NumberedStep) -> bool {
        match (told.number, self.newest) {
            (Some(number), Some(newest)) => number > newest,
            (Some(_), None) => true,
            (None, _) => place >= self.count || self.is_missing(&told.step),
        }
    }

    /// True if a step is an end that was not seen yet.
    fn is_missing(&self, step: &Step) -> bool {
        match step {
            Step::Ended(_) => self.code.is_none(),
            Step::Drained { .. } => !self.drained,
            Step::Waiting { .. }
            | Step::Generation { .. }
            | Step::Phase { .. }
            | Step::Probe { .. }
            | Step::Replaced { .. }
            | Step::Hook { .. }
            | Step::Failed { .. }
            | Step::Warning { .. }
            | Step::Checked { .. }
            | Step::Other => false,
        }
    }

    fn note(&mut self, told: &NumberedStep) {
        self.count += 1;
        self.newest = self.newest.max(told.number);
        match &told.step {
            Step::Ended(outcome) => self.code = Some(outcome.exit),
            Step::Drained { .. } => self.drained = true,
            Step::Generation { replaces, .. } => self.replaced = *replaces,
            Step::Waiting { .. }
            | Step::Phase { .. }
            | Step::Probe { .. }
            | Step::Replaced { .. }
            | Step::Hook { .. }
            | Step::Failed { .. }
            | Step::Warning { .. }
            | Step::Checked { .. }
            | Step::Other => {}
        }
    }

    /// True if nothing more is awaited.
    fn is_over(&self, until_drained: bool) -> bool {
        match self.code {
            None => false,
            Some(exit::DONE) => !until_drained || self.drained,
            Some(_) => true,
        }
    }
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    lines: Lines,
    /// The number of steps that it has told.
    told: usize,
    opened: Instant,
}

/// The steps of one operation.
#[derive(Debug)]
pub(super) struct Steps {
    path: String,
    until_drained: bool,
    stream: Option<Stream>,
    seen: Seen,
    /// The moment since which the supervisor has told nothing new and cannot be reached.
    lost: Option<Instant>,
}

impl Steps {
    /// Of the operation at `path` of the control API; `until_drained`: until the old generations are gone.
    pub(super) fn new(path: &str, until_drained: bool) -> Self {
        let path = if until_drained { format!("{path}?drained=true") } else { path.to_owned() };
        Self { path, until_drained, stream: None, seen: Seen::default(), lost: None }
    }

    /// The exit code, once the operation has ended.
    pub(super) fn code(&self) -> Option<u8> {
        self.seen.code
    }

    /// The generation that the operation has replaced.
    pub(super) fn replaced(&self) -> Option<Generation> {
        self.seen.replaced
    }

    /// The next step that was not seen yet; `None` if nothing more is awaited. May be dropped and called again.
    ///
    /// # Errors
    /// If the supervisor is gone for too long, or its successor does not know the operation.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<Told>, Failure> {
        loop {
            if self.seen.is_over(self.until_drained) {
                return Ok(None);
            }
            if let Some(stream) = &mut self.stream {
                match stream.lines.next().await? {
                    Some(line) => {
                        if let Some(told) = self.take(line)? {
                            return Ok(Some(told));
                        }
                    }
                    None => self.lose(),
                }
                continue;
            }
            let lost = *self.lost.get_or_insert_with(Instant::now);
            if lost.elapsed() >= ABSENCE {
                return Err(Failure::absent(ABSENCE));
            }
            match client.stream(&self.path).await {
                Ok(response) => {
                    self.stream = Some(Stream { lines: Lines::new(response), told: 0, opened: Instant::now() });
                    continue;
                }
                // It knows nothing of it: it is another one.
                Err(failure) if failure.exit == exit::USAGE => return Err(Failure::gone()),
                // It is there. Too many follow something, and a place comes free.
                Err(failure) if failure.exit == exit::BUSY => self.lost = Some(Instant::now()),
                Err(failure) if failure.exit != exit::NO_SUPERVISOR => return Err(failure),
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Takes a line in; gives the step, if it is new.
    fn take(&mut self, line: String) -> Result<Option<Told>, Failure> {
        let told: NumberedStep = plainly(line.as_bytes())
            .map_err(|e| Failure::new(exit::FAILED, format!("the supervisor speaks another version: {e}")))?;
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let place = stream.told;
        stream.told += 1;
        if !self.seen.is_new(place, &told) {
            return Ok(None);
        }
        self.seen.note(&told);
        self.lost = None;
        Ok(Some(Told { step: told.step, line }))
    }

    /// The stream has ended. If it ended at once, the supervisor counts as gone since it was lost first.
    fn lose(&mut self) {
        let steady = self.stream.take().is_some_and(|stream| stream.opened.elapsed() >= STEADY);
        if steady || self.lost.is_none() {
            self.lost = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use gin_shared::control::Outcome;

    use super::*;

    fn waiting(number: Option<u64>) -> NumberedStep {
        NumberedStep { number, step: Step::Waiting { text: "for another".to_owned() } }
    }

    fn ended(number: Option<u64>, exit: u8) -> NumberedStep {
        NumberedStep { number, step: Step::Ended(Outcome { exit, text: String::new(), took_ms: 1.0 }) }
    }

    fn drained(number: Option<u64>) -> NumberedStep {
        NumberedStep { number, step: Step::Drained { connections: None } }
    }

    /// Has seen a stream of these steps.
    fn after(steps: &[NumberedStep]) -> Seen {
        let mut seen = Seen::default();
        tell(&mut seen, steps);
        seen
    }

    /// Tells a stream from its beginning; gives the places of the steps that are new.
    fn tell(seen: &mut Seen, steps: &[NumberedStep]) -> Vec<usize> {
        let mut new = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            if seen.is_new(place, step) {
                seen.note(step);
                new.push(place);
            }
        }
        new
    }

    #[test]
    fn a_successor_that_knows_fewer_steps_is_followed_to_the_end() {
        let mut seen = after(&[waiting(Some(10)), waiting(Some(11)), waiting(Some(12))]);
        // It has read the first one alone, and then adds its own.
        assert_eq!(tell(&mut seen, &[waiting(Some(10)), ended(Some(20), 0)]), [1]);
        assert!(seen.is_over(false));
    }

    #[test]
    fn a_supervisor_without_numbers_is_followed_by_count_and_its_end_is_never_skipped() {
        let mut seen = after(&[waiting(None), waiting(None), waiting(None)]);
        assert_eq!(tell(&mut seen, &[waiting(None), ended(None, 1)]), [1]);
        assert_eq!(seen.code, Some(1));
        assert_eq!(tell(&mut seen, &[waiting(None), ended(None, 1)]), [0_usize; 0]);
    }

    #[test]
    fn versions_may_change_in_both_directions() {
        // Without numbers, then with: what was read back has none, what is new has one.
        let mut seen = after(&[waiting(None), waiting(None)]);
        assert_eq!(tell(&mut seen, &[waiting(None), waiting(None), waiting(Some(30))]), [2]);
        // And back to a version that drops them.
        assert_eq!(tell(&mut seen, &[waiting(None), waiting(None), waiting(None), ended(None, 0)]), [3]);
    }

    #[test]
    fn an_operation_whose_old_generations_are_awaited_is_not_over_when_it_has_ended() {
        let mut seen = after(&[ended(Some(1), 0)]);
        assert!(seen.is_over(false) && !seen.is_over(true));
        // The supervisor is another one meanwhile.
        assert_eq!(tell(&mut seen, &[ended(Some(1), 0), drained(Some(2))]), [1]);
        assert!(seen.is_over(true));
        assert!(after(&[ended(None, 1)]).is_over(true), "nothing drains after a failure");
    }
}
