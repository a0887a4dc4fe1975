//! The gate that a worker passes before it serves: the operator's commands, and the probe.

use std::rc::Rc;

use tokio::task::AbortHandle;

use crate::generations::program::Program;
use crate::inbox::reading::Reader;
use crate::machine::event::WorkerEvent;
use crate::machine::failure::CommandError;
use crate::os::child::Child;
use crate::state::Commands;

/// A step of the gate that is under way for a worker; dropped, it ends.
#[derive(Debug)]
pub struct Gate {
    step: Step,
    reader: Rc<Reader>,
}

/// A step of the gate.
#[derive(Debug)]
pub enum Step {
    /// A command runs.
    Command(Rc<Child>),
    /// A probe is under way.
    Probe(AbortHandle),
}

impl Gate {
    /// A step whose task is asked to read at `reader`.
    #[must_use]
    pub fn new(step: Step, reader: Rc<Reader>) -> Self {
        Self { step, reader }
    }

    /// The place at which its task is asked to read.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        match &self.step {
            Step::Command(child) => {
                let _ = child.kill_group();
            }
            Step::Probe(task) => task.abort(),
        }
    }
}

/// A command of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateCommand {
    /// Checks whether the worker is ready.
    Check,
    /// Warms the worker up.
    WarmUp,
}

impl GateCommand {
    /// Its program, if one is configured.
    #[must_use]
    pub fn program(self, commands: &Commands<Program>) -> Option<&Program> {
        match self {
            Self::Check => commands.check.as_ref(),
            Self::WarmUp => commands.warm_up.as_ref(),
        }
    }

    /// The event for its end.
    #[must_use]
    pub fn event(self, result: Result<(), CommandError>) -> WorkerEvent {
        match self {
            Self::Check => WorkerEvent::Checked(result),
            Self::WarmUp => WorkerEvent::WarmedUp(result),
        }
    }
}
