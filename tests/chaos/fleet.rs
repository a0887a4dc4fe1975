//! The fleet that the operations are performed on: its commands, its workers, and the look at all of it after a round.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::{Duration, Instant};

use gin_shared::process::{Pidfd, Signal};
use gin_shared::status::{GenerationStatus, Role, State, Status, Upgrade, WorkerStatus};
use harness::{Ctl, PATIENCE, Supervisor, eventually};

use super::judge::{Journal, held_ports};
use super::operation::Arguments;

/// Time for a watchdog of 2 s to end a worker.
const HANG: Duration = Duration::from_secs(5);

/// A master may have so many descriptors more than at the first look: a rollback's target or an adopted worker takes some.
const DESCRIPTORS: usize = 16;

/// A supervisor with its workers, and what was done to them.
pub struct Fleet {
    pub gin: Supervisor,
    pub journal: Journal,
    /// The commands that nobody waits for yet.
    begun: Vec<Begun>,
    /// The workers that were killed or told to end here. The master may not know it yet.
    ended: BTreeSet<i32>,
    /// The number of the master's descriptors at the first look.
    descriptors: Option<usize>,
}

/// A gin-ctl that was started.
struct Begun {
    arguments: Arguments,
    child: Child,
}

/// True if a worker serves.
fn serves(worker: &WorkerStatus) -> bool {
    worker.state == "serving"
}

fn current(status: &Status) -> &GenerationStatus {
    status.generations.iter().find(|run| run.role == Role::Current).expect("a generation is current")
}

/// True if as many workers serve as should, and nothing else is there.
fn is_whole(status: &Status) -> bool {
    let workers = status.generations.iter().flat_map(|run| &run.workers);
    let serving = workers.clone().filter(|worker| serves(worker)).count();
    let is_alone = status.generations.len() == 1 && workers.count() == serving;
    status.state == State::Serving && !status.degraded && is_alone && u32::try_from(serving) == Ok(status.workers)
}

impl Fleet {
    pub fn new(gin: Supervisor, began: Instant) -> Self {
        let (begun, ended) = (Vec::new(), BTreeSet::new());
        Self { gin, journal: Journal::new(began), begun, ended, descriptors: None }
    }

    /// Starts gin-ctl, and does not wait.
    pub fn begin(&mut self, arguments: Arguments) {
        let child = self.gin.ctl_in_background(arguments);
        self.begun.push(Begun { arguments, child });
    }

    /// Runs gin-ctl to its end.
    pub fn ask(&mut self, arguments: Arguments) -> Ctl {
        let child = self.gin.ctl_in_background(arguments);
        self.end_of(Begun { arguments, child })
    }

    /// Waits for a gin-ctl, which ends in time and with a code that it documents.
    fn end_of(&mut self, Begun { arguments, mut child }: Begun) -> Ctl {
        let process = i32::try_from(child.id()).ok().and_then(|pid| Pidfd::open(pid).unwrap());
        if !process.expect("nobody has waited for it").has_ended(PATIENCE) {
            let _ = child.kill();
            let said = child.wait_with_output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            panic!(
                "gin-ctl {arguments:?} does not end within {PATIENCE:?}; it said {said:?}; {}",
                self.gin.predicament()
            );
        }
        let ctl = Ctl::from(child.wait_with_output().unwrap());
        self.journal.note(format!("gin-ctl {arguments:?} has ended with code {}", ctl.code));
        assert!((0..=6).contains(&ctl.code), "gin-ctl {arguments:?}: {ctl:?}");
        ctl
    }

    /// Waits for all commands that were begun.
    fn end_commands(&mut self) {
        for begun in std::mem::take(&mut self.begun) {
            let _ = self.end_of(begun);
        }
    }

    fn status(&self) -> Status {
        // An upgrade in place sends callers away for a moment, and has no event for whoever is no follower.
        let look = || self.gin.ctl(&["--json", "status"]);
        let ctl = eventually("the master tells its status", look, |ctl| ctl.code <= 1);
        serde_json::from_str(&ctl.out).unwrap_or_else(|error| panic!("{error}: {ctl:?}"))
    }

    /// Workers of the current generation that serve, as the master knows it.
    fn known_workers(&self) -> Vec<i32> {
        let status = self.status();
        current(&status).workers.iter().filter(|worker| serves(worker)).filter_map(|worker| worker.pid).collect()
    }

    /// The same, but those that were killed or told to end here.
    pub fn serving_workers(&self) -> Vec<i32> {
        self.known_workers().into_iter().filter(|pid| !self.ended.contains(pid)).collect()
    }

    /// The same, if one of them can be missed: none if there is only one.
    pub fn spare_workers(&self) -> Vec<i32> {
        let workers = self.serving_workers();
        if workers.len() > 1 { workers } else { Vec::new() }
    }

    /// The workers that drain.
    pub fn leaving_workers(&self) -> Vec<i32> {
        let status = self.status();
        let workers = status.generations.iter().flat_map(|run| &run.workers);
        workers.filter(|worker| worker.state == "draining").filter_map(|worker| worker.pid).collect()
    }

    /// The slot of a worker of the current generation.
    pub fn slot_of(&self, pid: i32) -> Option<u32> {
        let status = self.status();
        current(&status).workers.iter().find(|worker| worker.pid == Some(pid)).map(|worker| worker.slot)
    }

    /// Number of descriptors that the master has open.
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.gin.pid())).expect("the master lives").count()
    }

    /// Kills a worker, and waits until it is dead.
    pub fn kill_worker(&mut self, pid: i32) {
        let Some(process) = self.stop_for_good(pid) else { return };
        process.kill();
        assert!(process.has_ended(PATIENCE), "worker {pid} does not die");
    }

    /// Stops a worker, and waits until the watchdog has ended it. No watchdog ends a worker that was told to drain just
    /// before: that one goes on.
    pub fn hang_worker(&mut self, pid: i32) {
        let Some(process) = self.stop_for_good(pid) else { return };
        if !process.has_ended(HANG) {
            assert!(!self.known_workers().contains(&pid), "no watchdog ends worker {pid}");
            process.signal(Signal::CONT).unwrap();
        }
    }

    /// Tells a worker to end, as its master does not.
    pub fn end_worker(&mut self, pid: i32) {
        self.ended.insert(pid);
        if let Some(process) = Pidfd::open(pid).unwrap() {
            process.signal(Signal::TERM).unwrap();
        }
    }

    /// Stops a worker for a time that is part of the schedule.
    pub fn pause_worker(&mut self, pid: i32, time: Duration) {
        if let Some(process) = Pidfd::open(pid).unwrap() {
            process.signal(Signal::STOP).unwrap();
            std::thread::sleep(time);
            process.signal(Signal::CONT).unwrap();
        }
    }

    /// Stops a worker that is to die, and notes the connections that it takes along. None if it has ended already.
    fn stop_for_good(&mut self, pid: i32) -> Option<Pidfd> {
        let process = Pidfd::open(pid).unwrap()?;
        self.ended.insert(pid);
        process.signal(Signal::STOP).unwrap();
        // The kernel tells the parent alone.
        let is_over = || process.has_ended(Duration::ZERO) || is_stopped(pid);
        eventually("the worker stands still, or has ended", is_over, |is_over| *is_over);
        self.journal.death(pid, held_ports(&process, pid));
        Some(process)
    }

    /// Some worker serves, whatever has just been done.
    pub fn assert_serves(&self) {
        let status = self.status();
        assert_ne!(status.state, State::Down, "nobody serves: {status:#?}\n{}", self.gin.predicament());
    }

    /// As many workers of the current generation serve as should.
    pub fn assert_whole(&self) {
        let status = self.status();
        let serving = current(&status).workers.iter().filter(|worker| serves(worker)).count();
        assert_eq!(u32::try_from(serving), Ok(status.workers), "{status:#?}\n{}", self.gin.predicament());
    }

    /// Looks at all of it when nothing is under way any more.
    pub fn look(&mut self) {
        self.end_commands();
        let commands: [Arguments; 2] = [&["scale", "2"], &["restart", "--wait-drained"]];
        for arguments in commands {
            let ctl = self.ask(arguments);
            assert_eq!(ctl.code, 0, "{ctl:?}\n{}", self.gin.predicament());
        }
        // A worker that a stranger has told to end takes its time, and the status has no event of its end for us.
        let status = eventually("as many workers serve as should, and no others", || self.status(), is_whole);
        self.gin.assert_sound();
        self.assert_history(&status);
        let count = self.open_descriptors();
        let first = *self.descriptors.get_or_insert(count);
        assert!(count <= first + DESCRIPTORS, "the master had {first} descriptors, and has {count}");
        let log = self.gin.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Each upgrade stands in the history once, done or with the reason why not, and the newest that is done serves.
    fn assert_history(&self, status: &Status) {
        let text = self.gin.ctl(&["--json", "history"]).out;
        let history: Vec<Upgrade> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(history.is_sorted_by(|newer, older| newer.generation > older.generation), "{text}");
        assert!(history.iter().all(|upgrade| upgrade.done == upgrade.reason.is_none()), "{text}");
        let newest = history.iter().find(|upgrade| upgrade.done).map(|upgrade| upgrade.generation);
        assert_eq!(newest, Some(current(status).generation), "{text}");
    }
}

/// True if all threads of a process are stopped.
fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let is_stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
    threads.flatten().all(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(is_stopped))
}
