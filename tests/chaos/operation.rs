//! Operations: what can be done to a fleet, each with everything that is drawn for it.
//!
//! Numbers like `which` choose among the workers that are there when the operation is performed. The pauses in here are
//! part of what is drawn, as long as a pause of a process or the absence of a master. Nothing waits by them.

use std::thread::sleep;
use std::time::Duration;

use harness::on_change;
use nix::sys::signal::Signal::{SIGCONT, SIGHUP, SIGSTOP, SIGUSR2};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::fleet::Fleet;
use super::schedule::Random;

/// Draws an operation of one kind.
pub type Draw = fn(&mut Random) -> Operation;

/// The arguments of a gin-ctl.
pub type Arguments = &'static [&'static str];

/// The release that is fit to serve.
const GOOD: &str = "one";

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A restart by signal, which nobody waits for.
    Usr2,
    /// Another value for a key of the configuration, and HUP.
    Reload { key: &'static str, value: &'static str },
    /// A gin-ctl. If it is not awaited here, it is when the fleet is looked at.
    Ctl { arguments: Arguments, is_awaited: bool },
    /// A restart of what is not fit to serve.
    RestartUnfit(Unfit),
    /// SIGKILL to the master. Its successor starts after `absence`; with `twice`, two of them start at once.
    KillMaster { absence: Duration, twice: bool },
    /// SIGSTOP to the master, and SIGCONT.
    PauseMaster { time: Duration },
    /// SIGKILL to a worker.
    KillWorker { which: usize },
    /// SIGTERM to a worker, by somebody who is not its master.
    EndWorker { which: usize },
    /// SIGSTOP to a worker, and SIGCONT.
    PauseWorker { which: usize, time: Duration },
    /// SIGSTOP to a worker, until the watchdog ends it.
    HangWorker { which: usize },
    /// A restart while the disk is full for one kind of file, and one more when it has room again.
    FullDisk { point: &'static str },
    /// A restart while the master may open only so many descriptors more.
    FewDescriptors { spare: usize, time: Duration },
    /// A file of the instance is removed, and a signal has the master make it anew.
    RemoveFile { name: &'static str },
    /// A second master starts beside the first.
    SecondMaster,
    /// A worker is killed or told to end, its slot fails to start another one, and then there is to be one worker less.
    ShrinkInBackoff { which: usize, is_killed: bool, time: Duration },
}

/// What is not fit to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    Release,
    Configuration,
}

/// Drawing.
impl Operation {
    pub fn usr2(_: &mut Random) -> Self {
        Self::Usr2
    }

    pub fn reload(random: &mut Random) -> Self {
        let (key, value) = random.one_of(&[
            ("soak", "\"0s\""),
            ("soak", "\"150ms\""),
            ("strategy", "\"surge\""),
            ("strategy", "\"rolling\""),
            ("env", "{ CHAOS = \"1\" }"),
            ("env", "{ CHAOS = \"2\" }"),
        ]);
        Self::Reload { key, value }
    }

    fn ctl(arguments: Arguments, is_awaited: bool) -> Self {
        Self::Ctl { arguments, is_awaited }
    }

    pub fn restart(random: &mut Random) -> Self {
        Self::ctl(&["restart"], random.coin())
    }

    pub fn restart_awaited(_: &mut Random) -> Self {
        Self::ctl(&["restart"], true)
    }

    pub fn restart_begun(_: &mut Random) -> Self {
        Self::ctl(&["restart"], false)
    }

    pub fn scale_begun(random: &mut Random) -> Self {
        let all: [Arguments; 5] =
            [&["scale", "1"], &["scale", "2"], &["scale", "3"], &["scale", "+1"], &["scale", "-1"]];
        Self::ctl(random.one_of(&all), false)
    }

    pub fn scale_awaited(random: &mut Random) -> Self {
        let all: [Arguments; 2] = [&["scale", "2"], &["scale", "3"]];
        Self::ctl(random.one_of(&all), true)
    }

    pub fn rollback(random: &mut Random) -> Self {
        Self::ctl(&["rollback"], random.coin())
    }

    pub fn cancel(_: &mut Random) -> Self {
        Self::ctl(&["cancel"], false)
    }

    pub fn upgrade(random: &mut Random) -> Self {
        Self::ctl(&["upgrade-supervisor"], random.coin())
    }

    pub fn upgrade_awaited(_: &mut Random) -> Self {
        Self::ctl(&["upgrade-supervisor"], true)
    }

    pub fn restart_unfit(random: &mut Random) -> Self {
        Self::RestartUnfit(random.one_of(&[Unfit::Release, Unfit::Configuration]))
    }

    pub fn kill_master(random: &mut Random) -> Self {
        Self::KillMaster { absence: random.millis(0, 1000), twice: random.below(4) == 0 }
    }

    /// A pause that no watchdog would bear.
    pub fn pause_master_for_long(random: &mut Random) -> Self {
        Self::PauseMaster { time: random.millis(2200, 3000) }
    }

    pub fn pause_master(random: &mut Random) -> Self {
        Self::PauseMaster { time: random.millis(50, 2000) }
    }

    pub fn kill_worker(random: &mut Random) -> Self {
        Self::KillWorker { which: random.below(100) }
    }

    pub fn end_worker(random: &mut Random) -> Self {
        Self::EndWorker { which: random.below(100) }
    }

    pub fn pause_worker(random: &mut Random) -> Self {
        Self::PauseWorker { which: random.below(100), time: random.millis(50, 2000) }
    }

    /// A pause that the watchdog bears.
    pub fn pause_worker_shortly(random: &mut Random) -> Self {
        Self::PauseWorker { which: random.below(100), time: random.millis(20, 300) }
    }

    pub fn hang_worker(random: &mut Random) -> Self {
        Self::HangWorker { which: random.below(100) }
    }

    pub fn full_disk(random: &mut Random) -> Self {
        Self::FullDisk { point: random.one_of(&["snapshot.write", "snapshot.fill", "state.write"]) }
    }

    pub fn few_descriptors(random: &mut Random) -> Self {
        Self::FewDescriptors { spare: random.below(13), time: random.millis(100, 800) }
    }

    pub fn remove_file(random: &mut Random) -> Self {
        Self::RemoveFile { name: random.one_of(&["control.sock", "status.sock", "pid", "state"]) }
    }

    pub fn second_master(_: &mut Random) -> Self {
        Self::SecondMaster
    }

    pub fn shrink_in_backoff(random: &mut Random) -> Self {
        Self::ShrinkInBackoff { which: random.below(100), is_killed: random.coin(), time: random.millis(0, 300) }
    }
}

/// Performing.
impl Operation {
    pub fn perform(self, fleet: &mut Fleet) {
        match self {
            Self::Usr2 => fleet.gin.signal(SIGUSR2),
            Self::Reload { key, value } => {
                fleet.gin.configure(|text| with_setting(&text, key, value));
                fleet.gin.signal(SIGHUP);
            }
            Self::Ctl { arguments, is_awaited: true } => drop(fleet.ask(arguments)),
            Self::Ctl { arguments, is_awaited: false } => fleet.begin(arguments),
            Self::RestartUnfit(what) => restart_unfit(fleet, what),
            Self::KillMaster { absence, twice } => {
                fleet.gin.kill();
                sleep(absence);
                if twice { fleet.gin.start_twice() } else { fleet.gin.start_again() }
            }
            Self::PauseMaster { time } => {
                fleet.gin.signal(SIGSTOP);
                sleep(time);
                fleet.gin.signal(SIGCONT);
            }
            Self::KillWorker { which } => {
                let mut workers = fleet.spare_workers();
                workers.extend(fleet.leaving_workers());
                one_of(&workers, which).into_iter().for_each(|pid| fleet.kill_worker(pid));
            }
            Self::EndWorker { which } => {
                one_of(&fleet.spare_workers(), which).into_iter().for_each(|pid| fleet.end_worker(pid));
            }
            Self::PauseWorker { which, time } => {
                one_of(&fleet.serving_workers(), which).into_iter().for_each(|pid| fleet.pause_worker(pid, time));
            }
            Self::HangWorker { which } => {
                one_of(&fleet.spare_workers(), which).into_iter().for_each(|pid| fleet.hang_worker(pid));
            }
            Self::FullDisk { point } => fill_disk(fleet, point),
            Self::FewDescriptors { spare, time } => limit_descriptors(fleet, spare, time),
            Self::RemoveFile { name } => remove_file(fleet, name),
            Self::SecondMaster => assert_eq!(fleet.gin.start_beside(), 1, "a second master is refused"),
            Self::ShrinkInBackoff { which, is_killed, time } => shrink_in_backoff(fleet, which, is_killed, time),
        }
    }
}

/// One of these workers; none if there is none.
fn one_of(workers: &[i32], which: usize) -> Option<i32> {
    workers.get(which.checked_rem(workers.len())?).copied()
}

/// A configuration with another value for a key that stands on a line of its own.
fn with_setting(text: &str, key: &str, value: &str) -> String {
    let begin = format!("{key} = ");
    let change = |line: &str| if line.starts_with(&begin) { format!("{begin}{value}\n") } else { format!("{line}\n") };
    text.lines().map(change).collect()
}

fn restart_unfit(fleet: &mut Fleet, what: Unfit) {
    match what {
        Unfit::Release => fleet.gin.releases().release("unfit", "exit"),
        Unfit::Configuration => fleet.gin.configure(|text| format!("wrong = 1\n{text}")),
    }
    let outcome = fleet.ask(&["restart"]);
    assert_ne!(outcome.code, 0, "{what:?} is not fit: {outcome:?}");
    match what {
        Unfit::Release => fleet.gin.releases().point_to(GOOD),
        Unfit::Configuration => fleet.gin.configure(|text| text.replace("wrong = 1\n", "")),
    }
}

fn fill_disk(fleet: &mut Fleet, point: &str) {
    fleet.gin.order(&format!("{point} ENOSPC"));
    fleet.ask(&["restart"]);
    fleet.gin.order("");
    // The state is written again before anything else happens: a master that dies now leaves no old one.
    fleet.ask(&["restart"]);
}

fn limit_descriptors(fleet: &mut Fleet, spare: usize, time: Duration) {
    let master = Pid::from_raw(fleet.gin.pid().as_raw());
    let limit = (fleet.open_descriptors() + spare) as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let before =
        prlimit(master, Resource::Nofile, Rlimit { current: Some(limit), maximum }).expect("it may be limited");
    // Not awaited: the master may have no descriptor for its caller until the limit is gone.
    fleet.begin(&["restart"]);
    sleep(time);
    prlimit(master, Resource::Nofile, before).expect("the limit can be taken away");
}

fn remove_file(fleet: &mut Fleet, name: &str) {
    let run = fleet.gin.dir().join("run");
    std::fs::remove_file(run.join(name)).expect("the file is there");
    // The state comes back when it is saved, all others with a reload.
    fleet.gin.signal(if name == "state" { SIGUSR2 } else { SIGHUP });
    on_change(&run, "the master makes the file anew", || run.join(name).exists(), |is_there| *is_there);
}

fn shrink_in_backoff(fleet: &mut Fleet, which: usize, is_killed: bool, time: Duration) {
    let Some(pid) = one_of(&fleet.spare_workers(), which) else { return };
    let Some(slot) = fleet.slot_of(pid) else { return };
    let mode = fleet.gin.releases().path(GOOD).join("mode");
    let mut events = fleet.gin.events();
    std::fs::write(&mode, format!("exit-slot {slot}")).expect("the release can be written");
    if is_killed {
        fleet.kill_worker(pid);
    } else {
        fleet.end_worker(pid);
    }
    // The first time the slot does not wait. When its next worker has failed, too, it does.
    while events.until("respawns in ").text.contains("in 0 ms") {}
    sleep(time);
    let scaled = fleet.ask(&["scale", "-1"]);
    // The slot that waits is the one to go: nobody is waited for.
    assert!(!scaled.out.contains("is incomplete"), "{scaled:?}");
    if scaled.code == 0 {
        fleet.assert_whole();
    }
    std::fs::write(&mode, "ok").expect("the release can be written");
    fleet.ask(&["scale", "+1"]);
}

#[test]
fn a_setting_is_changed_on_its_line_alone() {
    let text = "[supervisor]\nsoak = \"0s\"\nsoaked = 1\n";
    assert_eq!(with_setting(text, "soak", "\"1s\""), "[supervisor]\nsoak = \"1s\"\nsoaked = 1\n");
}
