//! The fixture under a supervisor.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use harness::{Builder, Supervisor, eventually, supervisor};
use serde_json::Value;

/// Redis of the tests is noticed to be away soon.
pub const SOON: &str = "dial_timeout = \"500ms\"\nread_timeout = \"500ms\"\nwrite_timeout = \"500ms\"\n";

/// Fleet of so many workers of the fixture in this mode, with these sections of the configuration.
pub fn site(workers: usize, mode: &str, sections: &[&str]) -> Builder {
    let builder = supervisor().workers(workers).set("soak = \"0s\"").data("one", mode);
    sections.iter().fold(builder, |builder, section| builder.section(section))
}

/// Each worker's private listener.
fn private_sockets(gin: &Supervisor) -> Vec<PathBuf> {
    let files = std::fs::read_dir(gin.dir().join("run")).unwrap().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|end| end == "private")).collect()
}

/// Answers of all workers on their private listeners, heads included. A worker that ends meanwhile has none.
pub fn private(gin: &Supervisor, path: &str) -> Vec<String> {
    let ask = |socket: PathBuf| {
        let mut stream = UnixStream::connect(socket).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    private_sockets(gin).into_iter().filter_map(ask).collect()
}

/// Until `/readyz` has this status; gives its body.
pub fn until_ready_is(gin: &Supervisor, status: u16) -> Value {
    // A worker looks for its parts on its own, and tells nobody when one is back.
    let look = || gin.get("/readyz");
    let answer = eventually(&format!("/readyz is {status}"), look, |answer| answer.status == status);
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// Until each worker of the current generation has answered `path`; gives the answers by PID.
pub fn of_each_worker(gin: &Supervisor, path: &str) -> Vec<Value> {
    let workers = gin.workers();
    let began = Instant::now();
    let mut all: Vec<Value> = Vec::new();
    // The kernel chooses who accepts a connection, and only the answer tells.
    while all.len() < workers.len() {
        assert!(began.elapsed() < harness::PATIENCE, "of {workers:?} only {all:?} answer");
        let answer = gin.get(path).json();
        let is_current = workers.iter().any(|pid| answer["pid"] == *pid);
        if is_current && !all.iter().any(|known| known["pid"] == answer["pid"]) {
            all.push(answer);
        }
    }
    all
}
