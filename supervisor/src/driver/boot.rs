//! The first generation: at once, or after a wait if the starts before this one failed.

use gin_shared::exit;

use super::Driver;
use crate::failed_start::{self, FailedStart};
use crate::machine::event::{Event, Queue};
use crate::moment::Moment;
use crate::os::time;
use crate::reporter::reason::reason;

impl Driver {
    /// Asks for the first generation; not before its time, if the starts before this one failed.
    pub(super) fn boot(&mut self) {
        let now = time::now();
        match self.reporter.held_back_until(now) {
            Some(until) => self.reporter.hold_back(now, until, &self.machine),
            None => self.pending.push_back(first_generation()),
        }
    }

    /// The moment of the first generation, if that waits.
    pub(super) fn first_try(&self) -> Option<Moment> {
        let failed = self.reporter.service_manager.failed_start().filter(|_| self.machine.is_idle())?;
        Some(failed.allowed_at())
    }

    /// Keeps the failure of the first generation for the next start, or ends the row of starts that failed.
    pub(super) fn note_end(&self, code: u8) {
        let runtime = &self.store.paths().runtime;
        let last = self.machine.history.iter().next_back();
        match last.and_then(|record| Some(reason(record.failure.as_ref()?, &record.said))) {
            Some(reason) if code == exit::FAILED && !self.reporter.is_booted() => {
                let before = self.reporter.service_manager.failed_start();
                FailedStart::after(before, reason).keep(runtime);
            }
            _ => failed_start::forget(runtime),
        }
    }
}

/// The event that makes the first generation.
pub(super) fn first_generation() -> Event {
    Event::Restart { operation: None, asked_by: "start".to_owned(), queue: Queue::Wait }
}
