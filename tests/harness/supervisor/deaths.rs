//! Deaths of a supervisor and of its workers, and the starts after them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::{Supervisor, predicament};
use crate::control::Events;

/// Waits for the end of a master: one that hangs fails its test, and says what it hangs in.
pub(super) fn end_of(master: &mut Child, log: impl Fn() -> String) -> ExitStatus {
    if let Some(status) = master.try_wait().unwrap() {
        return status;
    }
    let hangs = !one_ends(&[open(Pid::from_child(master))]);
    assert!(!hangs, "it does not end: {}", predicament(master.id(), &log()));
    master.wait().unwrap()
}

fn open(pid: Pid) -> OwnedFd {
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

/// Waits until one of these processes has ended; `false` if none does.
fn one_ends(processes: &[OwnedFd]) -> bool {
    let mut ended: Vec<PollFd<'_>> = processes.iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
    let patience = Timespec::try_from(crate::PATIENCE).unwrap();
    poll(&mut ended, Some(&patience)).unwrap() > 0
}

impl Supervisor {
    /// Starts it once more, when it is dead, and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_again(&mut self) {
        self.until_dead();
        let after = self.told.settle();
        self.child = self.command().process_group(0).spawn().unwrap();
        self.until_ready(after);
    }

    /// Starts it twice at once, when it is dead, and waits until one of the two serves. The other one is refused.
    ///
    /// # Panics
    /// If both go on, the refused one exits with another code than 1, or the other one does not serve.
    pub fn start_twice(&mut self) {
        self.until_dead();
        let after = self.told.settle();
        let [mut first, second] = [(); 2].map(|()| self.command().process_group(0).spawn().unwrap());
        let both = [&first, &second].map(|child| open(Pid::from_child(child)));
        assert!(one_ends(&both), "both go on: {}", self.log());
        let is_first = first.try_wait().unwrap().is_some();
        let (mut refused, master) = if is_first { (first, second) } else { (second, first) };
        assert_eq!(refused.wait().unwrap().code(), Some(1), "{}", self.log());
        self.child = master;
        self.until_ready(after);
    }

    /// Starts a second one beside the master, which is to be refused; gives its exit code.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn start_beside(&self) -> i32 {
        let mut second = self.command().process_group(0).spawn().unwrap();
        end_of(&mut second, || self.log()).code().unwrap_or(-1)
    }

    /// Starts it once more, when it is dead, and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn_again(&mut self) {
        self.until_dead();
        self.child = self.command().process_group(0).spawn().unwrap();
    }

    /// Starts it once more, to its end: it is to die.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn start_to_its_end(&mut self) {
        self.until_dead();
        let mut again = self.command().process_group(0).spawn().unwrap();
        end_of(&mut again, || self.log());
    }

    /// Until the master, which was killed, is dead.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait_dead(&mut self) {
        self.until_dead();
    }

    /// The same when it is not to come up; gives its exit code.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn fails_again(&mut self) -> i32 {
        self.until_dead();
        let mut again = self.command().spawn().unwrap();
        end_of(&mut again, || self.log()).code().expect("it exits")
    }

    /// The same with a hard limit of so many descriptors.
    ///
    /// # Panics
    /// If it cannot be run, or comes up: then it is ended.
    #[must_use]
    pub fn fails_again_with_descriptors(&mut self, limit: u64) -> i32 {
        self.until_dead();
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={limit}:{limit}")).arg(&self.program);
        let plain = self.command();
        limited.args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        let log = File::options().append(true).open(self.dir.path().join("log")).unwrap();
        let mut again = limited.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        end_of(&mut again, || self.log()).code().unwrap_or(-1)
    }

    /// Runs gin-ctl until it ends, or the master does.
    ///
    /// # Panics
    /// If neither does.
    pub fn ctl_until_death(&self, args: &[&str]) {
        let mut ctl = self.ctl_in_background(args);
        let both = [&ctl, &self.child].map(|child| open(Pid::from_child(child)));
        assert!(one_ends(&both), "neither has ended: {}", self.log());
        let _ = ctl.kill();
        let _ = ctl.wait();
    }

    /// SIGKILL to one of its workers, until that is dead.
    ///
    /// # Panics
    /// If it does not die.
    pub fn kill_worker(&self, worker: i32) {
        let process = open(Pid::from_raw(worker).unwrap());
        pidfd_send_signal(&process, rustix::process::Signal::KILL).unwrap();
        assert!(one_ends(&[process]), "worker {worker} does not die");
    }

    /// SIGKILL to a worker, until another serves in its place, or the master is dead.
    ///
    /// # Panics
    /// If neither comes to pass.
    pub fn respawn_until_death(&self) {
        let master = self.child.id();
        let victim = self.processes().into_iter().find(|pid| u32::try_from(*pid) != Ok(master)).expect("a worker");
        let events = Events::begin(&self.socket());
        self.kill_worker(victim);
        if let Some(events) = events {
            events.until_or_end("serving");
        }
    }

    /// SIGKILL to the master alone.
    ///
    /// # Panics
    /// If it is gone.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGKILL, and another start that adopts.
    ///
    /// # Panics
    /// If it does not.
    pub fn die_and_adopt(&mut self) {
        let (master, workers) = (self.pid(), self.workers());
        self.kill();
        self.start_again();
        assert_ne!(self.pid(), master);
        assert_eq!(self.workers(), workers, "{}", self.log());
    }

    /// Orders faults and deaths: see `os/fault.rs`. Nothing: none any more.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn order(&self, orders: &str) {
        let file = self.dir.path().join("faults");
        std::fs::write(file.with_extension("new"), orders).unwrap();
        std::fs::rename(file.with_extension("new"), file).unwrap();
    }

    /// The same for workers.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn order_workers(&self, orders: &str) {
        let file = self.dir.path().join("worker-faults");
        std::fs::write(file.with_extension("new"), orders).unwrap();
        std::fs::rename(file.with_extension("new"), file).unwrap();
    }
}
