//! The master's own children: workers and operator's commands. Each is reaped by its own task; all other children are
//! orphans that fell to the master, a subreaper, and are reaped by whoever looks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gin_shared::generation::WorkerId;
use gin_shared::process::ProcessId;
use nix::unistd::Pid;

use crate::os::orphan;

/// The purpose of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A worker.
    Worker,
    /// An operator's command, or the check of a program.
    Command,
}

/// The children that have a task of their own. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OwnedChildren(Rc<RefCell<HashMap<Pid, Purpose>>>);

impl OwnedChildren {
    /// Adds a child.
    pub fn insert(&self, pid: Pid, purpose: Purpose) {
        self.0.borrow_mut().insert(pid, purpose);
    }

    /// Removes a child: it was reaped, or it ends by itself as an orphan does.
    pub fn remove(&self, pid: Pid) {
        self.0.borrow_mut().remove(&pid);
    }

    /// True if an operator's command runs.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        self.0.borrow().values().any(|purpose| *purpose == Purpose::Command)
    }

    /// The operator's commands, as a successor will know them.
    #[must_use]
    pub fn commands(&self) -> Vec<ProcessId> {
        let children = self.0.borrow();
        let commands = children.iter().filter(|(_, purpose)| **purpose == Purpose::Command);
        commands.filter_map(|(pid, _)| ProcessId::of(pid.as_raw())).collect()
    }

    /// Reaps dead children that are not in here.
    pub fn reap_orphans(&self) {
        orphan::reap(|pid| self.0.borrow().contains_key(&pid));
    }

    /// Kills the orphans of a worker that have left its process group.
    pub fn kill_orphans_of(&self, worker: WorkerId) {
        orphan::kill_of(worker, |pid| self.0.borrow().contains_key(&pid));
    }
}
