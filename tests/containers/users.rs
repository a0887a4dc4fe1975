//! Clients of the example rest_api: what they ask for, and one that adds users while a service is updated.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::{Address, Client, Failure, Load, binary, get};
use serde_json::json;

const USERS: &str = "/api/v1/users/";
/// Pause of the client that adds, between two users.
const PAUSE: Duration = Duration::from_millis(20);

/// Puts the program into a directory, without its symbols. (An image of it is small, then.)
pub fn put_program(directory: &Path, name: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let program = binary("rest_api");
    let stripped = Command::new("strip").arg("-o").arg(directory.join(name)).arg(&program).status();
    assert!(
        stripped.is_ok_and(|status| status.success()),
        "strip of {}; tests/run --services builds it",
        program.display()
    );
}

/// Clients that read users, at each address: half of them keep their connection, half make one for each request.
pub fn load(addresses: &[Address]) -> Load {
    let each = 8 / addresses.len() / 2;
    let path = format!("{USERS}?size=1");
    let load = Load::new().path(&path);
    addresses.iter().fold(load, |load, address| load.keep_alive(address, each).one_shot(address, each))
}

/// Number of users that there are; `None` if it was not answered.
pub fn total(address: &Address) -> Option<u64> {
    let answer = get(address, &format!("{USERS}?size=1")).ok().filter(|answer| answer.status == 200)?;
    answer.json()["pagination"]["total"].as_u64()
}

/// A client that adds one user after the other.
#[derive(Debug)]
pub struct Writer {
    stop: Sender<()>,
    thread: JoinHandle<Written>,
}

/// Outcome of its requests.
#[derive(Debug, Default)]
pub struct Written {
    /// Users that a service has said are there.
    pub added: u64,
    /// Each way to be hurt, and how often. Such a user may be there.
    pub hurt: BTreeMap<Failure, u64>,
}

impl Writer {
    /// Starts it. Its users have this word in their names, which no other writer's have.
    pub fn start(address: &Address, word: &str) -> Self {
        let (stop, stopped) = channel();
        let (address, word) = (address.clone(), word.to_owned());
        Self { stop, thread: std::thread::spawn(move || write(&address, &word, &stopped)) }
    }

    /// Ends it.
    pub fn finish(self) -> Written {
        drop(self.stop);
        self.thread.join().expect("a client never panics")
    }
}

fn write(address: &Address, word: &str, stopped: &Receiver<()>) -> Written {
    let mut written = Written::default();
    let mut number = 0;
    // Paces it: real ones pause between two requests.
    while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        number += 1;
        match add(address, &format!("{word}{number}")) {
            Ok(()) => written.added += 1,
            Err(failure) => *written.hurt.entry(failure).or_default() += 1,
        }
    }
    written
}

/// Adds a user of this name.
pub fn add(address: &Address, name: &str) -> Result<(), Failure> {
    let body = json!({ "name": name, "email": format!("{name}@example.com") }).to_string();
    let head = format!("POST {USERS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    match Client::asking(address, &request)?.response()?.status {
        201 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}
