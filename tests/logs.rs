//! Where workers' log lines go: whole, to files of bounded size that are reopened, at a level that changes live.

use std::path::Path;
use std::process::Command;

use harness::{Address, Client, Terminal, alone, get, on_change, ours_alone, supervisor};
use nix::sys::signal::Signal;
use serde_json::Value;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last one may be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))).collect()
}

/// Waits until the file has a line that is meant.
fn until(path: &Path, is_meant: impl Fn(&Value) -> bool) {
    // The directory is watched: the file itself may be renamed, or not be there yet.
    let directory = path.parent().unwrap();
    on_change(directory, "the file has the line", || lines(path), |lines| lines.iter().any(&is_meant));
}

fn asked_for(path: &str) -> impl Fn(&Value) -> bool {
    move |line| line["path"] == path
}

#[test]
fn a_request_is_a_line_of_json_and_secrets_are_not_in_it() {
    let server = alone("[server]\nname = \"shop\"\n");
    let mut client = Client::connect(server.address()).unwrap();
    client
        .send(b"GET /nowhere?token=hunter2 HTTP/1.1\r\nHost: x\r\nUser-Agent: test \"1\"\r\nAuthorization: hunter2\r\nCookie: s=hunter2\r\n\r\n")
        .unwrap();
    assert_eq!(client.response().unwrap().status, 404);
    let line = server.until("GET /nowhere 404");
    for (key, value) in [
        ("level", "info"),
        ("method", "GET"),
        ("path", "/nowhere"),
        ("protocol", "HTTP/1.1"),
        ("client_ip", "127.0.0.1"),
        ("user_agent", "test \"1\""),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["status"], 404);
    assert!(line["latency"].as_str().unwrap().ends_with("ms") && line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(!line.to_string().contains("hunter2"), "{line}");
}

/// The head of a request for a path that would turn, break and hide what stands in a terminal.
const HOSTILE: &str = "GET /a\u{9b}31m\u{85}\u{202e}\u{2028}\u{200b}\u{2066}z HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn what_a_client_sends_is_printable_in_the_log_and_bounded() {
    for format in ["json", "text"] {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let log = dir.path().join("shop.log");
        let server = supervisor()
            .section(&format!(
                "[logging]\noutput = \"file\"\nfile_path = {log:?}\nformat = \"{format}\"\nmax_line = \"2KiB\""
            ))
            .start();
        let mut client = Client::connect(&server.tcp()).unwrap();
        client.send(HOSTILE.as_bytes()).unwrap();
        assert_eq!(client.response().unwrap().status, 404);
        let long = "x".repeat(30_000);
        client.send(format!("GET /{long}/end HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(client.response().unwrap().status, 404);
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        // Both lines are there, and whole.
        let is_there = |text: &String| text.ends_with('\n') && text.contains("xxxx") && text.contains("31m");
        on_change(dir.path(), "the file has both lines", text, is_there);
        let text = text();
        for line in text.lines() {
            assert!(line.chars().all(gin_shared::log_line::is_printable), "{line:?}");
            assert!(line.len() < 2048 + 64, "{} bytes", line.len());
        }
        if format == "json" {
            let all = lines(&log);
            assert!(
                all.iter().any(|line| line["path"] == "/a\u{9b}31m\u{85}\u{202e}\u{2028}\u{200b}\u{2066}z"),
                "{text}"
            );
            let cut =
                all.iter().find(|line| line["path"].as_str().is_some_and(|path| path.starts_with("/xxx"))).unwrap();
            assert!(cut["truncated"].as_u64().unwrap() > 50_000 && cut["status"] == 404, "{cut}");
        } else {
            assert!(text.contains("bytes more)") && text.contains("/a\\u{9b}31m"), "{text}");
        }
        server.stop();
    }
}

#[test]
fn several_workers_write_one_file_and_follow_its_renaming() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (log, moved) = (dir.path().join("logs/shop.log"), dir.path().join("logs/moved"));
    let gin = supervisor()
        .workers(3)
        .and_unix()
        .set("soak = \"0s\"")
        .section(&format!("[logging]\noutput = \"file\"\nfile_path = {log:?}"))
        .start();
    let load = gin.load();
    load.flows(200);
    std::fs::rename(&log, &moved).unwrap();
    // As logrotate does.
    gin.signal(Signal::SIGUSR1);
    gin.until_log("3 workers were told to open their log files anew");
    for _ in 0..3 {
        gin.restart();
    }
    load.flows(200);
    let report = load.finish();
    report.assert_unhurt();
    assert_eq!(gin.get("/the-last").status, 404);
    until(&log, asked_for("/the-last"));
    gin.stop();
    // Each line is whole, and each request is one.
    let all: Vec<Value> = lines(&moved).into_iter().chain(lines(&log)).collect();
    let requests = all.iter().filter(|line| line["path"] == "/").count() as u64;
    assert_eq!(requests, report.requests);
    assert!(all.iter().any(|line| line["taken_over"] == true), "connections went from worker to worker");
}

#[test]
fn a_file_that_is_full_is_put_aside_and_compressed() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let log = dir.path().join("shop.log");
    let sections =
        format!("[logging]\noutput = \"file\"\nfile_path = {log:?}\nmax_size = 1\nmax_backups = 2\ncompress = true\n");
    let gin = supervisor().workers(2).section(&sections).start();
    let agent = "a".repeat(7000);
    let mut client = Client::connect(&gin.tcp()).unwrap();
    for _ in 0..600 {
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(client.response().unwrap().status, 200);
    }
    let names = || -> Vec<String> {
        let all = std::fs::read_dir(dir.path()).unwrap();
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let is_done =
        |names: &Vec<String>| names.len() == 3 && names.iter().filter(|n| n.ends_with(".log.gz")).count() == 2;
    on_change(dir.path(), "the log and two compressed ones are left", names, is_done);
    assert!(std::fs::metadata(&log).unwrap().len() <= 1 << 20);
    gin.stop();
}

#[test]
fn the_level_changes_live() {
    let server = alone("");
    get(server.address(), "/one").unwrap();
    let _ = server.until("GET /one 404");
    server.configure("[logging]\nlevel = \"error\"\n");
    let _ = server.until("the configuration has changed");
    get(server.address(), "/two").unwrap();
    server.configure("[logging]\nlevel = \"info\"\n");
    let next = server.until("the log level is info now");
    assert_eq!(next["level"], "info");
    get(server.address(), "/three").unwrap();
    let _ = server.until("GET /three 404");
    // By the operator, for all workers of an instance.
    let gin = supervisor().workers(2);
    let log = gin.dir().join("shop.log");
    let gin = gin.section(&format!("[logging]\noutput = \"file\"\nfile_path = {log:?}\nlevel = \"error\"")).start();
    assert_eq!(gin.get("/unseen").status, 404);
    assert_eq!(gin.ctl(&["log-level"]).out.trim(), "info");
    gin.ctl(&["log-level", "debug"]).assert(0, &["debug: the supervisor; 2 workers were told"]);
    assert_eq!(gin.ctl(&["log-level"]).out.trim(), "debug");
    gin.ctl(&["log-level", "loud"]).assert(2, &["loud"]);
    until(&log, |line| line["message"] == "the log level is debug now");
    assert_eq!(gin.get("/seen").status, 404);
    until(&log, asked_for("/seen"));
    assert!(!lines(&log).iter().any(asked_for("/unseen")));
    gin.stop();
}

/// The address in a line that ends with one.
fn address_in(line: &str) -> Address {
    Address::from(line.split_once("http://").unwrap_or_else(|| panic!("no address in {line:?}")).1)
}

#[test]
fn a_log_in_a_terminal_is_short_and_coloured() {
    for has_colours in [true, false] {
        let mut command = Command::new(harness::binary("gin-server"));
        command.args(["--port", "0", "--mode", "debug"]);
        if !has_colours {
            command.env("NO_COLOR", "1");
        }
        let terminal = Terminal::start(command);
        let started = terminal.until("listening on http://127.0.0.1:");
        let mut client = Client::connect(&address_in(&started)).unwrap();
        client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: a-long-name-1\r\n\r\n").unwrap();
        assert_eq!(client.response().unwrap().status, 200);
        let line = terminal.until("GET     /livez ");
        assert!(line.contains("#g-name-1") && line.matches("livez").count() == 1 && line.len() < 120, "{line:?}");
        assert_eq!(line.contains("\u{1b}[32m200\u{1b}[0m "), has_colours, "{line:?}");
        assert_eq!(line.contains('\u{1b}'), has_colours, "{line:?}");
    }
}

#[test]
fn a_router_alone_says_its_address_in_a_terminal() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(dir.path().join("mode"), "serve").unwrap();
    let mut command = Command::new(harness::binary("fixture-worker"));
    command.current_dir(dir.path()).env("GIN_SERVER_PORT", "0");
    let terminal = Terminal::start(command);
    let line = terminal.until("listening on http://127.0.0.1:");
    assert_eq!(get(&address_in(&line), "/").unwrap().status, 200, "{line}");
}

#[test]
fn what_a_handler_logs_names_its_request() {
    for (mode, name) in [("logged", "/request_id"), ("service", "/span/id")] {
        let server = ours_alone(mode, "");
        let mut client = Client::connect(server.address()).unwrap();
        client.send(b"GET /panic HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-1\r\n\r\n").unwrap();
        assert_eq!(client.response().unwrap().status, 500);
        let line = server.until("panic: as told");
        assert_eq!(line.pointer(name).and_then(Value::as_str), Some("mine-1"), "{mode}: {line}");
        assert_eq!(server.until("GET /panic 500")["request_id"], "mine-1");
    }
}

#[test]
fn a_worker_of_a_supervisor_in_a_terminal_logs_what_its_configuration_says() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (config, socket) = (dir.path().join("shop.toml"), dir.path().join("http.sock"));
    std::fs::create_dir(dir.path().join("run")).unwrap();
    let listen = format!("[[supervisor.listen]]\naddress = \"unix:{}\"\n", socket.display());
    std::fs::write(&config, listen + "[logging]\nlevel = \"info\"\n").unwrap();
    let mut command = Command::new(harness::binary("gin-supervisor"));
    command.arg("-c").arg(&config).env("RUNTIME_DIRECTORY", dir.path().join("run"));
    let terminal = Terminal::start(command);
    let _ = terminal.until("listening on");
    assert_eq!(get(&Address::Unix(socket), "/seen").unwrap().status, 404);
    let _ = terminal.until("/seen");
}

#[test]
fn targets_have_levels_of_their_own_which_change_live() {
    let access = "gin_worker::access";
    let server = alone(&format!("[logging]\ntargets = \"{access}=off\"\n"));
    get(server.address(), "/unseen").unwrap();
    let targets = format!("\"{access}\" = \"info\"\n\"gin_worker::live\" = \"info\"\n");
    server.configure(&format!("[logging]\nlevel = \"error\"\n[logging.targets]\n{targets}"));
    let changed = server.until("the configuration has changed");
    assert!(changed["changed"].as_str().unwrap().contains("logging.targets"), "{changed}");
    get(server.address(), "/seen").unwrap();
    let line = server.until("GET /");
    assert_eq!(line["path"], "/seen", "{line}");
}

#[test]
fn a_log_that_cannot_be_written_is_a_failed_start() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let text = format!("[logging]\noutput = \"file\"\nfile_path = {:?}\n", dir.path());
    let config = dir.path().join("server.toml");
    std::fs::write(&config, text).unwrap();
    let output = Command::new(harness::binary("gin-server")).arg("-c").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("server.toml:3: logging.file_path: ") && said.contains("directory"), "{said}");
}
