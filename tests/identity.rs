//! Workers with rights, limits and manners of their own.

use std::os::unix::fs::PermissionsExt;

use harness::{Supervisor, on_change, supervisor};

fn proc(gin: &Supervisor, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{}/{file}", gin.workers()[0])).unwrap()
}

fn line<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().collect()
}

#[test]
fn who_is_not_root_hears_that_user_needs_it() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let file = dir.path().join("shop.toml");
    std::fs::write(&file, "[supervisor]\nuser = \"nobody\"\n").unwrap();
    for path in [dir.path(), &file] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for args in [&["-t"][..], &[]] {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=1", "--regid=1", "--clear-groups", "--"]).arg(harness::binary("gin-supervisor"));
        let output = command.args(args).arg("-c").arg(&file).env_remove("NOTIFY_SOCKET").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let why = "shop.toml:2: supervisor.user: only root can give workers another user, and this is uid 1";
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_worker_of_another_user_has_its_rights_and_says_ready() {
    assert!(nix::unistd::Uid::effective().is_root(), "only root can start workers as another user");
    let builder = supervisor().ours("one", "ok");
    let dir = builder.releases().current().parent().unwrap().to_owned();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Built below a home directory that others cannot enter.
    let program = dir.join("app");
    std::fs::copy(harness::binary("fixture-worker"), &program).unwrap();
    let settings = format!(
        "command = [{program:?}]\nchannel = true\ndirectory = {:?}\nsoak = \"0s\"\nuser = \"daemon\"\numask = \"0027\"\nnice = 5\n\
         limits = {{ nofile = 2000 }}\nworkers = 2",
        builder.releases().current()
    );
    // The releases' directory lives as long as this builder.
    let gin = supervisor().open_directory().set(&settings).start();
    let status = proc(&gin, "status");
    assert_eq!(line(&status, "Uid:")[1..], ["1", "1", "1", "1"]);
    assert_eq!(line(&status, "Gid:")[1..], ["1", "1", "1", "1"]);
    assert_eq!(line(&status, "Umask:")[1], "0027");
    assert_eq!(line(&status, "SigBlk:")[1], "0000000000000000");
    assert_eq!(line(&proc(&gin, "limits"), "Max open files")[3], "2000");
    assert_eq!(proc(&gin, "stat").rsplit(") ").next().unwrap().split(' ').nth(16), Some("5"));
    let environment = proc(&gin, "environ");
    assert!(environment.contains("\0USER=daemon\0") && environment.contains("\0HOME=/usr/sbin\0"), "{environment}");
    assert_eq!(gin.get("/").status, 200);
    gin.restart();
    gin.stop();
}

#[test]
fn a_worker_of_a_master_that_dies_goes_on_or_ends_as_configured() {
    for (setting, lives) in [("serve", true), ("exit", false)] {
        let gin = supervisor().ours("one", "ok").set(&format!("on_master_death = \"{setting}\"")).start();
        let (address, worker) = (gin.tcp(), gin.workers()[0]);
        let pid = rustix::process::Pid::from_raw(worker).unwrap();
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        gin.kill();
        if lives {
            assert_eq!(harness::get(&address, "/").unwrap().json()["pid"], worker);
        } else {
            let mut ended = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
            let patience = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut ended, Some(&patience)).unwrap(), 1, "it lives on");
        }
    }
}

#[test]
fn a_low_limit_of_descriptors_is_the_workers_alone() {
    let gin = supervisor().ours("one", "ok").and_unix().set("limits = { nofile = 64 }\nsoak = \"0s\"").start();
    assert_eq!(line(&proc(&gin, "limits"), "Max open files")[3], "64");
    gin.restart();
    gin.stop();
}

#[test]
fn a_master_and_workers_of_ours_take_as_many_descriptors_as_they_may() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let mut child = std::process::Command::new("sh")
        .args(["-c", "ulimit -Sn 40; umask 077; exec \"$@\"", "sh"])
        .arg(harness::binary("gin-supervisor"))
        .args(["--listen", "127.0.0.1:0", "--workers", "20"])
        .env("RUNTIME_DIRECTORY", &run)
        .env_remove("NOTIFY_SOCKET")
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let socket = run.join("control.sock");
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    let is_up = |log: &String| log.contains("generation 1 current");
    on_change(&dir.path().join("log"), "the first generation serves", log, is_up);
    harness::Ctl::run(&socket, &["restart"]).assert(0, &["generation 2 serves"]);
    let status = harness::Ctl::run(&socket, &["--json", "status"]).out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let worker = &status["generations"][0]["workers"][0]["pid"];
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    // gin-server raises its own soft limit; the hard one is the administrator's.
    assert_ne!(line(&limits, "Max open files")[3], "40");
    harness::Ctl::run(&socket, &["stop"]).assert(0, &["stopped"]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_foreign_worker_has_the_limits_that_the_master_was_started_with() {
    let gin = supervisor().foreign("one", "ok").set("soak = \"0s\"").start();
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    assert_eq!(line(&proc(&gin, "limits"), "Max open files"), line(&own, "Max open files"));
    gin.stop();
}
