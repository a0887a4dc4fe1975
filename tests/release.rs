//! A generation is frozen: what lies on disk later is the next one's affair.

use std::process::Command;

use harness::{fixture, supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_moved_symlink_is_followed_by_the_next_generation_alone() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let releases = gin.releases();
    assert_eq!(gin.get("/").json()["release"], "one");
    releases.release("two", "ok");
    let mut events = gin.events();
    // It crashes after the link has moved, and comes back as what it was.
    kill(Pid::from_raw(gin.workers()[0]), Signal::SIGKILL).unwrap();
    events.until("worker serving");
    let who = gin.get("/").json();
    assert_eq!((who["release"].as_str(), who["directory"].as_str()), (Some("one"), releases.path("one").to_str()));
    gin.restart();
    let who = gin.who();
    assert_eq!((who["release"].as_str(), who["directory"].as_str()), (Some("two"), releases.path("two").to_str()));
    assert!(gin.ctl(&["status"]).out.contains("release two"));
    gin.stop();
}

#[test]
fn a_worker_that_crashes_while_a_candidate_starts_comes_back_as_the_old_release() {
    let gin = supervisor().ours("one", "ok").set("ready_timeout = \"3s\"").start();
    gin.releases().release("two", "never-ready");
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    events.until("generation 2 started");
    kill(Pid::from_raw(gin.workers()[0]), Signal::SIGKILL).unwrap();
    events.until("worker serving");
    assert_eq!(gin.get("/").json()["release"], "one");
    gin.ctl(&["cancel"]).assert(0, &["cancelled"]);
    gin.stop();
}

#[test]
fn a_replaced_program_does_not_change_a_running_generation() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("app");
    std::fs::copy(harness::binary("fixture-worker"), &program).unwrap();
    let gin = supervisor().set(&format!("command = [{program:?}]")).start();
    // As a package manager does it: another file under the same name.
    let new = dir.path().join("app.new");
    std::fs::write(&new, "#!/bin/sh\nexit 9\n").unwrap();
    std::fs::set_permissions(&new, std::fs::metadata(&program).unwrap().permissions()).unwrap();
    std::fs::rename(&new, &program).unwrap();
    let mut events = gin.events();
    kill(Pid::from_raw(gin.workers()[0]), Signal::SIGKILL).unwrap();
    events.until("worker serving");
    assert_eq!(gin.get("/").status, 200);
    gin.ctl(&["restart"]).assert(1, &["exited with status 9"]);
    gin.stop();
}

#[test]
fn a_virtualenvs_python_finds_its_packages() {
    let builder = supervisor();
    let venv = builder.releases().path("one").join("venv");
    std::fs::create_dir_all(venv.parent().unwrap()).unwrap();
    let made = Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status().unwrap();
    assert!(made.success(), "python3-venv makes it");
    builder.releases().point_to("one");
    let python = builder.releases().current().join("venv/bin/python");
    let current = builder.releases().current();
    let script = fixture("foreign.py");
    let gin =
        builder.set(&format!("command = [{python:?}, {script:?}]\ndirectory = {current:?}\nsoak = \"0s\"")).start();
    let who = gin.get("/").json();
    assert_eq!(who["prefix"].as_str(), venv.to_str(), "its packages are elsewhere");
    gin.restart();
    gin.stop();
}

#[test]
fn a_worker_sees_what_systemd_would_show_it_and_nothing_of_the_masters() {
    let gin = supervisor()
        .ours("one", "ok")
        .and_unix()
        .set("soak = \"0s\"\nenv = { SECRET = \"7\" }")
        .env("LISTEN_FDS", "9")
        .env("LISTEN_PIDFDID", "1")
        .env("WATCHDOG_USEC", "1")
        .start();
    let who = gin.get("/").json();
    assert_eq!((who["listen_fds"].as_str(), who["listen_fdnames"].as_str()), (Some("2"), Some("http:unix")));
    assert_eq!(
        (who["generation"].as_str(), who["slot"].as_str(), who["secret"].as_str()),
        (Some("1"), Some("0"), Some("7"))
    );
    let environment = std::fs::read(format!("/proc/{}/environ", gin.workers()[0])).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains("LISTEN_PIDFDID") && !environment.contains("WATCHDOG_USEC"), "{environment}");
    // Its configuration is the snapshot of its generation, which goes with it.
    let snapshot = who["config"].as_str().unwrap().to_owned();
    assert!(std::fs::read_to_string(&snapshot).unwrap().contains("[supervisor]"));
    // With what it can be rolled back to: the last three.
    for _ in 0..3 {
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
        assert!(std::path::Path::new(&snapshot).exists());
    }
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    assert!(!std::path::Path::new(&snapshot).exists());
    gin.stop();
}
