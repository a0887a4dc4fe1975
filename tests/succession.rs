//! The master is killed, or hangs: clients do not notice, and the next one is in full command.

mod steps;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};

use gin_shared::generation::Generation;
use gin_shared::process::Pidfd;
use harness::{Address, Client, Ctl, Load, PATIENCE, Process, Supervisor, supervisor, times};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[test]
fn a_restart_under_way_is_followed_over_a_death_and_an_upgrade_waits_for_it() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"\ndrain_timeout = \"5s\"").start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"30s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("generation 2 serving");
    gin.ctl(&["upgrade-supervisor", "--no-queue"]).assert(4, &["on their way"]);
    gin.ctl(&["rollback"]).assert(4, &["generation 2 is on its way"]);
    gin.kill();
    gin.start_again();
    let restart = Ctl::from(restart.wait_with_output().unwrap());
    restart.assert(6, &["the supervisor died", "generation 1 serves"]);
    assert_eq!(gin.generation(), Generation(1));
    gin.stop();
}

/// Reads what a gin-ctl says until it has said `part`; gives what it is still to say.
fn until_said(ctl: &mut Child, part: &str) -> BufReader<ChildStdout> {
    let (mut out, mut seen) = (BufReader::new(ctl.stdout.take().unwrap()), String::new());
    while !seen.contains(part) {
        assert!(out.read_line(&mut seen).unwrap() > 0, "no {part:?} in {seen:?}");
    }
    out
}

/// The rest of what it says, and its exit code.
fn to_its_end(ctl: Child, mut out: BufReader<ChildStdout>) -> Ctl {
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    Ctl { out: rest, ..Ctl::from(ctl.wait_with_output().unwrap()) }
}

#[test]
fn a_command_whose_last_step_the_dead_master_had_not_saved_is_followed_to_its_end() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"60s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("generation 2 serving");
    let mut scale = gin.ctl_in_background(&["scale", "2"]);
    let out = until_said(&mut scale, "step=waiting");
    gin.kill();
    gin.start_again();
    to_its_end(scale, out).assert(0, &["2 workers serve"]);
    Ctl::from(restart.wait_with_output().unwrap()).assert(6, &["the supervisor died"]);
    gin.stop();
}

#[test]
fn who_waits_for_the_old_generation_waits_over_an_upgrade_in_place_and_a_death() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").section("[timeouts]\nshutdown = \"40s\"").start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    let mut restart = gin.ctl_in_background(&["restart", "--wait-drained"]);
    let out = until_said(&mut restart, "step=ended");
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    gin.kill();
    gin.start_again();
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    drop(client);
    to_its_end(restart, out).assert(0, &["step=drained"]);
    gin.stop();
}

#[test]
fn the_time_of_a_command_runs_out_while_there_is_no_master() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"60s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart", "--timeout", "5s"]);
    events.until("generation 2 serving");
    gin.kill();
    gin.wait_dead();
    Ctl::from(restart.wait_with_output().unwrap()).assert(6, &["not done within 5s"]);
    gin.start_again();
    gin.stop();
}

#[test]
fn killed_under_load_and_started_again_nobody_is_hurt() {
    let mut gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let load = gin.load();
    for round in 0..times(5, 50) {
        load.flows(20);
        gin.die_and_adopt();
        load.flows(20);
        match round % 5 {
            0 => gin.ctl(&["scale", "3"]).assert(0, &["3 workers serve"]),
            1 => gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]),
            2 => gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]),
            _ => gin.usr2(),
        }
        gin.restart();
    }
    load.finish().assert_unhurt();
    gin.ends_sound();
}

#[test]
fn an_adopted_worker_of_any_language_is_respawned_drained_and_stopped() {
    let mut gin = supervisor().workers(2).foreign("one", "ok").set("soak = \"0s\"").start();
    let load = Load::new().one_shot(&gin.tcp(), 4);
    load.flows(20);
    gin.die_and_adopt();
    let victim = gin.workers()[0];
    let mut events = gin.events();
    kill(Pid::from_raw(victim), Signal::SIGTERM).unwrap();
    events.until("stops, and nobody here has told it to");
    events.until("worker serving");
    gin.until_log("ended with a status unknown");
    assert_eq!(gin.workers().len(), 2);
    load.flows(20);
    gin.restart();
    gin.die_and_adopt();
    load.finish().assert_unhurt();
    gin.stop();
}

#[test]
fn the_history_and_a_number_that_was_asked_for_survive_the_master() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.restart();
    gin.ctl(&["scale", "2"]).assert(0, &[]);
    let before = gin.ctl(&["history", "--json"]).out;
    gin.die_and_adopt();
    let after: Vec<Value> = serde_json::from_str(&gin.ctl(&["history", "--json"]).out).unwrap();
    let before: Vec<Value> = serde_json::from_str(&before).unwrap();
    assert_eq!(after.len(), before.len());
    for (a, b) in after.iter().zip(&before) {
        for key in ["generation", "release", "done", "asked_by", "phases", "took_ms"] {
            assert_eq!(a[key], b[key], "{key}");
        }
    }
    assert!(!after[0]["phases"].as_array().unwrap().is_empty());
    gin.restart();
    assert_eq!(gin.workers().len(), 2);
    gin.stop();
}

#[test]
fn a_task_that_panics_takes_the_master_with_it_and_the_next_one_adopts() {
    let mut gin = supervisor().workers(2).faulty().ours("one", "ok").set("soak = \"0s\"").start();
    let (load, workers) = (Load::new().one_shot(&gin.tcp(), 2), gin.workers());
    // In the task that looks after a worker: the loop itself would go on.
    gin.order("watch.heard panic");
    gin.ctl_until_death(&["restart"]);
    assert_eq!(gin.wait(), -1, "a signal ends it");
    assert!(gin.log().contains("as ordered"), "{}", gin.log());
    gin.order("");
    gin.start_again();
    assert_eq!(gin.workers(), workers);
    load.flows(20);
    load.finish().assert_unhurt();
    gin.ends_sound();
}

#[test]
fn workers_of_a_master_that_is_to_take_them_along_end_with_it() {
    let mut gin = supervisor().workers(2).ours("one", "ok").set("on_master_death = \"exit\"\nsoak = \"0s\"").start();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["2 workers went on"]);
    let workers = gin.workers();
    let processes: Vec<Pidfd> = workers.iter().map(|pid| Pidfd::open(*pid).unwrap().expect("it serves")).collect();
    gin.kill();
    // They end a moment after their master: one that is on its way out would be adopted.
    assert!(processes.iter().all(|process| process.has_ended(PATIENCE)), "they outlived their master");
    gin.start_again();
    assert_eq!(gin.generation(), Generation(3));
    assert!(gin.workers().iter().all(|pid| !workers.contains(pid)));
    let history: Vec<Value> = serde_json::from_str(&gin.ctl(&["history", "--json"]).out).unwrap();
    assert_eq!(history.len(), 3, "what was before is not forgotten");
    gin.assert_sound();
    gin.stop();
}

#[test]
fn without_a_master_gin_ctl_tells_what_serves_and_ends_it() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().start();
    let mut pids = gin.workers();
    let address = gin.tcp();
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.kill();
    let mut gin = gin;
    gin.wait_dead();
    let said = gin.ctl(&["status"]);
    pids.sort_unstable();
    said.assert(3, &["no supervisor, but workers", "still serve", &pids[0].to_string(), &pids[1].to_string()]);
    let json: Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
    assert_eq!((&json["state"], json["workers"].as_array().unwrap().len()), (&"no_supervisor".into(), 2));
    gin.ctl(&["restart"]).assert(3, &["no supervisor there"]);
    assert_eq!(harness::get(&address, "/").unwrap().status, 200);
    gin.ctl(&["stop"]).assert(0, &["2 workers of shop"]);
    gin.assert_nothing_left();
    gin.ctl(&["status"]).assert(3, &["no supervisor there"]);
}

#[test]
fn a_configuration_that_was_broken_meanwhile_does_not_leave_the_workers_alone() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.configure(|text| format!("wrong = 1\n{text}"));
    gin.die_and_adopt();
    gin.until_log("so what was in force before goes on");
    gin.ctl(&["restart"]).assert(2, &["wrong", "nothing changed"]);
    gin.configure(|text| text.replace("wrong = 1\n", ""));
    gin.restart();
    gin.stop();
}

#[test]
fn a_master_that_hangs_for_a_while_and_a_worker_that_is_stopped_lose_nothing() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let load = Load::new().keep_alive(&gin.tcp(), 4).one_shot(&gin.tcp(), 4);
    load.flows(20);
    gin.signal(Signal::SIGSTOP);
    load.flows(200);
    gin.signal(Signal::SIGCONT);
    gin.restart();
    // A signal that comes while the master hangs is a restart when it goes on.
    let mut events = gin.events();
    gin.signal(Signal::SIGSTOP);
    kill(gin.pid(), Signal::SIGUSR2).unwrap();
    load.flows(100);
    gin.signal(Signal::SIGCONT);
    events.until_of(3, "current");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    load.finish().assert_unhurt();
    // A worker that is stopped takes the order to end, too.
    let victim = gin.workers()[0];
    Process(victim.cast_unsigned()).stop();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert!(!gin.workers().contains(&victim));
    gin.stop();
}

#[test]
fn of_a_fleet_that_died_with_its_master_the_last_good_generation_can_be_brought_back() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.releases().release("two", "ok");
    gin.restart();
    let worker = gin.workers()[0];
    gin.kill();
    gin.wait_dead();
    gin.kill_worker(worker);
    gin.releases().release("three", "ok");
    gin.start_again();
    assert_eq!((gin.generation(), gin.status().rollback), (Generation(3), Some(Generation(2))));
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(gin.who()["release"], "two");
    gin.stop();
}

#[test]
fn a_candidate_that_is_all_that_serves_goes_on_until_another_generation_does() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"60s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("generation 2 serving");
    let old = gin.workers()[0];
    gin.kill();
    gin.wait_dead();
    gin.kill_worker(old);
    gin.configure(|text| text.replace("soak = \"60s\"", "soak = \"500ms\""));
    let load = Load::new().one_shot(&Address::from(gin.known_tcp().as_str()), 4);
    load.flows(10);
    gin.start_again();
    assert_eq!(gin.generation(), Generation(3));
    load.flows(10);
    load.finish().assert_unhurt();
    let _ = restart.wait_with_output();
    gin.stop();
}

/// The wall clock is for people: what is reckoned with is CLOCK_MONOTONIC.
#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    let shift = |gin: &Supervisor, by: &str| {
        std::fs::write(gin.dir().join("clock.new"), by).unwrap();
        std::fs::rename(gin.dir().join("clock.new"), gin.dir().join("clock")).unwrap();
    };
    let builder = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"200ms\"\ndrain_timeout = \"20s\"");
    let clock = builder.dir().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let library = harness::fake_clock();
    let mut gin = builder
        .env("LD_PRELOAD", library.to_str().unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let load = gin.load();
    for by in ["+400d", "-400d", "+0"] {
        let mut events = gin.events();
        let restart = gin.ctl_in_background(&["restart"]);
        events.until("serving");
        // In the midst of its soak, and of the old one's drain.
        shift(&gin, by);
        assert!(restart.wait_with_output().unwrap().status.success());
        load.flows(20);
        gin.die_and_adopt();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    }
    load.finish().assert_unhurt();
    let log = gin.log();
    let years: std::collections::BTreeSet<&str> =
        log.lines().filter_map(|line| line.strip_prefix("{\"timestamp\":\"")?.get(..4)).collect();
    assert!(years.len() >= 3, "the clock did not jump: {years:?}");
    let history: Vec<Value> = serde_json::from_str(&gin.ctl(&["history", "--json"]).out).unwrap();
    assert_eq!(history.len(), 4, "the boot and three restarts: {history:?}");
    for entry in &history {
        let took = entry["took_ms"].as_u64().unwrap();
        assert!(took < 45_000, "{entry}");
    }
    let status = gin.status();
    assert!(status.generations.iter().all(|generation| !generation.workers.is_empty()) && !status.degraded);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.stop();
}
