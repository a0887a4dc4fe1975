//! Programs in `tests/fixtures/clients`, one for each language. All do the same.
//!
//! - Arguments: the start of URLs, the file of the authority to believe, `h1` or `h2`, and the number of clients.
//! - Each client has one connection. It repeats `GET /`, `POST /upload` with 100,000 bytes and `GET /static/large` without a pause: one
//!   request at a time over HTTP/1.1, three over HTTP/2. It checks status, version of HTTP and length of each answer.
//! - When a generation has answered `GET /` of all clients, the program prints `generation NUMBER`.
//! - It ends when its standard input does, or with the first request that fails. The last line is JSON: see [`Report`].

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use harness::{Supervisor, fixture, tls_file};
use serde::Deserialize;

use super::{CLIENTS, RESTARTS, assert_kept, base, fleet};

/// What a program has seen.
#[derive(Debug, Deserialize)]
struct Report {
    /// Requests that were answered as they should be.
    requests: usize,
    failed: usize,
    /// Connections that were made, if the language's library tells it.
    connects: Option<usize>,
    /// Number of generations that have answered.
    generations: usize,
    first_error: Option<String>,
}

/// A program that runs.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(gin: &Supervisor, command: &mut Command, protocol: &str) -> Self {
        command.arg(base(gin)).arg(tls_file("ca.pem")).args([protocol, &CLIENTS.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let line = self.lines.next().unwrap_or_else(|| panic!("it has ended: {:?}", self.child.wait()));
        line.unwrap()
    }

    /// Waits until the current generation has answered all clients. If a request fails before, the next line is the report.
    fn until_answered_by_current(&mut self, gin: &Supervisor) {
        let (line, generation) = (self.line(), gin.generation());
        assert_eq!(line, format!("generation {generation}"), "{}", gin.log());
    }

    fn finish(mut self) -> Report {
        drop(self.child.stdin.take());
        let line = self.line();
        assert!(self.child.wait().unwrap().success(), "{line}");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each generation answers each client, on the connection that this client made at first.
fn keeps_its_connections(gin: Supervisor, mut command: Command, protocol: &str) {
    let mut program = Program::start(&gin, &mut command, protocol);
    program.until_answered_by_current(&gin);
    for _ in 0..RESTARTS {
        gin.restart();
        program.until_answered_by_current(&gin);
    }
    let report = program.finish();
    println!("{report:?}");
    assert!(report.failed == 0 && report.first_error.is_none(), "{report:?}: {}", gin.log());
    assert_eq!((report.connects.unwrap_or(CLIENTS), report.generations), (CLIENTS, RESTARTS + 1), "{report:?}");
    assert!(report.requests > CLIENTS * RESTARTS, "{report:?}");
    assert_kept(&gin, CLIENTS, CLIENTS * RESTARTS);
    gin.ends_sound();
}

fn source(name: &str) -> PathBuf {
    fixture("clients").join(name)
}

/// Go's client is built into the directory of its supervisor.
fn go(gin: &Supervisor) -> Command {
    let (program, cache) = (gin.dir().join("client"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
    let mut go = Command::new("/usr/bin/go");
    go.args(["build", "-o"]).arg(&program).arg(source("client.go"));
    let built = go.env("GO111MODULE", "off").env("GOCACHE", cache).output().expect("golang-go is installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Command::new(program)
}

fn script(interpreter: &str, name: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(source(name));
    command
}

fn python() -> Command {
    let place = std::env::var("GIN_CLIENTS_VENV").expect("tests/run --services installs httpx, and sets this");
    script(&format!("{place}/bin/python"), "client.py")
}

#[test]
#[ignore = "needs Go: tests/run --services"]
fn gos_http_client_keeps_its_connections_over_http1() {
    let gin = fleet().start();
    let client = go(&gin);
    keeps_its_connections(gin, client, "h1");
}

#[test]
#[ignore = "needs Go: tests/run --services"]
fn gos_http_client_keeps_its_connections_over_http2() {
    let gin = fleet().start();
    let client = go(&gin);
    keeps_its_connections(gin, client, "h2");
}

#[test]
#[ignore = "needs httpx: tests/run --services"]
fn httpx_keeps_its_connections_over_http1() {
    keeps_its_connections(fleet().start(), python(), "h1");
}

#[test]
#[ignore = "needs httpx: tests/run --services"]
fn httpx_keeps_its_connections_over_http2() {
    keeps_its_connections(fleet().start(), python(), "h2");
}

#[test]
#[ignore = "needs Node: tests/run --services"]
fn nodes_agent_keeps_its_connections_over_http1() {
    keeps_its_connections(fleet().start(), script("/usr/bin/node", "client.mjs"), "h1");
}

#[test]
#[ignore = "needs Node: tests/run --services"]
fn nodes_sessions_keep_their_connections_over_http2() {
    keeps_its_connections(fleet().start(), script("/usr/bin/node", "client.mjs"), "h2");
}

#[test]
#[ignore = "needs Java: tests/run --services"]
fn javas_http_client_keeps_its_connections_over_http1() {
    keeps_its_connections(fleet().start(), script("/usr/bin/java", "Client.java"), "h1");
}

#[test]
#[ignore = "needs Java: tests/run --services"]
fn javas_http_client_keeps_its_connections_over_http2() {
    keeps_its_connections(fleet().start(), script("/usr/bin/java", "Client.java"), "h2");
}
