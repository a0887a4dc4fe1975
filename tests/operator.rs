//! What an operator asks for, and what the exit code says.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Client, Ctl, eventually, supervisor};
use nix::sys::signal::Signal;

#[test]
fn a_restart_waits_its_turn_or_says_busy() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let hold = gin.hold();
    gin.configure(|text| text.replace("soak", &format!("{}\nsoak", hold.warm_up())));
    gin.ctl(&["restart", "--no-wait"]).assert(0, &["accepted"]);
    let candidate = hold.arrived();
    gin.ctl(&["restart", "--no-queue"]).assert(4, &["generation 2 is on its way"]);
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("a command waits");
    candidate.release();
    drop(hold);
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &["step=waiting", "generation 3 serves"]);
    gin.stop();
}

#[test]
fn a_restart_that_takes_too_long_or_is_cancelled_changes_nothing() {
    let gin = supervisor().ours("one", "ok").start();
    gin.releases().release("two", "never-ready");
    gin.ctl(&["restart", "--timeout", "300ms"]).assert(6, &["not done within 300ms", "generation 1 serves, 1/1"]);
    let socket = gin.socket();
    let mut events = gin.events();
    let waiting = std::thread::spawn(move || Ctl::run(&socket, &["restart"]));
    events.until("generation 3 started");
    gin.ctl(&["cancel"]).assert(0, &["cancelled"]);
    waiting.join().unwrap().assert(6, &["cancelled: by root"]);
    gin.ctl(&["cancel"]).assert(5, &["no upgrade is under way"]);
    // Nothing was wrong with it.
    for command in ["status", "history"] {
        let told = gin.ctl(&[command]);
        told.assert(0, &["3 cancelled in", "by root"]);
        assert!(!told.out.contains("failed"), "{told:?}");
    }
    let history: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "history"]).out).unwrap();
    assert_eq!((&history[0]["cancelled"], &history[0]["done"]), (&true.into(), &false.into()));
    assert_eq!(history[2]["cancelled"], false);
    assert_eq!(gin.generation().0, 1);
    gin.stop();
}

#[test]
fn too_many_draining_generations_make_the_next_one_wait() {
    let gin = supervisor()
        .ours("one", "ok")
        .set("soak = \"0s\"\nmax_draining = 1")
        .section("[timeouts]\nshutdown = \"20s\"")
        .start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    gin.restart();
    gin.ctl(&["restart", "--no-queue"]).assert(4, &["waiting for generation 1"]);
    let mut events = gin.events();
    let restart = gin.ctl_in_background(&["restart"]);
    events.until("a command waits");
    request.release();
    let said = ["max_draining = 1; waiting for generation 1", "generation 3 serves"];
    Ctl::from(restart.wait_with_output().unwrap()).assert(0, &said);
    assert_eq!(client.response().unwrap().body, b"held\n");
    // A stop waits for idle clients.
    drop(client);
    gin.stop();
}

#[test]
fn scale_changes_the_number_and_waits_for_it() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.ctl(&["scale", "3"]).assert(0, &["3 workers serve"]);
    assert_eq!(gin.workers().len(), 3);
    let mut events = gin.events();
    gin.ctl(&["scale", "1"]).assert(0, &["1 worker serves"]);
    events.until("exited with status 0");
    events.until("exited with status 0");
    assert_eq!(gin.workers().len(), 1);
    gin.stop();
}

#[test]
fn scale_with_a_sign_is_relative_and_two_at_once_both_count() {
    let gin = supervisor().workers(2).ours("one", "ok").set("soak = \"0s\"").start();
    let both = [gin.ctl_in_background(&["scale", "+1"]), gin.ctl_in_background(&["scale", "+1"])];
    for ctl in both {
        Ctl::from(ctl.wait_with_output().unwrap()).assert(0, &["workers serve"]);
    }
    assert_eq!(gin.workers().len(), 4);
    let mut events = gin.events();
    gin.ctl(&["scale", "-3"]).assert(0, &["1 worker serves"]);
    (0..3).for_each(|_| drop(events.until("exited with status 0")));
    assert_eq!(gin.workers().len(), 1);
    gin.ctl(&["scale", "-1"]).assert(5, &["cannot run 0 workers (1 and -1); it must be 1 to 1024"]);
    gin.ctl(&["scale", "shop", "3"]).assert(2, &["the number comes before the instance: gin-ctl scale 4 shop"]);
    assert_eq!(gin.workers().len(), 1);
    gin.stop();
}

#[test]
fn stop_ends_everything_and_says_when() {
    let mut gin = supervisor().ours("one", "ok").start();
    gin.ctl(&["stop"]).assert(0, &["stopped"]);
    gin.assert_gone(0);
    let mut gin = supervisor().ours("one", "ok").start();
    let hold = gin.hold();
    let _client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let _request = hold.arrived();
    gin.ctl(&["stop", "--fast"]).assert(0, &["stopped"]);
    gin.assert_gone(0);
}

#[test]
fn a_stop_that_is_asked_for_again_joins_the_first_and_cuts_nobody() {
    let mut gin = supervisor().ours("one", "ok").start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    let mut events = gin.events();
    let first = gin.ctl_in_background(&["stop"]);
    events.until("draining");
    let second = gin.ctl_in_background(&["stop"]);
    events.until("a command waits");
    // The first signal joins a command's stop; a second one would cut.
    gin.signal(Signal::SIGTERM);
    events.until("a command waits");
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    drop(client);
    Ctl::from(first.wait_with_output().unwrap()).assert(0, &["1 worker drains, for 60 s at most", "stopped"]);
    Ctl::from(second.wait_with_output().unwrap()).assert(0, &["a stop is under way already", "stopped"]);
    gin.assert_gone(0);
}

#[test]
fn a_fast_stop_cuts_the_one_under_way() {
    let mut gin = supervisor().ours("one", "ok").start();
    let hold = gin.hold();
    let _client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let _request = hold.arrived();
    let mut events = gin.events();
    gin.signal(Signal::SIGTERM);
    events.until("draining");
    gin.ctl(&["stop", "--fast"]).assert(0, &["stopped"]);
    gin.assert_gone(0);
}

/// A supervisor that has the pid of `process`, takes a stop, and is gone before it can be asked how that goes.
fn hasty(socket: &Path, status: String, mut process: Child) -> std::thread::JoinHandle<()> {
    let (listener, socket) = (UnixListener::bind(socket).unwrap(), socket.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), Vec::new());
            let is_whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request);
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                body.is_some_and(|body| text.starts_with("GET") || body.ends_with('}'))
            };
            while !is_whole(&request) {
                let mut bytes = [0; 1024];
                match stream.read(&mut bytes).unwrap() {
                    0 => break,
                    length => request.extend_from_slice(&bytes[..length]),
                }
            }
            let is_stop = request.starts_with(b"POST /v1/stop");
            let body = if is_stop { "{\"operation\":1}" } else { &status };
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if is_stop {
                break;
            }
        }
        std::fs::remove_file(&socket).unwrap();
        drop(listener);
        process.kill().unwrap();
        process.wait().unwrap();
    })
}

#[test]
fn a_stop_is_over_when_the_supervisor_is_gone() {
    let gin = supervisor().foreign("one", "ok").set("soak = \"0s\"").start();
    let mut status: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
    let process = Command::new("sleep").arg("1000").spawn().unwrap();
    status["pid"] = process.id().into();
    let socket = gin.dir().join("hasty.sock");
    let hasty = hasty(&socket, status.to_string(), process);
    let began = Instant::now();
    Ctl::run(&socket, &["stop", "--fast"]).assert(0, &["stopped"]);
    // It would wait for a successor for 10 s.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    hasty.join().unwrap();
    gin.stop();
}

#[test]
fn status_list_history_and_events_tell_what_is() {
    let gin = supervisor().workers(2).ours("one", "ok").and_unix().set("soak = \"0s\"").start();
    let mut kept = Client::connect(&gin.tcp()).unwrap();
    kept.get("/").unwrap();
    gin.signal(Signal::SIGUSR2);
    gin.restart();
    let status = gin.ctl(&["status"]);
    status.assert(
        0,
        &["● shop", "2/2 serving", "release one", "http 127.0.0.1:", "queue 0/4096", "asked by root", "GEN", "CONNS"],
    );
    let json: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
    assert_eq!((json["instance"].as_str(), json["state"].as_str()), (Some("shop"), Some("serving")));
    gin.ctl(&["history"]).assert(0, &["done in", "SIGUSR2 from root (pid"]);
    // A stop waits for idle clients.
    drop(kept);
    gin.stop();
}

#[test]
fn a_worker_is_all_its_processes() {
    let gin = supervisor().foreign("one", "prefork").set("soak = \"0s\"").start();
    let worker = gin.workers()[0];
    let kept = Client::connect(&gin.tcp()).unwrap();
    let row = || {
        let status = gin.ctl(&["status"]).out;
        status.lines().find(|line| line.split_whitespace().any(|word| word == worker.to_string())).unwrap().to_owned()
    };
    // The child accepts when it gets round to it, and tells nobody.
    eventually("its child's connection counts", row, |row| row.split_whitespace().nth_back(1) == Some("1"));
    drop(kept);
    gin.stop();
}

#[test]
fn the_figures_of_a_worker_are_those_of_all_its_processes() {
    // Its first process does nothing but wait for the one that serves.
    let gin = supervisor().foreign("one", "prefork busy").set("soak = \"0s\"").start();
    let kept = Client::connect(&gin.tcp()).unwrap();
    let look = || {
        let status: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
        status["generations"][0]["workers"][0].clone()
    };
    // The kernel's counters tell of no change. To start takes CPU, too: that is little of two seconds.
    let is_whole = |worker: &serde_json::Value| {
        let usage = &worker["usage"];
        worker["age_ms"].as_u64() > Some(2_000)
            && usage["cpu_percent"].as_f64() > Some(10.0)
            && usage["memory_bytes"].as_u64() > Some(64 << 20)
            && usage["connections"] == 1
    };
    eventually("CPU, memory and the connection of its child count", look, is_whole);
    drop(kept);
    gin.stop();
}

#[test]
fn instances_are_found_by_name() {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    // Another user's view: no root, so the runtime directories are below XDG_RUNTIME_DIR.
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=1", "--regid=1", "--clear-groups", "--"]).arg(harness::binary(program)).args(args);
        command.env("XDG_RUNTIME_DIR", home.path()).env_remove("RUNTIME_DIRECTORY").env_remove("NOTIFY_SOCKET");
        command
    };
    assert!(nix::unistd::Uid::effective().is_root(), "only root can run programs as another user");
    nix::unistd::chown(home.path(), Some(1.into()), Some(1.into())).unwrap();
    let start = |name: &str| {
        let told = harness::Notifications::listen(&home.path().join(format!("{name}.notify")));
        nix::unistd::chown(&home.path().join(format!("{name}.notify")), Some(1.into()), Some(1.into())).unwrap();
        let listen = ["--instance", name, "--listen", "127.0.0.1:0", "--"];
        let server = harness::binary("gin-server");
        let mut command = run("gin-supervisor", &listen);
        let child =
            command.arg(server).env("NOTIFY_SOCKET", home.path().join(format!("{name}.notify"))).spawn().unwrap();
        let _ = told.until(0, "READY=1");
        child
    };
    let text = |args: &[&str]| {
        let output = run("gin-ctl", args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (mut a, mut b) = (start("a"), start("b"));
    let (_, list) = text(&["list"]);
    assert!(list.contains(" a ") && list.contains(" b "), "{list}");
    assert_eq!(text(&["status"]).0, Some(2), "several: it must be said which");
    // A package's post-install: all of them, one after the other.
    let (code, upgraded) = text(&["upgrade-supervisor", "--all"]);
    assert_eq!((code, upgraded.matches("is the master now").count()), (Some(0), 2), "{upgraded}");
    assert_eq!(text(&["stop", "a"]).0, Some(0));
    assert!(a.wait().unwrap().success());
    // One is left, which need not be named.
    assert_eq!(text(&["stop"]).0, Some(0));
    assert!(b.wait().unwrap().success());
    assert_eq!(text(&["status", "a"]).0, Some(3));
}

/// Runs gin-ctl at a terminal; gives all that it wrote there.
fn at_a_terminal(socket: &Path, args: &[&str]) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let slave = File::from(terminal.slave);
    let mut command = Command::new(harness::binary("gin-ctl"));
    command.arg("-s").arg(socket).args(args).stdin(Stdio::null());
    let mut child = command.stdout(slave.try_clone().unwrap()).stderr(slave).spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    // The terminal hangs up with an error when its last process has gone.
    let _ = File::from(terminal.master).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn at_a_terminal_nothing_stale_is_shown() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    let scaled = at_a_terminal(&gin.socket(), &["scale", "2"]);
    assert!(scaled.contains("2 workers serve"), "{scaled:?}");
    assert!(!scaled.contains("is gone"), "it tells of an earlier restart: {scaled:?}");
    let refused = at_a_terminal(&gin.socket(), &["cancel"]);
    let (before, _) = refused.split_once("error:").expect("there is nothing to cancel");
    let awaited = before.rfind('…').map_or("", |at| &before[at..]);
    assert!(awaited.is_empty() || awaited.contains("\r\u{1b}[K"), "the error stands in the line before: {refused:?}");
    gin.stop();
}

#[test]
fn a_signals_restart_is_not_lost_with_a_command_that_joined_it() {
    let gin = supervisor().ours("one", "ok").set("soak = \"1s\"").start();
    let mut events = gin.events();
    gin.signal(Signal::SIGUSR2);
    events.until("generation 2 begins");
    gin.signal(Signal::SIGUSR2);
    events.until("a command waits");
    gin.ctl(&["restart", "--timeout", "200ms"]).assert(6, &["not done within 200ms"]);
    events.until("generation 3 current");
    gin.stop();
}

#[test]
fn who_closes_its_end_still_hears_the_exit_code() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let ctl = |command: &str| {
        let script = format!("set -o pipefail; \"$0\" -s \"$1\" {command} | true");
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).arg(harness::binary("gin-ctl")).arg(gin.socket()).status().unwrap().code()
    };
    assert_eq!(ctl("restart"), Some(0));
    assert_eq!(ctl("status"), Some(0));
    assert_eq!(gin.generation().0, 2);
    gin.stop();
}

#[test]
fn a_control_path_that_is_taken_is_left_alone() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let precious = dir.path().join("precious");
    std::fs::write(&precious, "x").unwrap();
    let (code, log) = supervisor().ours("one", "ok").set(&format!("control = {precious:?}")).fails();
    assert!(code == 2 && log.contains("not a socket"), "{log}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "x");
    let gin = supervisor().ours("one", "ok").start();
    let (code, log) = supervisor().ours("one", "ok").set(&format!("control = {:?}", gin.socket())).fails();
    assert!(code == 1 && log.contains("address in use by pid"), "{log}");
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.stop();
}

#[test]
fn a_program_that_takes_no_order_to_migrate_is_ended_and_the_service_goes_on() {
    let gin = supervisor().ours("one", "ok").start();
    // It understands, and says what it is missing.
    gin.ctl(&["migrate", "status"]).assert(1, &["migrate status failed", "there is no database to migrate"]);
    gin.ctl(&["migrate", "status", "1"]).assert(2, &["is no order for migrations"]);
    gin.stop();

    let gin = supervisor().foreign("one", "ok").set("ready_timeout = \"2s\"").start();
    gin.ctl(&["migrate", "up"]).assert(1, &["only a program on gin-worker"]);
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.stop();
}
