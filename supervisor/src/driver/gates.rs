//! What a worker has to pass before it serves: the operator's commands, and the probe.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use gin_shared::generation::WorkerId;
use gin_shared::inherit;
use tokio::task::AbortHandle;

use super::command::Command;
use super::perform::Performer;
use super::probe::probe;
use super::program::{Commands, Program};
use crate::inbox::Message;
use crate::machine::Machine;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::{CommandError, ProbeError};
use crate::os::pidfd::Child;

/// How much longer than its usual time a command may take if its worker asks for more.
const LONGEST: u32 = 10;

/// Something that is asked about a worker; dropped, it ends.
#[derive(Debug)]
pub(super) enum Gate {
    /// A command runs.
    Command(Rc<Child>),
    /// A probe is under way.
    Probe(AbortHandle),
}

impl Drop for Gate {
    fn drop(&mut self) {
        match self {
            Self::Command(child) => {
                let _ = child.kill_group();
            }
            Self::Probe(task) => task.abort(),
        }
    }
}

impl Performer {
    /// Runs a command of the operator's for a worker.
    pub(super) fn command(
        &mut self,
        id: WorkerId,
        machine: &Machine,
        choose: impl Fn(&Commands) -> Option<&Program>,
        tell: fn(Result<(), CommandError>) -> WorkerEvent,
        events: &mut VecDeque<Event>,
    ) {
        match self.start_command(id, machine, choose) {
            Ok((command, timeout)) => {
                let inbox = self.handle.inbox.clone();
                self.gates.insert(id, Gate::Command(command.child()));
                // The machine's own deadline, which the worker may extend, comes first.
                let timeout = timeout.saturating_mul(LONGEST);
                super::task::spawn(async move {
                    let what = tell(command.end(timeout).await);
                    // Closed only when the driver has left.
                    let _ = inbox.send(Message::Event(Event::Worker { worker: id, what })).await;
                });
            }
            Err(error) => events
                .push_back(Event::Worker { worker: id, what: tell(Err(CommandError::NotStarted(error.to_string()))) }),
        }
    }

    fn start_command(
        &mut self,
        id: WorkerId,
        machine: &Machine,
        choose: impl Fn(&Commands) -> Option<&Program>,
    ) -> io::Result<(Command, Duration)> {
        let command = Command::begin(&self.claims)?;
        // Recorded: now it may run.
        self.keep(machine);
        let frozen = self.frozen.get(&id.generation).ok_or_else(|| io::Error::other("its generation is gone"))?;
        let process = self.processes.get(&id).ok_or_else(|| io::Error::other("the worker is gone"))?;
        let program = choose(&frozen.commands).ok_or_else(|| io::Error::other("no command is set"))?;
        let mut more = vec![(inherit::GIN_SLOT, id.slot.to_string()), ("GIN_WORKER_PID", process.pid().to_string())];
        if let Some(private) = process.private() {
            more.push((inherit::GIN_PRIVATE_SOCKET, private.path().display().to_string()));
        }
        let spec = frozen.command_spec(program, more);
        command.start(&spec, program)?;
        Ok((command, frozen.config.ready_timeout))
    }

    /// Probes a worker; the machine sets the end.
    pub(super) fn probe(&mut self, id: WorkerId, events: &mut VecDeque<Event>) {
        let frozen = self.frozen.get(&id.generation);
        let private = self.processes.get(&id).and_then(|process| process.private());
        let (Some(settings), Some(private)) = (frozen.and_then(|frozen| frozen.config.probe.clone()), private) else {
            let what = WorkerEvent::Probed(Err(ProbeError::NoListener));
            return events.push_back(Event::Worker { worker: id, what });
        };
        let (inbox, socket) = (self.handle.inbox.clone(), private.path().to_owned());
        let task = super::task::spawn(async move {
            let what = WorkerEvent::Probed(probe(&socket, &settings).await);
            let _ = inbox.send(Message::Event(Event::Worker { worker: id, what })).await;
        });
        self.gates.insert(id, Gate::Probe(task.abort_handle()));
    }
}
