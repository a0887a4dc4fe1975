//! Workers that are kept fit: one that hangs, grows or ages is replaced, and nobody notices.

use harness::{Load, eventually, get, supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_worker_that_hangs_is_sent_sigabrt_and_replaced() {
    let gin = supervisor().ours("one", "ok").workers(2).set("watchdog = \"2s\"\nsoak = \"0s\"").start();
    let victim = gin.workers()[0];
    let mut events = gin.events();
    kill(Pid::from_raw(victim), Signal::SIGSTOP).unwrap();
    events.until("is to be replaced: it hangs: no WATCHDOG=1 within watchdog = 2s");
    events.until("sent SIGABRT");
    events.until("was killed by SIGABRT");
    events.until("worker serving");
    let workers = gin.workers();
    assert!(workers.len() == 2 && !workers.contains(&victim), "{workers:?}");
    // Those that are well are left alone.
    gin.restart();
    gin.until_log("worker 1.0 is to be replaced");
    let log = gin.log();
    assert!(!log.contains("worker 2.0 is to be replaced"), "{log}");
    gin.stop();
}

#[test]
fn a_candidate_that_hangs_while_it_soaks_is_withdrawn() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"30s\"\nwatchdog = \"2s\""));
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    events.until_of(2, "generation 2 serving");
    let status = gin.status();
    let candidate = status.generations.iter().find(|generation| generation.generation.0 == 2).unwrap();
    kill(Pid::from_raw(candidate.workers[0].pid.unwrap()), Signal::SIGSTOP).unwrap();
    events.until("generation 2 failed: it hangs: no WATCHDOG=1 within watchdog = 2s");
    assert_eq!(gin.generation().0, 1);
    gin.stop();
}

#[test]
fn a_worker_that_grows_is_replaced_before_it_drains() {
    let gin = supervisor()
        .ours("one", "ok")
        .workers(2)
        .set("soak = \"0s\"\nlimits = { memory_restart = \"200MiB\" }")
        .start();
    let load = Load::new().keep_alive(&gin.tcp(), 8).one_shot(&gin.tcp(), 8);
    load.flows(100);
    let mut events = gin.events();
    let grown = String::from_utf8(get(&gin.tcp(), "/grow?mb=300").unwrap().body).unwrap();
    let told = events.until("is to be replaced: it holds");
    assert_eq!(told.pid.map(|pid| pid.to_string()), Some(grown.clone()));
    assert!(told.text.contains("more than limits.memory_restart"), "{}", told.text);
    assert_eq!(events.until("worker ").text, "worker spawned");
    events.until("worker serving");
    assert_eq!(events.until("worker draining").pid.map(|pid| pid.to_string()), Some(grown.clone()));
    events.until("worker exited with status 0");
    load.flows(100);
    kept(load);
    assert!(!gin.workers().contains(&grown.parse().unwrap()));
    gin.stop();
}

/// Nobody was hurt, and who stays connected stayed so.
fn kept(load: Load) {
    load.finish().assert_kept();
}

#[test]
fn workers_that_age_are_replaced_one_after_the_other() {
    let gin = supervisor().ours("one", "ok").workers(2).set("soak = \"0s\"\nlimits = { max_age = \"2s\" }").start();
    let first = gin.workers();
    let load = Load::new().keep_alive(&gin.tcp(), 8).one_shot(&gin.tcp(), 8);
    let mut events = gin.events();
    for _ in 0..2 {
        events.until("is to be replaced: it has reached limits.max_age");
        let spawned = events.until("worker spawned").slot;
        assert_eq!(events.until("worker serving").slot, spawned);
        assert_eq!(events.until("worker draining").slot, spawned);
        assert_eq!(events.until("worker exited with status 0").slot, spawned);
    }
    load.flows(100);
    kept(load);
    assert!(gin.workers().iter().all(|pid| !first.contains(pid)));
    assert_eq!(gin.generation().0, 1);
    gin.stop();
}

#[test]
fn one_that_came_later_ages_too() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"\nlimits = { max_age = \"1s\" }").start();
    let mut events = gin.events();
    kill(Pid::from_raw(gin.workers()[0]), Signal::SIGKILL).unwrap();
    events.until("was killed by SIGKILL");
    events.until("worker serving");
    events.until("is to be replaced: it has reached limits.max_age");
    events.until("worker draining");
    gin.stop();
}

#[test]
fn one_that_hangs_does_not_wait_for_a_slot_that_crashes() {
    let gin = supervisor().ours("one", "ok").workers(2).set("watchdog = \"2s\"\nsoak = \"0s\"").start();
    let status = gin.status();
    let workers: Vec<i32> = status.generations[0].workers.iter().filter_map(|worker| worker.pid).collect();
    // From now on slot 1 does not come up again.
    std::fs::write(gin.releases().path("one").join("mode"), "exit-slot 1").unwrap();
    let mut events = gin.events();
    kill(Pid::from_raw(workers[1]), Signal::SIGKILL).unwrap();
    // A tenth of a second, and up to a quarter more.
    events.until("respawns in 1");
    kill(Pid::from_raw(workers[0]), Signal::SIGSTOP).unwrap();
    assert_eq!(events.until("sent SIGABRT").pid, Some(workers[0]));
    gin.stop();
}

#[test]
fn fewer_workers_are_those_that_serve() {
    let gin = supervisor().ours("one", "ok").workers(2).set("soak = \"0s\"").start();
    let status = gin.status();
    let workers: Vec<i32> = status.generations[0].workers.iter().filter_map(|worker| worker.pid).collect();
    // From now on slot 0 does not come up again.
    std::fs::write(gin.releases().path("one").join("mode"), "exit-slot 0").unwrap();
    let load = Load::new().keep_alive(&gin.tcp(), 4).one_shot(&gin.tcp(), 4);
    load.flows(50);
    let mut events = gin.events();
    kill(Pid::from_raw(workers[0]), Signal::SIGTERM).unwrap();
    // A tenth of a second, and up to a quarter more.
    events.until("respawns in 1");
    gin.ctl(&["scale", "1"]).assert(0, &["1 worker serves"]);
    load.flows(50);
    // The one that was told to end may still be on its way: its last connections close.
    eventually("the other one alone", || gin.workers(), |pids| *pids == [workers[1]]);
    load.finish().assert_unhurt();
    // The slot that is left has another number than that of the next generation.
    std::fs::write(gin.releases().path("one").join("mode"), "ok").unwrap();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    assert_eq!(gin.workers(), [workers[1]], "{}", gin.log());
    gin.configure(|text| text.replace("soak =", "strategy = \"rolling\"\nsoak ="));
    gin.restart();
    gin.ends_sound();
}

#[test]
fn a_limit_that_every_worker_exceeds_does_not_fill_the_machine_with_them() {
    let gin = supervisor()
        .foreign("one", "ignore-term")
        .set("soak = \"0s\"\ndrain_timeout = \"30s\"\nlimits = { memory_restart = \"1MiB\" }")
        .start();
    let mut events = gin.events();
    events.until("is to be replaced: it holds");
    events.until("worker draining");
    // The fresh one is too large as well; but the one before it is still there.
    events.until("is to be replaced: it holds");
    let before = gin.workers().len();
    assert_eq!(before, 2);
    gin.ctl(&["stop", "--fast"]).assert(0, &[]);
}

#[test]
fn what_a_worker_may_and_how_it_is_treated_is_set() {
    let gin = supervisor()
        .open_directory()
        .foreign("one", "ok")
        .set(
            "soak = \"0s\"\nuser = \"nobody\"\ncapabilities = [\"CAP_NET_BIND_SERVICE\"]\ncpu_affinity = [\"0\"]\n\
             oom_score_adjust = 321\nnice = 3\nlimits = { nproc = 1000, core = \"1MiB\" }",
        )
        .start();
    let pid = gin.workers()[0];
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let status = read("status");
    for line in ["CapEff:\t0000000000000400", "CapAmb:\t0000000000000400", "Cpus_allowed_list:\t0", "Uid:\t65534"] {
        assert!(status.contains(line), "no {line}: {status}");
    }
    assert_eq!(read("oom_score_adj").trim(), "321");
    assert_eq!(read("stat").rsplit_once(") ").unwrap().1.split(' ').nth(16), Some("3"));
    let limits = read("limits");
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max processes").contains(" 1000 "), "{limits}");
    assert!(limit("Max core file size").contains(" 1048576 "), "{limits}");
    gin.stop();
}
