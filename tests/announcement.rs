//! A worker built on gin-worker announces itself, so no setting says what it is; other programs are given nothing that they did not ask
//! for.

use std::collections::BTreeSet;
use std::path::Path;

use harness::{Builder, Client, Supervisor, binary, eventually, fixture, supervisor, write_program};

use crate::handover::asks;

/// Number of clients of a test.
const ALL: usize = 8;

/// A service on the library, without a word about its channel.
fn on_the_library() -> Builder {
    supervisor().ours("one", "ok").set("soak = \"0s\"")
}

/// Clients whose connections rest.
fn connected(gin: &Supervisor) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..ALL).map(|_| Client::connect(&gin.tcp()).unwrap()).collect();
    for client in &mut clients {
        asks(client);
    }
    clients
}

/// A restart closes none of the connections: workers of the current generation have them.
fn keeps(gin: &Supervisor, clients: &mut [Client]) {
    let handed_over = format!("step=drained handed_over={ALL} finished=0 closed=0 cut=0");
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[&handed_over]);
    let workers = gin.workers();
    for client in clients {
        assert!(i32::try_from(asks(client)).is_ok_and(|pid| workers.contains(&pid)), "{}", gin.log());
    }
}

#[test]
fn a_service_on_the_library_keeps_its_connections_and_is_probed_without_a_setting() {
    let probe = "probe = { path = \"/readyz\", interval = \"10ms\", timeout = \"1s\" }";
    let mut gin = on_the_library().workers(2).set(probe).start();
    let mut clients = connected(&gin);
    keeps(&gin, &mut clients);
    gin.until_log("probed: GET /readyz 200 twice");
    // The operator asks a worker on its private listener.
    gin.ctl(&["routes"]).assert(0, &[]);
    gin.ctl(&["log-level", "debug"]).assert(0, &[]);
    for _ in 0..2 {
        gin.die_and_adopt();
        keeps(&gin, &mut clients);
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["2 workers went on"]);
        keeps(&gin, &mut clients);
    }
    drop(clients);
    gin.assert_sound();
    gin.stop();
}

/// The open descriptors of a process, by number and kind.
fn descriptors(pid: i32) -> Vec<(String, String)> {
    let kind = |path: &Path| {
        let target = std::fs::read_link(path).ok()?.display().to_string();
        // "socket:[123]", or a path in the test's own directory.
        let name = if target.starts_with('/') { target.rsplit('/').next() } else { target.split(':').next() };
        Some(name?.to_owned())
    };
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let all = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, kind(&entry.path())?)));
    let mut all: Vec<(String, String)> = all.collect();
    all.sort();
    all
}

/// The descriptors of a foreign program when it rests, and the names of its variables, with this line in the configuration.
fn seen_by_a_foreign_program(line: &str) -> (Vec<(String, String)>, BTreeSet<String>) {
    let gin = supervisor().foreign("one", "ok").set(&format!("soak = \"0s\"\n{line}")).start();
    let pid = gin.workers()[0];
    assert_eq!(gin.get("/").status, 200);
    // It closes what it has said READY=1 with.
    let is_socket = |(_, kind): &&(String, String)| kind == "socket";
    let seen = eventually(
        "its listener is its only socket",
        || descriptors(pid),
        |all| all.iter().filter(is_socket).map(|(number, _)| number.as_str()).eq(["3"]),
    );
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    let names = environment.split('\0').filter_map(|variable| variable.split('=').next()).map(str::to_owned).collect();
    for end in ["channel", "private"] {
        assert!(!gin.dir().join(format!("run/1.0.0.{end}")).exists(), "{end}");
    }
    gin.ctl(&["routes"]).assert(1, &["private_listener"]);
    gin.restart();
    assert_eq!(gin.get("/").status, 200);
    gin.stop();
    (seen, names)
}

#[test]
fn a_foreign_program_gets_no_socket_that_it_has_not_asked_for() {
    let (offered, variables) = seen_by_a_foreign_program("");
    let (refused, fewer) = seen_by_a_foreign_program("channel = false");
    assert_eq!(offered, refused);
    assert_eq!(variables.difference(&fewer).map(String::as_str).collect::<Vec<_>>(), ["GIN_ANNOUNCE"]);
    assert!(fewer.is_subset(&variables) && !variables.contains("GIN_CHANNEL_FD"));
}

#[test]
fn a_probe_of_a_program_that_announces_nothing_fails_and_says_what_to_do() {
    let gin = supervisor().foreign("one", "ok").set("soak = \"0s\"").start();
    gin.configure(|text| text.replace("soak = \"0s\"", "soak = \"0s\"\nprobe = { path = \"/\" }"));
    gin.ctl(&["restart"])
        .assert(1, &["the probe failed: the worker has no private listener", "private_listener = true"]);
    assert_eq!(gin.get("/").status, 200);
    gin.stop();
}

/// An older worker announces nothing, which it shows where it cannot see that somebody would answer. An older master answers nothing: it
/// does as `channel` says.
#[test]
fn workers_and_masters_of_different_ages_go_on_as_the_older_one_did() {
    let older_worker = "command = [\"/usr/bin/env\", \"-u\", \"GIN_ANNOUNCE\", ";
    for (who, command, line, is_kept) in [
        ("both are new", "command = [", "", true),
        ("an older worker, with the setting", older_worker, "channel = true", true),
        ("an older worker, without it", older_worker, "", false),
        ("an older master, with the setting", "command = [", "channel = true", true),
        ("an older master, without it", "command = [", "channel = false", false),
    ] {
        let grace = "[timeouts]\nidle_grace = \"100ms\"";
        let gin = on_the_library().replace("command = [", command).set(line).section(grace).start();
        let mut clients = connected(&gin);
        if is_kept {
            keeps(&gin, &mut clients);
        } else {
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &["step=drained"]);
            clients.iter_mut().for_each(|client| assert_eq!(client.until_closed().unwrap(), b"", "{who}"));
        }
        assert_eq!(gin.get("/").status, 200, "{who}");
        drop(clients);
        gin.stop();
    }
}

#[test]
fn another_build_that_takes_over_in_place_goes_on_with_announced_workers() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let (program, real) = (dir.path().join("gin-supervisor"), binary("gin-supervisor"));
    std::fs::copy(&real, &program).unwrap();
    let grace = "[timeouts]\nidle_grace = \"100ms\"";
    let gin = on_the_library().section(grace).program(&program).start();
    let mut clients = connected(&gin);
    for build in ["newer", "older", "newer"] {
        let call = format!("{} {build} {} $0", fixture("other-build.py").display(), real.display());
        write_program(&program, &format!("#!/bin/sh\nexec /usr/bin/python3 {call} \"$@\"\n"));
        gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
        if build == "newer" {
            keeps(&gin, &mut clients);
        } else {
            // The oldest knows of no channels: its workers are told to finish by signal, and close what rests.
            gin.ctl(&["restart", "--wait-drained"]).assert(0, &["step=drained"]);
            clients.iter_mut().for_each(|client| assert_eq!(client.until_closed().unwrap(), b""));
            clients = connected(&gin);
        }
    }
    drop(clients);
    gin.stop();
}

#[test]
fn a_helper_of_the_worker_that_has_inherited_the_variables_is_given_nothing() {
    let script = "import os, signal, socket\n\
                  if os.fork() == 0:\n \
                  here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n \
                  s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n \
                  s.connect(os.environ['NOTIFY_SOCKET'])\n \
                  socket.send_fds(s, [b'X_GIN_ANNOUNCE=1'], [there.fileno()])\n \
                  there.close()\n \
                  open('answer.new', 'w').write('%d bytes' % len(here.recv(4096)))\n \
                  os.rename('answer.new', 'answer')\n \
                  os._exit(0)\n\
                  os.wait()\n\
                  s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                  s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n\
                  signal.pause()\n";
    let builder = supervisor().set("soak = \"0s\"");
    let dir = builder.dir().to_owned();
    let settings = format!("command = [\"/usr/bin/python3\", \"-c\", {script:?}]\ndirectory = {dir:?}");
    let gin = builder.set(&settings).start();
    assert_eq!(std::fs::read_to_string(dir.join("answer")).unwrap(), "0 bytes");
    assert!(!dir.join("run/1.0.0.channel").exists());
    gin.stop();
}

#[test]
fn a_worker_announces_itself_though_too_many_descriptors_are_on_their_way_for_now() {
    let gin = on_the_library().faulty_workers().start();
    gin.order_workers("announce.send ETOOMANYREFS 0 once\nannounce.send EAGAIN 0 once");
    gin.restart();
    let mut clients = connected(&gin);
    keeps(&gin, &mut clients);
    drop(clients);
    gin.stop();
}

#[test]
fn an_announcement_without_a_socket_is_told_and_the_worker_goes_on() {
    let script = "import os, signal, socket\n\
                  s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                  s.connect(os.environ['NOTIFY_SOCKET'])\n\
                  s.send(b'X_GIN_ANNOUNCE=1')\n\
                  s.send(b'X_GIN_ANNOUNCE=1')\n\
                  s.send(b'READY=1')\n\
                  signal.pause()\n";
    let settings = format!("command = [\"/usr/bin/python3\", \"-c\", {script:?}]\nsoak = \"0s\"");
    let gin = supervisor().set(&settings).start();
    // The log is written behind READY=1 of the supervisor.
    gin.until_log("worker 1.0 serving");
    let log = gin.log();
    assert_eq!(log.matches("the worker gets no channel").count(), 1, "{log}");
    gin.stop();
}
