//! Secrets of connections stand in the memory of the worker that has them, and nowhere else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use harness::{Client, Supervisor, eventually, supervisor, write_program};
use rustls::KeyLog;

use super::{clients, connect, with_https};
use crate::handover::{asks, until_new};

/// Labels of the secrets under which a client sends: of TLS 1.2, and of TLS 1.3. A move changes the server's alone.
const OF_CLIENT: [&str; 2] = ["CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0"];
const OF_SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

/// A page of memory that was never used.
static ZEROS: [u8; 4096] = [0; 4096];

/// Secrets that a client has agreed on with its server, with their labels.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            self.0.lock().unwrap().push((label.to_owned(), secret.to_vec()));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        OF_CLIENT.contains(&label) || label == OF_SERVER
    }
}

fn has(memory: &[u8], part: &[u8]) -> bool {
    memory.iter().enumerate().any(|(at, byte)| *byte == part[0] && memory[at..].starts_with(part))
}

/// All memory that a process has for itself and can write to.
fn memory_of(pid: i32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        // Guard pages and the like cannot be read. The mapping may be smaller by now, or end at a page that is none.
        let mut length = 0;
        while let Ok(count @ 1..) = memory.read_at(&mut part[length..], from + length as u64) {
            length += count;
        }
        // Most of it was never used.
        all.extend(part[..length].chunks(ZEROS.len()).filter(|page| **page != ZEROS[..page.len()]).flatten());
    }
    all
}

/// All bytes of the files in a directory and below it. Sockets are passed over.
fn files_of(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files_of(&entry.path()));
        } else if kind.is_file() {
            all.extend(std::fs::read(entry.path()).unwrap_or_default());
        }
    }
    all
}

/// The ways in which a secret could be written down.
fn spellings(secret: &[u8]) -> [Vec<u8>; 4] {
    let hexadecimal: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = secret[..8].iter().map(ToString::to_string).collect();
    [secret.to_vec(), hexadecimal.to_uppercase().into(), hexadecimal.into(), numbers.join(", ").into()]
}

/// Clients of each version that have asked, and their secrets with their labels.
fn with_secrets(gin: &Supervisor) -> (Vec<Client>, Vec<(String, Vec<u8>)>) {
    let secrets = Arc::new(Secrets::default());
    let connected = clients(gin).into_iter().map(|https| {
        let log = Arc::clone(&secrets);
        connect(&https.configured(|config| config.key_log = log)).unwrap()
    });
    let mut connected: Vec<Client> = connected.collect();
    connected.iter_mut().for_each(|client| assert!(asks(client) > 0));
    let secrets = secrets.0.lock().unwrap().clone();
    assert_eq!(secrets.len(), 3, "one of TLS 1.2, and two of TLS 1.3");
    (connected, secrets)
}

#[test]
fn secrets_of_connections_are_in_no_file_and_not_in_the_master() {
    // With the library's own log, which tells everything.
    let gin = supervisor().ours("one", "logs").https().set("soak = \"0s\"").start();
    gin.ctl(&["log-level", "trace"]).assert(0, &[]);
    let (mut kept, secrets) = with_secrets(&gin);
    for _ in 0..3 {
        gin.restart();
        for client in &mut kept {
            until_new(&gin, client);
        }
    }
    let (files, master) = (files_of(gin.dir()), memory_of(gin.pid().as_raw()));
    let worker = memory_of(gin.workers()[0]);
    for (label, secret) in &secrets {
        for spelling in spellings(secret) {
            assert!(!has(&files, &spelling), "{label} is in a file");
        }
        assert!(!has(&master, secret), "{label} is in the master's memory");
        // The search finds it where it must be.
        assert!(!OF_CLIENT.contains(&label.as_str()) || has(&worker, secret), "{label} is not in the worker's memory");
    }
    drop(kept);
    gin.stop();
}

#[test]
fn a_worker_that_has_handed_connections_over_has_none_of_their_secrets_left() {
    let gin = with_https().start();
    let (giver, hold) = (gin.workers()[0], gin.hold());
    // The giver lives until this is answered.
    let mut busy = Client::asking(&gin.tcp(), &hold.request()).unwrap();
    let request = hold.arrived();
    let (mut kept, secrets) = with_secrets(&gin);
    let found_in = |worker: i32| -> Vec<&str> {
        let memory = memory_of(worker);
        secrets.iter().filter(|(_, secret)| has(&memory, secret)).map(|(label, _)| label.as_str()).collect()
    };
    assert_eq!(found_in(giver).len(), secrets.len(), "the search finds them where they are");
    gin.restart();
    for client in &mut kept {
        until_new(&gin, client);
    }
    // A packet is wiped when it is sent, which nothing tells.
    eventually("the giver has wiped them", || found_in(giver), Vec::is_empty);
    let taker = gin.workers()[0];
    let is_retired = |found: &Vec<&str>| !found.contains(&OF_SERVER);
    let found = eventually("the taker has wiped the key that has travelled", || found_in(taker), is_retired);
    assert_eq!(found.len(), OF_CLIENT.len(), "{found:?}");
    request.release();
    assert_eq!(busy.response().unwrap().body, b"held\n");
    drop((kept, busy));
    gin.stop();
}

/// The kinds of memory that a core of this process would have.
fn core_filter(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap()
}

/// That of this process, which is that of everything it starts unless somebody changes it.
fn usual_filter() -> String {
    core_filter(std::process::id().cast_signed())
}

#[test]
fn a_core_of_the_master_or_a_worker_has_no_memory_unless_it_is_asked_for() {
    for (line, is_asked_for) in [("core_dumps = false", false), ("core_dumps = true", true)] {
        let gin = with_https().security(line).start();
        let expected = if is_asked_for { usual_filter() } else { "00000000\n".to_owned() };
        for pid in gin.workers().into_iter().chain([gin.pid().as_raw()]) {
            assert_eq!(core_filter(pid), expected, "{line}");
        }
        gin.stop();
    }
    // Cleartext has no keys: its cores are as they were.
    let gin = supervisor().ours("one", "ok").start();
    for pid in [gin.workers()[0], gin.pid().as_raw()] {
        assert_eq!(core_filter(pid), usual_filter());
    }
    gin.stop();
}

#[test]
fn programs_without_keys_have_the_core_that_the_master_would_have_had() {
    let builder = with_https();
    let (hook, told) = (builder.dir().join("hook"), builder.dir().join("told"));
    write_program(&hook, &format!("#!/bin/sh\ncat /proc/self/coredump_filter > {}\n", told.display()));
    let mut gin = builder.set(&format!("hooks = {{ before_restart = [{hook:?}] }}")).start();
    let hides_its_own = |gin: &Supervisor| {
        std::fs::remove_file(&told).ok();
        gin.restart();
        assert_eq!(std::fs::read_to_string(&told).unwrap(), usual_filter());
        assert_eq!(core_filter(gin.pid().as_raw()), "00000000\n");
    };
    hides_its_own(&gin);
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    hides_its_own(&gin);
    gin.die_and_adopt();
    hides_its_own(&gin);
    gin.stop();
}
