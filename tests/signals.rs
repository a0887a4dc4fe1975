//! Signals at bad moments, and workers that behave badly.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use harness::{
    Address, Client, Ctl, Events, Failure, Hold, Load, Notifications, binary, eventually, get, supervisor, times,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn usr2_five_times_at_once_makes_two_generations_at_most() {
    let gin = supervisor().ours("one", "ok").set("soak = \"300ms\"").start();
    let mut events = gin.events();
    for _ in 0..5 {
        gin.signal(Signal::SIGUSR2);
    }
    events.until("generation 2 current");
    // Signals that were sent apart make one more; sent at once the kernel itself makes them one.
    gin.ctl(&["restart"]).assert(0, &[]);
    assert!(gin.generation().0 <= 4, "{:?}", gin.status());
    gin.stop();
}

#[test]
fn signals_during_an_upgrade_are_coalesced() {
    let gin = supervisor().ours("one", "ok").set("soak = \"500ms\"").start();
    let mut events = gin.events();
    gin.signal(Signal::SIGUSR2);
    events.until("generation 2 begins");
    for _ in 0..4 {
        gin.signal(Signal::SIGUSR2);
        events.until("a command waits");
    }
    events.until("generation 3 current");
    let history = gin.ctl(&["--json", "history"]);
    assert_eq!(history.out.matches("\"generation\"").count(), 3, "{history:?}");
    gin.stop();
}

#[test]
fn usr2_during_a_stop_does_not_keep_it_from_stopping() {
    let mut gin = supervisor().ours("one", "ok").start();
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    let mut events = gin.events();
    gin.signal(Signal::SIGTERM);
    events.until("stopping");
    gin.signal(Signal::SIGUSR2);
    gin.ctl(&["restart"]).assert(5, &["stopping"]);
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    gin.assert_gone(0);
}

#[test]
fn a_stop_refuses_new_connections_while_old_ones_are_finished() {
    let mut gin = supervisor().ours("one", "ok").and_unix().start();
    let (tcp, unix) = (gin.known_tcp(), gin.dir().join("http.sock"));
    let hold = gin.hold();
    let mut client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    let mut events = gin.events();
    gin.signal(Signal::SIGTERM);
    events.until("worker draining");
    // The worker does not tell when it has closed its listeners, so they are tried.
    let kind = |error: std::io::Error| error.kind();
    let refused = || (TcpStream::connect(&tcp).map_err(kind).err(), UnixStream::connect(&unix).map_err(kind).err());
    let both = (Some(ErrorKind::ConnectionRefused), Some(ErrorKind::ConnectionRefused));
    eventually("nobody is let in to wait for nothing", refused, |kinds| *kinds == both);
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    gin.assert_gone(0);
}

#[test]
fn a_stop_serves_new_connections_through_lame_duck_and_refuses_them_behind_it() {
    let lame_duck = "[timeouts]\nlame_duck = \"3s\"";
    let mut gin = supervisor().ours("one", "ok").and_unix().section(lame_duck).start();
    let addresses = [gin.tcp(), gin.unix()];
    let hold = gin.hold();
    let mut client = Client::asking(&addresses[0], &hold.request()).unwrap();
    let request = hold.arrived();
    let mut events = gin.events();
    gin.signal(Signal::SIGTERM);
    events.until("worker draining");
    for address in &addresses {
        assert_eq!(get(address, "/").unwrap().status, 200, "{}", gin.log());
    }
    // The worker does not tell when it has closed its listeners, so they are tried: a client that is let in and not answered
    // would use up the patience of the test.
    let look = || addresses.each_ref().map(|address| get(address, "/").map(|answer| answer.status));
    let refused = |seen: &[Result<u16, Failure>; 2]| seen.iter().all(|one| *one == Err(Failure::Refused));
    let _ = eventually("nobody is let in to wait for nothing", look, refused);
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    gin.assert_gone(0);
}

/// What was passed is the service manager's: clients wait there for the next start.
#[test]
fn a_socket_that_was_passed_stays_open_over_a_stop_and_the_next_start_answers_its_queue() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (run, config, notify) = (dir.path().join("run"), dir.path().join("shop.toml"), dir.path().join("notify"));
    std::fs::create_dir(&run).unwrap();
    let (program, directory) = (binary("fixture-worker"), dir.path());
    let text = format!("command = [{program:?}]\ndirectory = {directory:?}\nsoak = \"0s\"\n");
    std::fs::write(&config, format!("[supervisor]\n{text}")).unwrap();
    let told = Notifications::listen(&notify);
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(passed.local_addr().unwrap());
    let start = || {
        let after = told.settle();
        let mut command = Command::new("/bin/sh");
        // As a service manager passes it: descriptor 3, and the PID of the program itself.
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" -c \"$1\" 3<&0 </dev/null"]);
        command.args([&binary("gin-supervisor"), &config]).env_remove("PORT").env("LISTEN_FDS", "1");
        command.env("RUNTIME_DIRECTORY", &run).env("NOTIFY_SOCKET", &notify);
        let child = command.stdin(Stdio::from(OwnedFd::from(passed.try_clone().unwrap()))).spawn().unwrap();
        let ready = told.ready(after, &child);
        assert!(ready.is_ok(), "{ready:?}");
        child
    };
    let ask = || Client::asking(&address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = start();
    assert_eq!(ask().response().unwrap().status, 200);
    let hold = Hold::new(dir.path());
    let mut client = Client::asking(&address, &hold.request()).unwrap();
    let request = hold.arrived();
    let mut events = Events::follow(&run.join("control.sock"));
    kill(Pid::from_raw(i32::try_from(first.id()).unwrap()), Signal::SIGTERM).unwrap();
    events.until("worker draining");
    let mut waiting = vec![ask()];
    request.release();
    assert_eq!(client.response().unwrap().body, b"held\n");
    drop(client);
    assert!(first.wait().unwrap().success());
    waiting.push(ask());
    let mut second = start();
    for client in &mut waiting {
        assert_eq!(client.response().unwrap().status, 200);
    }
    drop(waiting);
    Ctl::run(&run.join("control.sock"), &["stop"]).assert(0, &["stopped"]);
    assert!(second.wait().unwrap().success());
}

#[test]
fn term_during_an_upgrade_stops_both_generations() {
    let mut gin = supervisor().workers(2).ours("one", "ok").start();
    gin.releases().release("two", "never-ready");
    let mut events = gin.events();
    gin.signal(Signal::SIGUSR2);
    events.until("generation 2 started");
    gin.signal(Signal::SIGTERM);
    gin.assert_gone(0);
}

#[test]
fn term_twice_stops_at_once() {
    let mut gin = supervisor().ours("one", "ok").start();
    let hold = gin.hold();
    let _client = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let _request = hold.arrived();
    let mut events = gin.events();
    gin.signal(Signal::SIGTERM);
    events.until("draining");
    gin.signal(Signal::SIGTERM);
    gin.assert_gone(0);
}

#[test]
fn a_worker_that_ignores_sigterm_is_killed_at_its_deadline() {
    let mut gin = supervisor().foreign("one", "ignore-term").set("soak = \"0s\"\ndrain_timeout = \"300ms\"").start();
    let mut events = gin.events();
    gin.signal(Signal::SIGTERM);
    events.until("sent SIGKILL");
    gin.assert_gone(0);
}

#[test]
fn a_worker_that_is_killed_is_replaced_at_once() {
    let gin = supervisor().workers(2).ours("one", "ok").start();
    let mut events = gin.events();
    for pid in gin.workers() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let failed = events.until("was killed by SIGKILL");
        assert_eq!(failed.pid, Some(pid));
        events.until("worker serving");
    }
    assert_eq!(gin.status().generations[0].workers.iter().filter(|w| w.state == "serving").count(), 2);
    gin.ctl(&["status"]).assert(0, &["2/2 serving"]);
    gin.stop();
}

#[test]
fn children_of_a_worker_end_with_it_even_those_that_left_its_group() {
    let gin = supervisor().foreign("one", "children").set("soak = \"0s\"").start();
    let child = |kind: &str, generation: u32| {
        let path = gin.releases().path("one").join(format!("child-{kind}-{generation}"));
        Pid::from_raw(std::fs::read_to_string(path).unwrap().parse().unwrap())
    };
    let mut events = gin.events();
    gin.ctl(&["restart", "--no-wait"]).assert(0, &[]);
    events.until("generation 1 gone");
    for kind in ["stayed", "left"] {
        assert!(kill(child(kind, 1), None).is_err() || is_zombie(child(kind, 1)), "the child that {kind} lives");
        assert!(kill(child(kind, 2), None).is_ok(), "the successor's child that {kind} was killed");
    }
    gin.stop();
}

/// Killed and not reaped yet.
fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let gin = supervisor().ours("one", "ok").set("soak = \"0s\"").start();
    let mut events = gin.events();
    gin.signal(Signal::SIGTTIN);
    events.until("worker serving");
    assert_eq!(gin.workers().len(), 2);
    // A number that was asked for holds over a restart.
    gin.restart();
    assert_eq!(gin.workers().len(), 2);
    gin.signal(Signal::SIGTTOU);
    events.until("workers: 2 to 1");
    events.until_of(2, "exited with status 0");
    gin.signal(Signal::SIGTTOU);
    events.until("cannot run 0 workers");
    assert_eq!(gin.workers().len(), 1);
    gin.stop();
}

#[test]
fn a_crash_loop_backs_off_and_the_listener_stays_open() {
    let gin = supervisor().ours("one", "ok").start();
    // The frozen generation reads its mode at each start: from now on it crashes.
    std::fs::write(gin.releases().path("one").join("mode"), "exit").unwrap();
    let mut events = gin.events();
    kill(Pid::from_raw(gin.workers()[0]), Signal::SIGKILL).unwrap();
    // At once, then after 100, 200, 400 ms ...: five crashes are a second, twelve more than a minute.
    let mut waits: Vec<u64> = Vec::new();
    for _ in 0..times(5, 12) {
        let text = events.until("respawns in ").text;
        let wait: u64 = text.split(' ').nth(3).unwrap().parse().unwrap();
        // At the most the jitter may make one shorter than the one before.
        let least = waits.last().copied().unwrap_or(0).min(25_000);
        assert!(wait >= least, "{waits:?}, then {wait} ms");
        waits.push(wait);
    }
    assert!(waits[4] >= 800 && waits.iter().all(|wait| *wait <= 37_500), "{waits:?}");
    let status = gin.ctl(&["status"]);
    status.assert(1, &["down", "backoff", "1.0 failed ", " ago: slot 0 (pid ", "exited with status 3 after"]);
    let json: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
    assert_eq!((&json["state"], &json["degraded"]), (&"down".into(), &true.into()));
    let failure = &json["generations"][0]["workers"][0]["last_failure"];
    assert!(failure["reason"].as_str().unwrap().contains("exited with status 3"), "{json}");
    assert!(failure["at_ms"].as_u64().unwrap() > 0, "{json}");
    gin.ctl(&["metrics"]).assert(0, &["gin_down{instance=\"shop\"} 1"]);
    let address = gin.tcp();
    // Clients wait in the queue and are not refused; they are answered when the cause is gone.
    let waiting = std::thread::spawn(move || get(&address, "/"));
    std::fs::write(gin.releases().path("one").join("mode"), "ok").unwrap();
    gin.restart();
    assert_eq!(waiting.join().unwrap().unwrap().status, 200);
    gin.ctl(&["status"]).assert(0, &["serving"]);
    gin.stop();
}

#[test]
fn workers_that_are_killed_under_load_do_not_stop_the_service() {
    let gin = supervisor().workers(2).ours("one", "ok").start();
    let address = gin.tcp();
    let load = Load::new().one_shot(&address, 8);
    for _ in 0..5 {
        load.flows(100);
        let mut events = gin.events();
        kill(Pid::from_raw(gin.workers()[0]), Signal::SIGKILL).unwrap();
        events.until("worker serving");
    }
    load.flows(100);
    // What a killed process had in hand is lost; nobody is refused.
    let report = load.finish();
    assert!(!report.hurt.contains_key(&Failure::Refused), "{report:?}");
    gin.stop();
}

#[test]
fn ctrl_c_in_a_terminal_drains_and_the_banner_tells_where_things_are() {
    let dir = tempfile::Builder::new().prefix("gin").tempdir_in("/tmp").unwrap();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let slave = File::from(terminal.slave);
    let mut command = Command::new("setsid");
    let mut child = command
        .args(["--ctty", "--wait"])
        .arg(binary("gin-supervisor"))
        .args(["--listen", "127.0.0.1:0"])
        .env("RUNTIME_DIRECTORY", &run)
        .stdin(Stdio::from(slave.try_clone().unwrap()))
        .stdout(Stdio::from(slave.try_clone().unwrap()))
        .stderr(Stdio::from(slave))
        .spawn()
        .unwrap();
    drop(command);
    let master = File::from(terminal.master);
    let mut lines = BufReader::new(master.try_clone().unwrap());
    let mut seen = String::new();
    while !seen.contains("Ctrl-C drains") {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    for part in [
        "gin-supervisor 0.1.0",
        "serving   http://127.0.0.1:",
        "1 ready in",
        "kill -USR2 $(cat ",
        "restart        the same",
    ] {
        assert!(seen.contains(part), "no {part:?} in {seen}");
    }
    assert!(!seen.contains("INFO"), "the banner stands alone: {seen}");
    (&master).write_all(b"\x03").unwrap();
    let mut rest = String::new();
    // The terminal hangs up with an error when its last process has gone.
    let _ = lines.read_to_string(&mut rest);
    assert!(child.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("SIGINT from the terminal: stop"), "{rest}");
    assert!(!run.join("pid").exists());
}
