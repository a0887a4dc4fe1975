//! Under a real systemd: what operators type, and what they see.

use std::path::Path;
use std::time::{Duration, Instant};

use gin_shared::status::{Role, Status};
use harness::{Address, Lab, Load, binary, eventually, fixture, get, times};

/// A lab with /etc/gin/shop.toml and the units that `gin-ctl unit` makes of it, used as they are.
pub fn shop(settings: &str, command: &str) -> Lab {
    let lab = Lab::start();
    lab.releases().release("one", "ok");
    configure(&lab, settings, command);
    let units = |which: &str| lab.ok(&[&ctl(), "unit", "shop", which]);
    lab.unit("shop.service", &units("--only-service"));
    lab
}

fn configure(lab: &Lab, settings: &str, command: &str) {
    let dir = lab.dir().display();
    let text = format!(
        "[supervisor]\ncommand = {command}\ndirectory = \"{dir}/current\"\n{settings}\n\
         [[supervisor.listen]]\nname = \"http\"\naddress = \"unix:{dir}/http.sock\"\nmode = \"0666\"\n"
    );
    std::fs::write(lab.dir().join("shop.toml"), text).unwrap();
    lab.ok(&["mkdir", "-p", "/etc/gin"]);
    lab.ok(&["cp", "shop.toml", "/etc/gin/shop.toml"]);
}

fn ctl() -> String {
    binary("gin-ctl").display().to_string()
}

pub fn ours() -> String {
    format!("[{:?}]\nchannel = true", binary("fixture-worker"))
}

fn http(lab: &Lab) -> Address {
    Address::Unix(lab.dir().join("http.sock"))
}

/// Waits until a property of a unit has this value. systemd tells a test nothing, so its view is polled.
fn until_property(lab: &Lab, unit: &str, name: &str, value: &str) {
    eventually(&format!("{name} of {unit} is {value}"), || lab.property(unit, name), |seen| seen == value);
}

/// Waits until systemd has started a unit again by itself, and the unit is active.
fn until_started_again(lab: &Lab, unit: &str, restarts: &str) {
    let look = || (lab.property(unit, "NRestarts"), lab.property(unit, "ActiveState"));
    // systemd tells a test nothing, so its view is polled.
    eventually(&format!("{unit} was started again"), look, |(count, state)| count != restarts && state == "active");
}

#[test]
fn start_reload_and_stop_as_operators_type_them() {
    let lab = shop("workers = 2", &ours());
    lab.ok(&["systemctl", "start", "shop"]);
    let main = lab.property("shop", "MainPID");
    assert_eq!(lab.property("shop", "StatusText"), "generation 1 (one) serves, 2/2");

    let load = Load::new().keep_alive(&http(&lab), 4).one_shot(&http(&lab), 4);
    load.flows(50);
    for round in 0..times(3, 20) {
        let name = format!("release-{round}");
        lab.releases().release(&name, "ok");
        lab.ok(&["systemctl", "reload", "shop"]);
        let status = lab.property("shop", "StatusText");
        assert_eq!(status, format!("generation {} ({name}) serves, 2/2", round + 2));
        load.flows(50);
    }
    lab.releases().release("bad", "exit");
    let (code, said) = lab.run(&["systemctl", "reload", "shop"]);
    assert_ne!(code, 0, "{said}");
    assert_eq!(lab.property("shop", "ActiveState"), "active");
    let status = lab.property("shop", "StatusText");
    assert!(status.contains(" failed: slot ") && status.contains("exited with status 3"), "{status}");
    assert!(status.ends_with("serves, 2/2"), "{status}");
    load.flows(50);
    load.finish().assert_unhurt();
    assert_eq!(lab.property("shop", "MainPID"), main);

    // What the worker wrote stands in the journal, and gin-ctl quotes it from there.
    let (code, said) = lab.run(&[&ctl(), "restart", "shop"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("fixture: this release is broken"), "{said}");

    let line = |message: &str| {
        let found = lab.journal("shop").into_iter().find(|line| line["MESSAGE"] == message);
        found.unwrap_or_else(|| panic!("no {message:?} in the journal"))
    };
    let ready = line("generation 2 ready");
    assert_eq!((&ready["GIN_GENERATION"], &ready["GIN_INSTANCE"]), (&"2".into(), &"shop".into()));
    assert_eq!((&ready["SYSLOG_IDENTIFIER"], &ready["PRIORITY"]), (&"gin-supervisor".into(), &"5".into()));
    assert!(ready["GIN_OPERATION"].is_string() && ready["GIN_TOOK_MS"].is_string(), "{ready}");
    let worker = line("worker 1.0 serving");
    assert!(worker["GIN_SLOT"].is_string() && worker["GIN_PID"].is_string(), "{worker}");
    let audit = lab.journal("shop").into_iter().find(|line| line["GIN_COMMAND"] == "restart").unwrap();
    assert_eq!((&audit["GIN_UID"], &audit["GIN_USER"]), (&"0".into(), &"root".into()));
    assert!(audit["GIN_PID"].is_string(), "{audit}");

    lab.ok(&["systemctl", "stop", "shop"]);
    assert_eq!(lab.property("shop", "ActiveState"), "inactive");
    assert_eq!(lab.property("shop", "Result"), "success");
    assert_eq!(lab.run(&["ls", "/run/gin/shop"]).0, 2, "its runtime directory went with it");
    assert!(!lab.dir().join("http.sock").exists());
}

#[test]
fn a_start_that_fails_ends_at_once_with_the_reason() {
    let lab = shop("", &ours());
    lab.releases().release("bad", "exit");
    let began = Instant::now();
    let (code, _) = lab.run(&["systemctl", "start", "shop"]);
    assert_ne!(code, 0);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let said = |part: &str| lab.journal("shop").iter().any(|line| line["MESSAGE"].to_string().contains(part));
    assert!(said("generation 1 failed: slot 0"), "{:#?}", lab.journal("shop"));
    assert!(said("fixture: this release is broken"));
    // It is tried again, later and later; the reason stands beside it. systemd tells a test nothing, so its view is polled.
    let is_told = |text: &String| text.contains(" starts failed: slot 0") && text.contains("exited with status 3");
    eventually("the reason is in the status", || lab.property("shop", "StatusText"), is_told);
    lab.ok(&["systemctl", "stop", "shop"]);
    // A configuration that cannot be used is not tried again.
    lab.ok(&["sh", "-c", "echo 'wrong = 1' > /etc/gin/shop.toml"]);
    assert_ne!(lab.run(&["systemctl", "start", "shop"]).0, 0);
    until_property(&lab, "shop", "SubState", "failed");
    assert_eq!((lab.property("shop", "ExecMainStatus"), lab.property("shop", "NRestarts")), ("2".into(), "0".into()));
}

#[test]
fn with_a_socket_unit_a_stop_and_a_start_under_load_refuse_nobody() {
    let lab = shop("", &ours());
    lab.unit("shop.socket", &lab.ok(&[&ctl(), "unit", "shop", "--only-socket"]));
    lab.ok(&["systemctl", "start", "shop.socket"]);
    // The first client starts it.
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    until_property(&lab, "shop", "ActiveState", "active");
    let load = Load::new().one_shot(&http(&lab), 8);
    for _ in 0..times(3, 10) {
        load.flows(100);
        lab.ok(&["systemctl", "stop", "shop"]);
        lab.ok(&["systemctl", "start", "shop"]);
    }
    load.flows(100);
    lab.ok(&["systemctl", "reload", "shop"]);
    load.flows(100);
    load.finish().assert_unhurt();
    lab.ok(&["systemctl", "stop", "shop.socket", "shop.service"]);
}

#[test]
fn the_watchdog_ends_a_master_that_hangs() {
    let lab = shop("", &ours());
    lab.unit("shop.service.d/watchdog.conf", "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n");
    lab.ok(&["systemctl", "start", "shop"]);
    let main = lab.property("shop", "MainPID");
    // It lives for longer than the interval while it pings.
    lab.ok(&["systemctl", "reload", "shop"]);
    lab.ok(&["kill", "-STOP", &main]);
    until_started_again(&lab, "shop", "0");
    assert_ne!(lab.property("shop", "MainPID"), main);
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "stop", "shop"]);
}

#[test]
fn a_worker_that_ignores_its_stop_signal_does_not_hold_a_stop_up() {
    let program = format!("[\"/usr/bin/python3\", {:?}]", fixture("foreign.py"));
    let lab = shop("drain_timeout = \"1s\"\nsoak = \"0s\"", &program);
    lab.releases().release("deaf", "ignore-term");
    lab.ok(&["systemctl", "start", "shop"]);
    let began = Instant::now();
    lab.ok(&["systemctl", "stop", "shop"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(
        (lab.property("shop", "Result"), lab.property("shop", "ExecMainStatus")),
        ("success".into(), "0".into())
    );
}

#[test]
fn one_worker_killed_for_memory_does_not_end_the_service() {
    let lab = shop("workers = 2", &ours());
    lab.ok(&["systemctl", "start", "shop"]);
    let main = lab.property("shop", "MainPID");
    let cgroup = format!("/sys/fs/cgroup{}", lab.property("shop", "ControlGroup"));
    let victim = lab.ok(&["pgrep", "-P", &main, "-n"]).trim().to_owned();
    // This kernel counts no memory per cgroup here, so systemd is told what systemd-oomd would tell it; it looks when a
    // process of the unit that is its own child ends: one whose parent has left before it.
    let tell = format!(
        "import os; [os.setxattr({cgroup:?}, name, b'1') for name in ('user.oomd_kill', 'user.oomd_ooms')]; os.kill({victim}, 9)"
    );
    lab.ok(&["python3", "-c", &tell]);
    lab.ok(&["bash", "-c", &format!("(echo 0 >{cgroup}/cgroup.procs; exec sleep 0.3) & exit 0")]);
    // Neither systemd nor pgrep sends an event.
    let journal = || lab.ok(&["journalctl", "--no-pager"]);
    eventually("systemd has seen the kill", journal, |text| text.contains("systemd-oomd killed 1 process"));
    let look = || (lab.ok(&["pgrep", "-P", &main]), lab.property("shop", "StatusText"));
    eventually("the killed worker was replaced", look, |(workers, status)| {
        let replaced = workers.lines().count() == 2 && !workers.lines().any(|pid| pid == victim);
        replaced && status.ends_with("2/2")
    });
    assert_eq!((lab.property("shop", "ActiveState"), lab.property("shop", "MainPID")), ("active".into(), main));
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "stop", "shop"]);
}

#[test]
fn what_takes_its_time_is_given_it() {
    let lab = shop("ready = { after = \"5s\" }\nsoak = \"0s\"", &ours());
    lab.unit("shop.service.d/time.conf", "[Service]\nTimeoutStartSec=2500ms\nTimeoutStopSec=2500ms\n");
    lab.ok(&["systemctl", "start", "shop"]);
    lab.ok(&["systemctl", "reload", "shop"]);
    assert_eq!(lab.property("shop", "StatusText"), "generation 2 (one) serves, 1/1");
    let mut slow = harness::Client::connect(&http(&lab)).unwrap();
    slow.send(b"GET /slow?ms=5000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // It is being answered when another one has been.
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "stop", "shop"]);
    assert_eq!(slow.response().unwrap().status, 200);
    assert_eq!(lab.property("shop", "Result"), "success");
}

/// Where the shipped units find the programs in a lab: hardened ones see neither /tmp nor homes.
pub const INSTALLED: &str = "/var/lib/gin-test";

pub fn shipped(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name);
    let text = std::fs::read_to_string(file).unwrap();
    text.replace("/usr/local/bin/", &format!("{INSTALLED}/"))
}

#[test]
fn the_shipped_units_work_and_gin_server_is_hardened() {
    let lab = Lab::start();
    lab.releases().release("one", "ok");
    configure(&lab, "", &ours());
    let programs = ["gin-supervisor", "gin-ctl", "gin-server"].map(|name| binary(name).display().to_string());
    lab.ok(&["install", "-D", "-t", INSTALLED, &programs[0], &programs[1], &programs[2]]);
    lab.unit("gin@.service", &shipped("gin@.service"));
    lab.ok(&["systemctl", "start", "gin@shop"]);
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "reload", "gin@shop"]);
    assert_eq!(lab.property("gin@shop", "StatusText"), "generation 2 (one) serves, 1/1");

    // A Unix socket in the lab's directory instead of a port that another test may have.
    std::fs::write(lab.dir().join("sysusers"), shipped("gin-server.sysusers")).unwrap();
    lab.ok(&["systemd-sysusers", &lab.dir().join("sysusers").display().to_string()]);
    lab.unit("gin-server.service", &shipped("gin-server.service"));
    let socket = shipped("gin-server.socket").replace("127.0.0.1:8080", &format!("{}/s.sock", lab.dir().display()));
    lab.unit("gin-server.socket", &socket.replace("NoDelay=yes\n", ""));
    lab.ok(&[
        "sh",
        "-c",
        "printf '[server]\\n[supervisor]\\nstatus_group = \"gin-server\"\\n[logging]\\noutput = \"journald\"\\n' > /etc/gin/gin-server.toml",
    ]);
    lab.ok(&["systemctl", "start", "gin-server.socket"]);
    let server = Address::Unix(lab.dir().join("s.sock"));
    assert_eq!(get(&server, "/livez").unwrap().status, 200);
    // Requests are lines of the journal, with their fields.
    let is_line = |line: &serde_json::Value| line["MESSAGE"] == "GET /livez 200" && line["F_STATUS"] == "200";
    // journald takes its time, and tells nobody.
    eventually("a request is in the journal", || lab.journal("gin-server"), |lines| lines.iter().any(is_line));
    let load = Load::new().one_shot(&server, 4);
    load.flows(50);
    lab.ok(&["systemctl", "reload", "gin-server"]);
    load.flows(50);
    kill_main(&lab, "gin-server");
    load.flows(50);
    lab.ok(&["systemctl", "reload", "gin-server"]);
    lab.ok(&[&format!("{INSTALLED}/gin-ctl"), "upgrade-supervisor", "gin-server"]);
    load.flows(50);
    load.finish().assert_unhurt();
    kill_main(&lab, "gin@shop");
    lab.ok(&["systemctl", "reload", "gin@shop"]);
    let uid = lab.ok(&["ps", "-o", "uid=", "-p", &lab.property("gin-server", "MainPID")]);
    assert_ne!(uid.trim(), "0");
    // The workers have a directory for what they keep, and it is theirs.
    let kept = "/var/lib/gin/gin-server";
    let environment = lab.ok(&["cat", &format!("/proc/{}/environ", pids(&lab, "gin-server")[0])]);
    assert!(environment.split('\0').any(|line| line == format!("STATE_DIRECTORY={kept}")), "{environment:?}");
    assert_eq!(lab.ok(&["stat", "-c", "%U %a", kept]).trim(), "gin-server 700");
    // Contained by the supervisor, whose filter comes on top of the unit's; the unit must allow its steps.
    let of_worker = |unit: &str| lab.ok(&["cat", &format!("/proc/{}/status", pids(&lab, unit)[0])]);
    let filters = |status: &str| -> u32 {
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:\t")).expect("Linux 5.9");
        line.parse().unwrap()
    };
    let contained = of_worker("gin-server");
    let master = lab.ok(&["cat", &format!("/proc/{}/status", lab.property("gin-server", "MainPID"))]);
    assert_eq!(filters(&contained), filters(&master) + 1, "{contained}");
    assert!(contained.contains("CapPrm:\t0000000000000000\n"), "{contained}");
    // A program of somebody else's may need sudo, a setgid sendmail, or file capabilities.
    assert!(of_worker("shop").contains("NoNewPrivs:\t0\n"), "{}", of_worker("shop"));
    let (code, said) = lab.run(&["systemd-analyze", "security", "--threshold=30", "gin-server.service"]);
    println!("{}", said.lines().last().unwrap_or_default());
    assert_eq!(code, 0, "{said}");
    lab.ok(&["systemctl", "stop", "gin-server.socket", "gin-server", "gin@shop"]);
    assert_eq!(lab.property("gin-server", "Result"), "success");
}

fn status(lab: &Lab, instance: &str) -> Status {
    serde_json::from_str(&lab.ok(&[&ctl(), "--json", "status", instance])).unwrap()
}

/// Of the current generation.
fn pids(lab: &Lab, instance: &str) -> Vec<i32> {
    let status = status(lab, instance);
    let current = status.generations.iter().filter(|generation| generation.role == Role::Current);
    current.flat_map(|generation| generation.workers.iter().filter_map(|worker| worker.pid)).collect()
}

/// SIGKILL to the main process; until systemd has started another one, which serves.
fn kill_main(lab: &Lab, unit: &str) {
    let (main, restarts) = (lab.property(unit, "MainPID"), lab.property(unit, "NRestarts"));
    lab.ok(&["kill", "-KILL", &main]);
    until_started_again(lab, unit, &restarts);
    assert_ne!(lab.property(unit, "MainPID"), main);
}

fn ps(lab: &Lab, part: &str) -> String {
    lab.run(&["pgrep", "-af", part]).1.lines().filter(|line| !line.contains("pgrep")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_killed_main_process_comes_back_to_its_workers_and_a_stop_leaves_nothing() {
    let lab = shop("workers = 2", &ours());
    // What is adopted comes from the service manager's store: pidfd_getfd is not to be had.
    let no_getfd = "[Service]\nSystemCallFilter=~pidfd_getfd\nSystemCallErrorNumber=EPERM\n";
    lab.unit("shop.service.d/store.conf", no_getfd);
    lab.ok(&["systemctl", "start", "shop"]);
    let load = Load::new().keep_alive(&http(&lab), 4).one_shot(&http(&lab), 4);
    for round in 0..times(5, 50) {
        load.flows(50);
        let workers = pids(&lab, "shop");
        kill_main(&lab, "shop");
        assert_eq!(pids(&lab, "shop"), workers, "{:#?}", lab.journal("shop"));
        load.flows(50);
        match round % 3 {
            0 => drop(lab.ok(&["systemctl", "reload", "shop"])),
            1 => {
                let main = lab.property("shop", "MainPID");
                lab.ok(&[&ctl(), "upgrade-supervisor", "shop"]);
                assert_eq!(lab.property("shop", "MainPID"), main);
                lab.ok(&["systemctl", "reload", "shop"]);
            }
            _ => {
                lab.ok(&[&ctl(), "restart", "--wait-drained", "shop"]);
                lab.ok(&[&ctl(), "rollback", "shop"]);
            }
        }
    }
    load.flows(50);
    load.finish().assert_unhurt();
    // All of it at once, as a kill of the control group does: what systemd has kept is no obstacle.
    let main = lab.property("shop", "MainPID");
    lab.ok(&["systemctl", "kill", "-s", "KILL", "shop"]);
    // systemd tells a test nothing, so its view is polled.
    let look = || (lab.property("shop", "MainPID"), lab.property("shop", "ActiveState"));
    eventually("it boots again", look, |(pid, state)| *pid != main && state == "active");
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    let stored: u32 = lab.property("shop", "NFileDescriptorStore").parse().unwrap();
    // A listener, the state, two workers with two each, a program, and those of what may drain.
    assert!((7..40).contains(&stored), "{stored}");
    lab.ok(&["systemctl", "stop", "shop"]);
    assert_eq!(
        (lab.property("shop", "ActiveState"), lab.property("shop", "Result")),
        ("inactive".into(), "success".into())
    );
    assert_eq!(ps(&lab, "fixture-worker"), "");
    assert_eq!(lab.run(&["ls", "/run/gin/shop"]).0, 2, "its runtime directory went with it");
    lab.ok(&["systemctl", "start", "shop"]);
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "stop", "shop"]);
}

#[test]
fn a_deleted_program_comes_back_by_rollback_even_after_the_masters_death() {
    let lab = shop("", "[\"bin/worker\"]\nchannel = true");
    let install = |name: &str, from: &str| {
        let dir = lab.releases().path(name).join("bin");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::copy(from, dir.join("worker")).unwrap();
    };
    let fixture = binary("fixture-worker").display().to_string();
    install("one", &fixture);
    lab.ok(&["systemctl", "start", "shop"]);
    lab.releases().release("two", "ok");
    install("two", &fixture);
    lab.ok(&["systemctl", "reload", "shop"]);
    std::fs::remove_file(lab.releases().path("one").join("bin/worker")).unwrap();
    kill_main(&lab, "shop");
    let said = lab.ok(&[&ctl(), "rollback", "shop"]);
    assert!(said.contains("still points to") && said.contains("releases/two"), "{said}");
    // The generation before accepts until it hears that it is to drain, and who has accepted shows in the answer alone.
    let look = || get(&http(&lab), "/").unwrap().json();
    let who = eventually("generation 3 answers", look, |who| who["generation"] == "3");
    assert_eq!(who["release"], "one");
    lab.ok(&["systemctl", "stop", "shop"]);
}

#[test]
fn between_a_death_and_the_next_start_gin_ctl_tells_what_serves_and_ends_what_a_stop_has_left() {
    let lab = shop("soak = \"0s\"", &ours());
    lab.unit("shop.service.d/time.conf", "[Service]\nRestartSec=600s\n");
    lab.ok(&["systemctl", "start", "shop"]);
    lab.ok(&["kill", "-KILL", &lab.property("shop", "MainPID")]);
    until_property(&lab, "shop", "SubState", "auto-restart");
    let (code, said) = lab.run(&[&ctl(), "status", "shop"]);
    assert!(code == 3 && said.contains("no supervisor, but worker"), "{said}");
    // As ExecStopPost= runs it: after a crash the workers are the next master's; after a stop they are nobody's.
    let left_over =
        |result: &str| lab.ok(&["env", &format!("SERVICE_RESULT={result}"), &ctl(), "stop", "--left-over", "shop"]);
    for failed in ["signal", "timeout", "watchdog"] {
        left_over(failed);
        assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    }
    let (code, said) = lab.run(&[&ctl(), "stop", "--left-over", "shop"]);
    assert!(code == 2 && said.contains("SERVICE_RESULT"), "{said}");
    left_over("success");
    assert_eq!(ps(&lab, "fixture-worker"), "");
    lab.ok(&["systemctl", "stop", "shop"]);
}

#[test]
fn a_master_that_hangs_is_stopped_all_the_same_and_leaves_nothing() {
    let lab = shop("soak = \"0s\"", &ours());
    lab.unit("shop.service.d/time.conf", "[Service]\nTimeoutStopSec=2s\n");
    lab.ok(&["systemctl", "start", "shop"]);
    lab.ok(&["kill", "-STOP", &lab.property("shop", "MainPID")]);
    let _ = lab.run(&["systemctl", "stop", "shop"]);
    assert_eq!(lab.property("shop", "Result"), "timeout");
    assert_eq!(ps(&lab, "fixture-worker"), "");
    lab.ok(&["systemctl", "reset-failed", "shop"]);
    lab.ok(&["systemctl", "start", "shop"]);
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "stop", "shop"]);
}

/// The next start takes too long, and is tried again: it is no stop.
#[test]
fn a_start_that_times_out_after_a_death_leaves_the_workers_and_their_socket() {
    let lab = shop("soak = \"0s\"", &ours());
    let slow = "TimeoutStartSec=2s\nExecStartPre=/bin/sh -c 'test ! -e /run/slow || sleep 60'\n";
    lab.unit("shop.service.d/slow.conf", &format!("[Service]\n{slow}"));
    lab.ok(&["systemctl", "start", "shop"]);
    lab.ok(&["touch", "/run/slow"]);
    let workers = ps(&lab, "fixture-worker");
    lab.ok(&["kill", "-KILL", &lab.property("shop", "MainPID")]);
    // A start that has timed out counts as one more.
    until_property(&lab, "shop", "NRestarts", "2");
    lab.ok(&["rm", "/run/slow"]);
    until_property(&lab, "shop", "ActiveState", "active");
    assert_eq!(ps(&lab, "fixture-worker"), workers);
    assert_eq!(get(&http(&lab), "/").unwrap().status, 200);
    lab.ok(&["systemctl", "stop", "shop"]);
}
