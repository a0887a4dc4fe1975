//! A version that is not fit to serve changes nothing, and the command that asked for it says so.

use std::os::unix::fs::PermissionsExt;

use harness::{Client, eventually, supervisor, write_program};

#[test]
fn ours_that_is_unfit_is_not_let_in() {
    let gin = supervisor()
        .workers(2)
        .ours("good", "ok")
        .set("channel = true\nready_timeout = \"3s\"\nsoak = \"500ms\"\ndrain_timeout = \"5s\"")
        .start();
    let releases = gin.releases();
    releases.release("mute", "never-ready");
    gin.refuses_restart(&["no READY=1 within ready_timeout = 3s", "nothing changed: generation 1 serves, 2/2"]);
    releases.release("broken", "exit");
    gin.refuses_restart(&["exited with status 3", "fixture: this release is broken", "nothing changed"]);
    releases.release("hasty", "crash 0");
    gin.refuses_restart(&["exited with status 3", "nothing changed"]);
    releases.release("deaf", "deaf");
    gin.refuses_restart(&["told to accept, it did not within 3s"]);
    releases.release("good", "ok");
    gin.restart();
    gin.stop();
}

#[test]
fn the_last_words_of_what_failed_stand_in_status_and_history_and_survive_the_master() {
    let mut gin = supervisor().ours("good", "ok").set("soak = \"0s\"").start();
    gin.releases().release("broken", "exit");
    gin.ctl(&["restart"]).assert(1, &["fixture: this release is broken"]);
    let tell = |gin: &harness::Supervisor| {
        for command in ["status", "history"] {
            gin.ctl(&[command]).assert(0, &["2 failed in", "said", "fixture: this release is broken"]);
        }
        let status = gin.status();
        let said = status.last_upgrade.expect("one has failed").said;
        assert!(said.iter().any(|line| line.contains("this release is broken")), "{said:?}");
    };
    tell(&gin);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &[]);
    tell(&gin);
    gin.die_and_adopt();
    tell(&gin);
    gin.stop();
}

#[test]
fn ours_that_crashes_while_it_soaks_is_withdrawn() {
    let gin = supervisor().workers(2).ours("good", "ok").set("soak = \"2s\"").start();
    gin.releases().release("weak", "crash 300");
    let before = gin.workers();
    gin.ctl(&["restart"])
        .assert(1, &["missing=soaked", "exited with status 3", "fixture: crashed as told", "nothing changed"]);
    assert_eq!(gin.workers(), before);
    gin.stop();
}

#[test]
fn a_candidate_killed_while_it_starts_is_withdrawn() {
    let gin = supervisor().ours("good", "ok").start();
    gin.releases().release("mute", "never-ready");
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    let started = events.until("worker started");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(started.pid.unwrap()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    events.until("generation 2 failed: slot 0");
    assert_eq!(gin.generation().0, 1);
    gin.stop();
}

#[test]
fn foreign_that_fails_after_ready_is_withdrawn() {
    let gin = supervisor().foreign("good", "ok").set("soak = \"1s\"").start();
    gin.releases().release("weak", "after-ready 0.2");
    let before = gin.workers();
    gin.ctl(&["restart"]).assert(1, &["exited with status 3", "No module named 'orders'", "nothing changed"]);
    assert_eq!(gin.workers(), before);
    gin.releases().release("dies", "die");
    gin.refuses_restart(&["exited with status 3", "No module named 'orders'"]);
    gin.stop();
}

#[test]
fn programs_that_cannot_be_started_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("app");
    let install = || std::fs::copy(harness::binary("fixture-worker"), &program).unwrap();
    install();
    let line = format!("command = [{program:?}]\nsoak = \"0s\"");
    let gin = supervisor().set(&line).start();

    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o644)).unwrap();
    gin.refuses_restart(&["app: not executable (mode 0644)"]);
    std::fs::remove_file(&program).unwrap();
    gin.refuses_restart(&["app: no such file or directory"]);
    write_program(&program, "not a program");
    gin.refuses_restart(&["app: exec format error"]);
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    gin.refuses_restart(&["app: no such file or directory"]);
    std::fs::remove_file(&program).unwrap();
    std::fs::create_dir(&program).unwrap();
    gin.refuses_restart(&["app: not a file"]);
    std::fs::remove_dir(&program).unwrap();
    install();
    gin.restart();
    gin.stop();
}

#[test]
fn a_configuration_that_cannot_be_used_changes_nothing() {
    let gin = supervisor().ours("good", "ok").start();
    let path = gin.dir().join("shop.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{good}\n[timeuots]\n")).unwrap();
    gin.ctl(&["restart"]).assert(2, &["unknown section; did you mean [timeouts]?", "shop.toml:"]);
    std::fs::write(&path, good.replace("[supervisor]", "[supervisor]\nuser = \"nobody-here\"")).unwrap();
    gin.ctl(&["restart"]).assert(2, &["user nobody-here: unknown"]);
    std::fs::remove_file(&path).unwrap();
    gin.ctl(&["restart"]).assert(2, &["cannot read it: no such file or directory"]);
    std::fs::write(&path, format!("{good}\n[features]\nhot_restart = false\n")).unwrap();
    gin.restart();
    gin.ctl(&["restart"]).assert(5, &["hot_restart = false"]);
    gin.stop();
}

#[test]
fn a_first_generation_that_fails_ends_the_supervisor_with_the_reason() {
    let (code, log) = supervisor().ours("broken", "exit").fails();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("fixture: this release is broken") && log.contains("exited with status 3"), "{log}");
    let (code, log) = supervisor().set("command = [\"/srv/x/bin/y\"]").fails();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("command /srv/x/bin/y: no such file or directory"), "{log}");
}

#[test]
fn a_program_that_accepts_elsewhere_is_told_of() {
    let gin = supervisor().foreign("one", "elsewhere").and_unix().set("soak = \"0s\"").start();
    let clients = [gin.tcp(), gin.unix()].map(|address| Client::connect(&address).unwrap());
    // A queue tells nobody that it stands still: it is looked at with each status.
    let status = eventually("nobody accepts", || gin.status(), |status| status.problems.len() == 2);
    assert!(status.degraded, "{status:#?}");
    for (problem, name) in status.problems.iter().zip(["http", "unix"]) {
        let start = format!("listener {name}: nobody has accepted a connection for ");
        assert!(problem.starts_with(&start) && problem.contains("LISTEN_FDS"), "{problem}");
        gin.ctl(&["status"]).assert(1, &["degraded", &start, "1 client waits"]);
        gin.until_log(&start);
    }
    drop(clients);
    gin.stop();
}

#[test]
fn a_program_that_binds_the_port_that_is_held_for_it_is_advised() {
    let gin = supervisor().foreign("one", "ok").set("soak = \"0s\"").start();
    gin.releases().release("binds", "binds");
    gin.ctl(&["restart"]).assert(1, &["Address already in use", "must take descriptor 3 (LISTEN_FDS)"]);
    let reason = gin.status().last_upgrade.and_then(|upgrade| upgrade.reason).unwrap();
    assert!(reason.contains("exited with status 1") && reason.contains("LISTEN_FDS"), "{reason}");
    gin.stop();
}
