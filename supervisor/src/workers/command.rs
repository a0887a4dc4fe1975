//! The operator's commands: the ready check, the warm-up, and the hooks. Each starts as a worker does, but inherits no
//! descriptors.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::owned_children::{OwnedChildren, Purpose};
use crate::exit_status::Exit;
use crate::generations::program::Program;
use crate::machine::failure::CommandError;
use crate::os::child::Child;
use crate::os::spawn::{self, Helper, Link, Spec};
use crate::task::within;

/// A command that has a process; [`Self::end`] waits for its end.
#[derive(Debug)]
pub struct Command {
    child: Rc<Child>,
    link: Link,
    children: OwnedChildren,
}

impl Command {
    /// Makes a process for a command. The process waits for its orders, so that it can be recorded first.
    ///
    /// # Errors
    /// If there is no process, descriptor or memory to be had.
    pub fn fork(children: &OwnedChildren) -> io::Result<Self> {
        Ok(Self::of(spawn::start()?, children))
    }

    /// The same; the command's standard output is `output`.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn fork_writing_to(output: File, children: &OwnedChildren) -> io::Result<Self> {
        Ok(Self::of(spawn::start_writing_to(output)?, children))
    }

    fn of(helper: Helper, children: &OwnedChildren) -> Self {
        children.insert(helper.child.pid(), Purpose::Command);
        Self { child: Rc::new(helper.child), link: helper.link, children: children.clone() }
    }

    /// Gives the process its orders.
    ///
    /// # Errors
    /// If they cannot be sent; then the process ends by itself.
    pub fn start(&self, spec: &Spec, program: &Program) -> io::Result<()> {
        let executable = program.executable().map_err(io::Error::other)?;
        self.link.send(spec, &[executable])
    }

    /// Its process, to end it before its time.
    #[must_use]
    pub fn child(&self) -> Rc<Child> {
        Rc::clone(&self.child)
    }

    /// Waits for its end, for `timeout` at most; then nothing of it is left.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn end(self, timeout: Duration) -> Result<(), CommandError> {
        let ended = within(timeout, async {
            let failed = self.link.outcome().await.ok().flatten();
            let _ = self.child.exited().await;
            failed
        });
        let ended = ended.await;
        let _ = self.child.kill_group();
        let _ = self.child.exited().await;
        let exit = self.child.reap();
        self.children.remove(self.child.pid());
        self.children.reap_orphans();
        match (ended, exit) {
            (None, _) => Err(CommandError::NotInTime(timeout)),
            (Some(Some(error)), _) => Err(CommandError::NotStarted(error)),
            (Some(None), Exit::Code(0)) => Ok(()),
            (Some(None), exit) => Err(CommandError::Failed(exit)),
        }
    }
}

impl Drop for Command {
    /// A process that was never given its orders exits, and is reaped as an orphan.
    fn drop(&mut self) {
        self.children.remove(self.child.pid());
    }
}
