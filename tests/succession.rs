//! The master is upgraded in place, is killed, is found dead: clients do not notice.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use gin_shared::generation::Generation;
use gin_shared::state::{ProcessId, Slot, read, write};
use harness::{Address, Load, Supervisor, binary, supervisor, times};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn state_file(gin: &Supervisor) -> std::path::PathBuf {
    gin.dir().join("run/state")
}

/// Changes what the dead master has left.
fn edit(gin: &Supervisor, change: impl FnOnce(&mut Value)) {
    let file = std::fs::File::options().read(true).write(true).open(state_file(gin)).unwrap();
    let slot = read(&file).unwrap().unwrap();
    let mut state: Value = serde_json::from_slice(&slot.bytes).unwrap();
    change(&mut state);
    write(&file, &Slot { sequence: slot.sequence + 1, bytes: serde_json::to_vec(&state).unwrap() }).unwrap();
}

fn load(gin: &Supervisor) -> Load {
    let (tcp, unix) = (gin.tcp(), gin.unix());
    Load::new().keep_alive(&tcp, 4).one_shot(&tcp, 4).keep_alive(&unix, 2).one_shot(&unix, 2)
}

/// SIGKILL, and another start that adopts.
fn die_and_adopt(gin: &mut Supervisor) {
    let (master, workers) = (gin.pid(), gin.workers());
    gin.kill();
    gin.start_again();
    assert_ne!(gin.pid(), master);
    assert_eq!(gin.workers(), workers, "{}", gin.log());
}

#[test]
fn upgraded_in_place_under_load_the_master_keeps_its_pid_and_its_workers() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let load = load(&gin);
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
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.assert_sound();
    gin.stop();
}

#[test]
fn signals_and_commands_across_an_upgrade_in_place_are_not_lost() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    for round in 0..times(5, 50) {
        let before = gin.generation();
        let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
        if round % 2 == 0 {
            kill(gin.pid(), Signal::SIGUSR2).unwrap();
        }
        gin.ctl(&["restart"]).assert(0, &["serves"]);
        assert!(upgrade.wait_with_output().unwrap().status.success());
        gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
        assert!(gin.generation() > before, "{}", gin.log());
    }
    gin.stop();
}

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
    let output = restart.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("the supervisor died") && said.contains("generation 1 serves"), "{said}");
    assert_eq!(gin.generation(), Generation(1));
    gin.stop();
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
    refused(&["wrong: unknown"]);
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

fn write_program(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn killed_under_load_and_started_again_nobody_is_hurt() {
    let mut gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let load = load(&gin);
    for round in 0..times(5, 50) {
        load.flows(20);
        die_and_adopt(&mut gin);
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
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    gin.assert_sound();
    gin.stop();
}

#[test]
fn an_adopted_worker_of_any_language_is_respawned_drained_and_stopped() {
    let mut gin = supervisor().workers(2).foreign("one", "ok").set("soak = \"0s\"").start();
    let load = Load::new().one_shot(&gin.tcp(), 4);
    load.flows(20);
    die_and_adopt(&mut gin);
    let victim = gin.workers()[0];
    let mut events = gin.events();
    kill(Pid::from_raw(victim), Signal::SIGTERM).unwrap();
    events.until("ended with a status unknown");
    events.until("serving");
    assert_eq!(gin.workers().len(), 2);
    load.flows(20);
    gin.restart();
    die_and_adopt(&mut gin);
    load.finish().assert_unhurt();
    gin.stop();
}

#[test]
fn the_history_and_a_number_that_was_asked_for_survive_the_master() {
    let mut gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.restart();
    gin.ctl(&["scale", "2"]).assert(0, &[]);
    let before = gin.ctl(&["history", "--json"]).out;
    die_and_adopt(&mut gin);
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

/// What happens in the machine's every state: the master dies after so many steps of what `begin` starts.
fn die_at_every_step(gin: &mut Supervisor, point: &str, begin: impl Fn(&Supervisor), most: usize) -> usize {
    let load = Load::new().keep_alive(&gin.tcp(), 2).one_shot(&gin.tcp(), 2);
    let mut deaths = 0;
    for passes in 0..most {
        load.flows(10);
        gin.order(&format!("{point} kill {passes}"));
        begin(gin);
        gin.order("");
        // Whoever answers has done all that the order was for.
        let dead = gin.ctl(&["status"]).code == 3;
        if !dead {
            break;
        }
        deaths += 1;
        gin.start_again();
        load.flows(10);
        // Whatever was on its way is over: nobody is there but who serves, or drains.
        gin.restart();
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        gin.assert_sound();
        assert!(!gin.status().degraded);
    }
    load.finish().assert_unhurt();
    deaths
}

#[test]
fn killed_in_every_state_of_a_restart_the_next_one_ends_in_a_sound_fleet() {
    let settings = "soak = \"20ms\"\ndrain_timeout = \"5s\"";
    let mut gin = supervisor().faulty().ours("one", "ok").set(settings).start();
    let restart = |gin: &Supervisor| gin.ctl_until_death(&["restart", "--wait-drained"]);
    for point in ["loop.handled", "loop.performed", "keep.after"] {
        let deaths = die_at_every_step(&mut gin, point, restart, 60);
        println!("{deaths} states: {point}");
        assert!(deaths >= 4, "{deaths}: {point}");
    }
    gin.stop();
}

#[test]
fn killed_in_every_state_of_a_failing_and_of_a_rolling_restart_the_fleet_is_sound() {
    let settings = "soak = \"0s\"\nstrategy = \"rolling\"\nworkers = 2\ndrain_timeout = \"5s\"";
    let mut gin = supervisor().faulty().foreign("one", "ok").set(settings).start();
    let restart = |gin: &Supervisor| gin.ctl_until_death(&["restart"]);
    let most = times(12, 80);
    let deaths = die_at_every_step(&mut gin, "loop.performed", restart, most);
    assert!(deaths >= 4, "{deaths}");
    let fail = |gin: &Supervisor| {
        gin.releases().release("bad", "die");
        gin.ctl_until_death(&["restart"]);
        gin.releases().point_to("one");
    };
    let deaths = die_at_every_step(&mut gin, "loop.handled", fail, times(6, 80));
    assert!(deaths >= 4, "{deaths}");
    gin.stop();
}

#[test]
fn killed_at_every_step_of_spawning_it_leaves_no_stray_process() {
    let settings = "soak = \"0s\"\ndrain_timeout = \"5s\"\nhooks = { before_restart = [\"/bin/true\"] }";
    let mut gin = supervisor().faulty().ours("one", "ok").set(settings).start();
    gin.restart();
    let steps = [
        "snapshot.write",
        "notify.socket",
        "unix.bind",
        "channel.socket",
        "channel.listen",
        "channel.connect",
        "channel.send",
        "private.socket",
        "spawn.socketpair",
        "spawn.fork",
        "spawn.forked",
        "pidfd.open",
        "watch.epoll",
        "spawn.unrecorded",
        "keep.before",
        "state.write",
        "spawn.recorded",
        "spawn.memfd",
        "spawn.send",
        "spawn.sent",
        "pidfd.signal",
    ];
    for step in steps {
        let restart = |gin: &Supervisor| gin.ctl_until_death(&["restart", "--wait-drained"]);
        let deaths = die_at_every_step(&mut gin, step, restart, times(1, 20));
        assert!(deaths >= 1, "{step} is never reached");
    }
    gin.stop();
}

#[test]
fn killed_while_it_stops_or_boots_the_next_one_boots() {
    let mut gin = supervisor().faulty().ours("one", "ok").set("soak = \"0s\"\ndrain_timeout = \"5s\"").start();
    for passes in 0..3 {
        gin.order(&format!("keep.after kill {passes}"));
        gin.ctl_until_death(&["stop"]);
        assert!(gin.is_dead());
        // Booting: the first generation of the next one never serves.
        gin.order(&format!("keep.after kill {passes}"));
        gin.start_to_its_end();
        gin.order("");
        gin.start_again();
        assert_eq!(gin.get("/").status, 200);
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        gin.assert_sound();
    }
    gin.stop();
}

#[test]
fn workers_of_a_master_that_is_to_take_them_along_end_with_it() {
    let mut gin = supervisor().workers(2).ours("one", "ok").set("on_master_death = \"exit\"\nsoak = \"0s\"").start();
    gin.restart();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["2 workers went on"]);
    let workers = gin.workers();
    gin.kill();
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
    die_and_adopt(&mut gin);
    assert!(gin.log().contains("so what was in force before goes on"), "{}", gin.log());
    gin.ctl(&["restart"]).assert(2, &["wrong", "nothing changed"]);
    gin.configure(|text| text.replace("wrong = 1\n", ""));
    gin.restart();
    gin.stop();
}

#[test]
fn a_state_that_cannot_be_believed_is_told_of_and_the_start_is_sound() {
    type Spoil = fn(&Supervisor);
    let spoils: [(&str, Spoil); 8] = [
        ("truncated", |gin| std::fs::write(state_file(gin), "gin-state 1").unwrap()),
        ("corrupt", |gin| {
            let file = std::fs::File::options().write(true).open(state_file(gin)).unwrap();
            for offset in [200, gin_shared::state::SLOT + 200] {
                std::os::unix::fs::FileExt::write_all_at(&file, b"XXXX", offset).unwrap();
            }
        }),
        ("truncated", |gin| std::fs::write(state_file(gin), vec![0xff; 1 << 20]).unwrap()),
        ("reads up to 1", |gin| edit(gin, |state| state["version"] = json!(2))),
        ("of another boot", |gin| edit(gin, |state| state["boot_id"] = json!("0"))),
        ("it is of the instance", |gin| edit(gin, |state| state["state"]["instance"] = json!("other"))),
        ("cannot be read: missing field", |gin| edit(gin, |state| state["state"] = json!({}))),
        ("belongs to uid 65534", |gin| {
            std::os::unix::fs::chown(state_file(gin), Some(65534), None).unwrap();
        }),
    ];
    for (why, spoil) in spoils {
        let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
        let workers = gin.workers();
        gin.kill();
        gin.wait_dead();
        spoil(&gin);
        gin.start_again();
        let log = gin.log();
        assert!(log.contains("nothing is adopted") && log.contains(why), "{why}: {log}");
        assert!(gin.workers().iter().all(|pid| !workers.contains(pid)));
        gin.assert_sound();
        gin.restart();
        gin.stop();
    }
}

#[test]
fn a_recycled_pid_is_nobody_of_ours() {
    let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let workers = gin.workers();
    gin.kill();
    gin.wait_dead();
    let mut foreign = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(foreign.id()).unwrap();
    // Slot 0's PID is another's by now, who was started later; and a command's, too.
    let started = ProcessId::of(workers[0]).unwrap().started;
    kill(Pid::from_raw(workers[0]), Signal::SIGKILL).unwrap();
    edit(&gin, |state| {
        state["state"]["workers"][0]["process"] = json!({ "pid": pid, "started": started });
        state["state"]["commands"] = json!([{ "pid": pid, "started": started }]);
    });
    let said = gin.ctl(&["status"]);
    assert!(!said.out.contains(&pid.to_string()), "{said:?}");
    gin.start_again();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert_eq!(gin.workers().len(), 2);
    assert!(foreign.try_wait().unwrap().is_none(), "a foreign process was ended");
    gin.assert_sound();
    gin.stop();
    assert!(foreign.try_wait().unwrap().is_none(), "a foreign process was ended");
    foreign.kill().unwrap();
    let _ = foreign.wait();
}

#[test]
fn an_older_state_is_read_and_what_a_later_one_says_more_is_passed_over() {
    for back in [false, true] {
        let mut gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
        let workers = gin.workers();
        gin.kill();
        gin.wait_dead();
        let fixture: Value = serde_json::from_str(include_str!("fixtures/state-1.json")).unwrap();
        edit(&gin, |state| if back { enrich(state) } else { reduce(state, &fixture) });
        gin.start_again();
        assert_eq!(gin.workers(), workers, "{}", gin.log());
        gin.restart();
        gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
        gin.stop();
    }
}

/// Leaves of `state` just what the oldest format has, which `fixture` shows.
fn reduce(state: &mut Value, fixture: &Value) {
    match (state, fixture) {
        (Value::Object(state), Value::Object(fixture)) => {
            state.retain(|key, _| fixture.contains_key(key));
            for (key, value) in state {
                reduce(value, &fixture[key]);
            }
        }
        (Value::Array(state), Value::Array(fixture)) => {
            if let Some(first) = fixture.first() {
                state.iter_mut().for_each(|value| reduce(value, first));
            }
        }
        _ => {}
    }
}

/// What a later version might add, everywhere that is a structure of fields.
fn enrich(state: &mut Value) {
    let more = |value: &mut Value| value["a_later_field"] = json!({ "of": ["a later", "version"] });
    more(state);
    for path in
        ["/state", "/state/machine", "/state/paths", "/state/workers/0", "/state/generations/0", "/state/sockets/0"]
    {
        more(state.pointer_mut(path).unwrap_or_else(|| panic!("{path}")));
    }
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
    gin.signal(Signal::SIGSTOP);
    kill(gin.pid(), Signal::SIGUSR2).unwrap();
    load.flows(100);
    let mut events = None;
    gin.signal(Signal::SIGCONT);
    let _ = events.get_or_insert_with(|| gin.events());
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    load.finish().assert_unhurt();
    // A worker that is stopped takes the order to end, too.
    let victim = gin.workers()[0];
    kill(Pid::from_raw(victim), Signal::SIGSTOP).unwrap();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert!(!gin.workers().contains(&victim));
    gin.stop();
}

/// What the master has: descriptors by kind, and resident memory in KiB.
fn holds(gin: &Supervisor) -> (std::collections::BTreeMap<String, usize>, u64) {
    let mut kinds = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", gin.pid())).unwrap().flatten() {
        let link = std::fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        // A socket's number says nothing; a file's path does.
        let kind = link.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", gin.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (kinds, line.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn nothing_is_gathered_over_many_restarts_rollbacks_and_upgrades_in_place() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let rounds = |restarts: usize, upgrades: usize| {
        for round in 0..restarts {
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
            if round % (restarts / upgrades) == 0 {
                gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
            }
            if round % 10 == 4 {
                gin.ctl(&["rollback"]).assert(0, &[]);
                gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
            }
        }
        // What can be rolled back to is kept: as much each time.
        for _ in 0..4 {
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        }
        gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
        gin.assert_sound();
        holds(&gin)
    };
    let (few, few_kib) = rounds(5, 5);
    let (many, many_kib) = rounds(times(20, 300), times(10, 100));
    println!("{few_kib} KiB, then {many_kib} KiB; {many:?}");
    // The connection of the gin-ctl before may be open still, at either look.
    let began = std::time::Instant::now();
    while !holds(&gin).0.iter().all(|(kind, count)| few.get(kind).is_some_and(|before| count <= before)) {
        assert!(began.elapsed() < harness::PATIENCE, "{few:?}, then {:?}", holds(&gin).0);
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    assert!(many_kib < few_kib + few_kib / 5, "{few_kib} KiB, then {many_kib} KiB");
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
    let settings = "soak = \"0s\"";
    let gin = supervisor().program(&program).ours("one", "ok").set(settings).start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"5s\""));
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("serving");
    let upgrade = gin.ctl_in_background(&["upgrade-supervisor"]);
    events.until("a command waits");
    install(Path::new("/bin/false"), &program);
    assert!(restart.wait_with_output().unwrap().status.success());
    let output = upgrade.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(1) && said.contains("was replaced after it was checked"), "{said}");
    assert_eq!(gin.get("/").status, 200);
    // A control socket that somebody has removed is there again afterwards.
    install(&binary("gin-supervisor"), &program);
    std::fs::remove_file(gin.dir().join("run/status.sock")).unwrap();
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    assert!(gin.dir().join("run/status.sock").exists());
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
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    gin.releases().release("three", "ok");
    gin.start_again();
    assert_eq!((gin.generation(), gin.status().rollback), (Generation(3), Some(Generation(2))));
    gin.ctl(&["rollback"]).assert(0, &[]);
    assert_eq!(gin.get("/").json()["release"], "two");
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
    kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
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

/// Root looks for instances where anybody can make a directory: what it finds there is not believed beyond its owner.
#[test]
fn a_state_that_somebody_forged_has_nobody_of_ours_ended() {
    let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
    let mut victim = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let file = dir.path().join("precious");
    std::fs::write(&file, "x").unwrap();
    let meta = std::fs::metadata(&file).unwrap();
    let (device, inode) = (std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta));
    let process = ProcessId::of(i32::try_from(victim.id()).unwrap()).unwrap();
    let state = json!({ "version": 1, "boot_id": gin_shared::state::boot_id(), "state": {
        "instance": "shop", "master": { "pid": 1, "started": 1 }, "paths": {},
        "workers": [{ "id": { "generation": 1, "slot": 0, "attempt": 0 }, "process": process, "stop_signal": 15 }],
        "sockets": [{ "address": format!("unix:{}", file.display()), "file": [device, inode] }],
    } });
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("instance.lock"), "").unwrap();
    let written = std::fs::File::create(run.join("state")).unwrap();
    write(&written, &Slot { sequence: 1, bytes: serde_json::to_vec(&state).unwrap() }).unwrap();
    std::fs::set_permissions(run.join("state"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["run", "run/state", "run/instance.lock"] {
        std::os::unix::fs::chown(dir.path().join(name), Some(65534), None).unwrap();
    }
    let stop = || harness::Ctl::run(&run.join("control.sock"), &["stop"]);
    stop().assert(3, &["no supervisor there"]);
    assert!(victim.try_wait().unwrap().is_none() && file.exists());
    // A pipe in its place makes nobody wait.
    std::fs::remove_file(run.join("state")).unwrap();
    nix::unistd::mkfifo(&run.join("state"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    stop().assert(3, &["no supervisor there"]);
    victim.kill().unwrap();
    let _ = victim.wait();
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
