//! The operator's commands: the ready check, the warm-up, and the hooks. Each runs as a worker does, but for its descriptors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Pid;

use super::program::Program;
use crate::exit_status::Exit;
use crate::machine::failure::CommandError;
use crate::os::orphan;
use crate::os::pidfd::Child;
use crate::os::spawn::{self, Link, Spec};

/// Which children are ours to reap.
pub type Claims = Rc<RefCell<HashMap<Pid, Claim>>>;

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A worker.
    Worker,
    /// An operator's command, or the check of a program.
    Command,
}

/// A command that runs; [`Self::end`] waits for it.
#[derive(Debug)]
pub struct Command {
    child: Rc<Child>,
    link: Link,
    claims: Claims,
}

impl Command {
    /// Makes a process for one, which waits for its orders: so that it can be written down first.
    ///
    /// # Errors
    /// If there is no process, descriptor or memory to be had.
    pub fn begin(claims: &Claims) -> io::Result<Self> {
        let helper = spawn::start()?;
        claims.borrow_mut().insert(helper.child.pid(), Claim::Command);
        Ok(Self { child: Rc::new(helper.child), link: helper.link, claims: Rc::clone(claims) })
    }

    /// Starts it.
    ///
    /// # Errors
    /// If its orders cannot be sent; then its process ends by itself.
    pub fn start(&self, spec: &Spec, program: &Program) -> io::Result<()> {
        program.executable().and_then(|executable| self.link.send(spec, &[executable]))
    }

    /// Its process, to end it before its time.
    #[must_use]
    pub fn child(&self) -> Rc<Child> {
        Rc::clone(&self.child)
    }

    /// Waits for its end, for `timeout` at most; nothing of it is left then.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn end(self, timeout: Duration) -> Result<(), CommandError> {
        let ended = tokio::time::timeout(timeout, async {
            let failed = self.link.outcome().await.ok().flatten();
            let _ = self.child.exited().await;
            failed
        });
        let ended = ended.await;
        let _ = self.child.kill_group();
        let _ = self.child.exited().await;
        let exit = self.child.reap();
        self.claims.borrow_mut().remove(&self.child.pid());
        orphan::reap(|pid| self.claims.borrow().contains_key(&pid));
        match (ended, exit) {
            (Err(_), _) => Err(CommandError::NotInTime(timeout)),
            (Ok(Some(error)), _) => Err(CommandError::NotStarted(error)),
            (Ok(None), Exit::Code(0)) => Ok(()),
            (Ok(None), exit) => Err(CommandError::Failed(exit)),
        }
    }
}

impl Drop for Command {
    /// One that was never given its orders exits, and is reaped as an orphan.
    fn drop(&mut self) {
        self.claims.borrow_mut().remove(&self.child.pid());
    }
}
