//! The master is upgraded in place: another program goes on as the same process, with the same workers.

use std::collections::BTreeMap;
use std::path::Path;

use harness::{Client, Ctl, Supervisor, binary, eventually, supervisor, times, write_program};

#[test]
fn upgraded_in_place_under_load_the_master_keeps_its_pid_and_its_workers() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let load = gin.load();
    for round in 0..times(10, 200) {
        load.flows(20);
        let (pid, workers) = (gin.pid(), gin.workers());
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["step=checked", "is the master now", "workers went on"]);
        assert_eq!((gin.pid(), gin.workers()), (pid, workers));
        if round % 3 == 0 {
            gin.restart();
        }
    }
    load.finish().assert_unhurt();
    gin.ends_sound();
}

#[test]
fn connections_that_rest_are_kept_over_an_upgrade_in_place_and_a_death() {
    let mut gin = supervisor().workers(2).ours("one", "ok").and_unix().start();
    let ask = |client: &mut Client| client.get("/").unwrap();
    let addresses = [gin.tcp(), gin.unix()];
    let mut clients: Vec<Client> = (0..16).map(|n| Client::connect(&addresses[n % 2]).unwrap()).collect();
    clients.iter_mut().for_each(|client| assert!(!ask(client).closes()));
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["2 workers went on"]);
    clients.iter_mut().for_each(|client| assert!(!ask(client).closes()));
    gin.die_and_adopt();
    clients.iter_mut().for_each(|client| assert!(!ask(client).closes()));
    drop(clients);
    gin.stop();
}

#[test]
fn from_an_older_build_and_back_under_load_nobody_is_hurt() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = dir.path().join("gin-supervisor");
    let real = binary("gin-supervisor");
    install(&real, &program);
    let gin = supervisor().program(&program).workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let (load, fixture) = (gin.load(), harness::fixture("other-build.py"));
    let rounds = times(3, 50);
    for _ in 0..rounds {
        for build in ["older", "newer"] {
            let call = format!("{} {build} {} $0", fixture.display(), real.display());
            write_program(&program, &format!("#!/bin/sh\nexec /usr/bin/python3 {call} \"$@\"\n"));
            load.flows(20);
            let (pid, workers) = (gin.pid(), gin.workers());
            gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now", "workers went on"]);
            assert_eq!((gin.pid(), gin.workers()), (pid, workers));
            load.flows(20);
            gin.restart();
        }
    }
    load.finish().assert_unhurt();
    let log = std::fs::read_to_string(dir.path().join("gin-supervisor.log")).unwrap();
    let each = "older checked\nolder executed\nnewer checked\nnewer executed\n";
    assert_eq!(log, each.repeat(rounds));
    gin.ends_sound();
}

#[test]
fn signals_and_commands_across_an_upgrade_in_place_are_not_lost() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (program, real) = (dir.path().join("gin-supervisor"), binary("gin-supervisor"));
    install(&real, &program);
    let mut gin = supervisor().program(&program).ours("one", "ok").set("soak = \"0s\"").start();
    // In the midst of it: the signal comes when the old program is gone and the new one has not begun.
    let signalled = |signal: &str| {
        let at_exec = format!("[ -n \"$GIN_STATE_FD\" ] && kill -{signal} $$\n");
        write_program(&program, &format!("#!/bin/bash\n{at_exec}exec -a \"$0\" {} \"$@\"\n", real.display()));
    };
    signalled("USR2");
    let mut events = gin.events();
    for _ in 0..times(5, 50) {
        let before = gin.generation();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        // Followers are let go by an upgrade in place.
        events = gin.events();
        while gin.generation() == before {
            events.until("current");
        }
        let history: Vec<serde_json::Value> = serde_json::from_str(&gin.ctl(&["history", "--json"]).out).unwrap();
        assert!(history[0]["asked_by"].as_str().unwrap().starts_with("SIGUSR2"), "{history:?}");
        let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
        gin.restart();
        assert!(upgrade.wait_with_output().unwrap().status.success());
    }
    drop(events);
    signalled("TERM");
    let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
    gin.assert_gone(0);
    let _ = upgrade.wait_with_output();
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = dir.path().join("gin-supervisor");
    install(&binary("gin-supervisor"), &program);
    let gin = supervisor().program(&program).ours("one", "ok").start();
    let (pid, workers) = (gin.pid(), gin.workers());
    let refused = |why: &[&str]| {
        gin.ctl(&["upgrade-supervisor"]).assert(1, why);
        assert_eq!((gin.pid(), gin.workers()), (pid, workers.clone()));
        assert_eq!(gin.get("/").status, 200);
    };
    for (script, why) in [
        ("#!/bin/sh\necho no such luck >&2; exit 3\n", "no such luck"),
        ("#!/bin/sh\nexit 0\n", "no gin-supervisor that can take over"),
        ("#!/nowhere/at/all\n", "no such file"),
        // What it leaves behind keeps its output open.
        ("#!/bin/sh\nsleep 600 & echo no luck >&2; exit 3\n", "no luck"),
    ] {
        write_program(&program, script);
        refused(&["goes on as it is", why]);
    }
    std::fs::remove_file(&program).unwrap();
    refused(&["there is no such program any more"]);
    // It says that it can, and is gone when it is to be executed.
    let own = binary("gin-supervisor");
    write_program(&program, &format!("#!/bin/sh\nrm -f $0\nexec {} \"$@\"\n", own.display()));
    refused(&["goes on as it is", "no such program"]);
    install(&own, &program);
    gin.configure(|text| text.replace("workers", "wrokers").replace("[supervisor]", "[supervisor]\nwrong = 1"));
    gin.ctl(&["upgrade-supervisor"]).assert(2, &["goes on as it is", "wrong: unknown"]);
    assert_eq!((gin.pid(), gin.workers()), (pid, workers.clone()));
    gin.configure(|text| text.replace("wrong = 1", ""));
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    gin.restart();
    gin.stop();
}

fn install(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).unwrap();
    std::fs::rename(new, to).unwrap();
}

/// Descriptors of the master by kind, and its resident memory in KiB.
fn holds(gin: &Supervisor) -> (BTreeMap<String, usize>, u64) {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", gin.pid())).unwrap().flatten() {
        let link = std::fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        // A socket's number says nothing; a file's path does.
        let kind = link.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    (kinds, gin.memory())
}

#[test]
fn nothing_is_gathered_over_many_restarts_rollbacks_and_upgrades_in_place() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let restart = || gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    let restarts = |count: usize| {
        for round in 0..count {
            restart();
            if round % 10 == 4 {
                gin.ctl(&["rollback"]).assert(0, &[]);
                restart();
            }
        }
        // What can be rolled back to is kept: as much each time.
        (0..4).for_each(|_| restart());
        gin.assert_sound();
        holds(&gin)
    };
    // One process all the time, for an upgrade in place begins with an empty heap.
    let (few, few_kib) = restarts(5);
    let (many, many_kib) = restarts(times(20, 300));
    let upgrades = |count: usize| {
        for _ in 0..count {
            gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
        }
        restarts(5)
    };
    let (_, upgraded_few_kib) = upgrades(5);
    let (upgraded, upgraded_kib) = upgrades(times(10, 100));
    println!(
        "{few_kib} KiB, then {many_kib} KiB; upgraded {upgraded_few_kib} KiB, then {upgraded_kib} KiB; {upgraded:?}"
    );
    // The connection of the last gin-ctl may still be open, and the kernel has no event for the number of descriptors.
    let are_as_before = |now: &BTreeMap<String, usize>| {
        now.iter().all(|(kind, count)| few.get(kind).is_some_and(|before| count <= before))
    };
    eventually(&format!("no more descriptors than {few:?} and {many:?}"), || holds(&gin).0, are_as_before);
    assert!(many_kib < few_kib + few_kib / 10, "{few_kib} KiB, then {many_kib} KiB");
    assert!(upgraded_kib < upgraded_few_kib + upgraded_few_kib / 10, "{upgraded_few_kib} KiB, then {upgraded_kib} KiB");
    gin.stop();
}

#[test]
fn an_upgrade_that_waits_for_a_hook_is_not_held_up_by_new_workers_and_can_be_called_off() {
    let settings = "soak = \"0s\"\nhooks = { after_restart = [\"/bin/sleep\", \"1\"] }";
    let gin = supervisor().ours("one", "ok").set(settings).start();
    gin.restart();
    // The hook runs; workers come meanwhile.
    let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
    gin.ctl(&["scale", "2"]).assert(0, &["2 workers serve"]);
    gin.restart();
    let output = upgrade.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}\n{}", gin.log());

    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"60s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("serving");
    let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
    events.until("a command waits");
    gin.ctl(&["cancel"]).assert(0, &["cancelled"]);
    for command in [restart, upgrade] {
        assert_eq!(command.wait_with_output().unwrap().status.code(), Some(6));
    }
    gin.stop();
}

#[test]
fn a_program_that_is_replaced_after_it_was_checked_is_not_executed() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = dir.path().join("gin-supervisor");
    install(&binary("gin-supervisor"), &program);
    let gin = supervisor().program(&program).ours("one", "ok").set("soak = \"0s\"").start();
    let hold = gin.hold();
    gin.configure(|text| text.replace("soak", &format!("{}\nsoak", hold.warm_up())));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    let candidate = hold.arrived();
    let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
    events.until("a command waits");
    install(Path::new("/bin/false"), &program);
    candidate.release();
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &[]);
    Ctl::from(upgrade.wait_with_output().unwrap()).assert(1, &["was replaced after it was checked"]);
    assert_eq!(gin.get("/").status, 200);
    // A control socket that somebody has removed is there again afterwards.
    install(&binary("gin-supervisor"), &program);
    std::fs::remove_file(gin.dir().join("run/status.sock")).unwrap();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert!(gin.dir().join("run/status.sock").exists());
    gin.stop();
}

#[test]
fn workers_after_an_upgrade_in_place_have_the_environment_and_limits_of_the_boot() {
    let gin = supervisor().foreign("one", "ok").set("soak = \"0s\"").env("BOOTED_WITH", "this").start();
    let of_worker = |gin: &Supervisor| {
        let pid = gin.workers()[0];
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let own = ["GIN_GENERATION=", "GIN_CONFIG=", "NOTIFY_SOCKET=", "LISTEN_PID="];
        let entries = environment.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned());
        let mut entries: Vec<String> =
            entries.filter(|entry| !own.iter().any(|name| entry.starts_with(name))).collect();
        entries.sort();
        (entries, std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap())
    };
    let before = of_worker(&gin);
    assert!(before.0.contains(&"BOOTED_WITH=this".to_owned()));
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.restart();
    assert_eq!(of_worker(&gin), before);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    gin.restart();
    assert_eq!(of_worker(&gin), before);
    gin.stop();
}
