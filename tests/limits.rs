//! A client's limit is one: over all workers, over restarts, over the death of workers and of the master.

use std::collections::BTreeMap;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use harness::{Client, Supervisor, binary, get, supervisor, times};

/// So many requests of each client, each for itself a connection at a time; gives how many were let in.
pub fn let_in(gin: &Supervisor, clients: &[&str], requests: usize) -> BTreeMap<String, usize> {
    let address = gin.tcp();
    let ask = |client: &str| {
        let mut let_in = 0;
        let mut connection = None;
        for number in 0..requests {
            // Now and then over a new connection, which any worker may accept.
            if number % 10 == 0 {
                connection = None;
            }
            let open = match &mut connection {
                Some(open) => open,
                none => none.insert(Client::connect(&address).unwrap()),
            };
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
            open.send(head.as_bytes()).unwrap();
            let answer = open.response().unwrap();
            assert!([200, 429].contains(&answer.status), "{}", answer.status);
            if answer.status == 429 {
                assert_eq!(answer.json()["code"], "RATE_LIMIT_EXCEEDED");
                assert!(answer.headers["retry-after"].parse::<u64>().unwrap() > 0);
            }
            let_in += usize::from(answer.status == 200);
            if answer.closes() {
                connection = None;
            }
        }
        (client.to_owned(), let_in)
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = clients.iter().map(|client| scope.spawn(move || ask(client))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn limited(rate: u32) -> Supervisor {
    supervisor()
        .workers(4)
        .set("soak = \"0s\"")
        // Ten hours: what comes back while the test runs is less than one request.
        .section(&format!(
            "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[rate_limit]\nenable = true\nrate = {rate}\nwindow = \"10h\""
        ))
        .start()
}

#[test]
fn each_client_gets_its_limit_from_four_workers_and_over_a_restart() {
    let gin = limited(200);
    let clients = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
    let before = let_in(&gin, &clients, 100);
    assert!(before.values().all(|count| *count == 100), "{before:?}");
    // 1,000 requests of each in the midst of restarts.
    let during = std::thread::scope(|scope| {
        let asking = scope.spawn(|| let_in(&gin, &clients, 1000));
        for _ in 0..times(2, 10) {
            gin.restart();
        }
        asking.join().unwrap()
    });
    println!("{before:?} {during:?}");
    for client in clients {
        let all = before[client] + during[client];
        assert!((199..=201).contains(&all), "{client}: {all} of 200");
    }
    // After the last restart, too.
    let after = let_in(&gin, &clients, 10);
    assert!(after.values().all(|count| *count == 0), "{after:?}");
    gin.stop();
}

#[test]
fn neither_a_workers_death_nor_the_masters_gives_anybody_more() {
    let mut gin = limited(60);
    let client = ["192.0.2.9"];
    assert_eq!(let_in(&gin, &client, 30)["192.0.2.9"], 30);
    // A worker.
    let mut events = gin.events();
    gin.kill_worker(gin.workers()[0]);
    events.until("serving");
    assert_eq!(let_in(&gin, &client, 10)["192.0.2.9"], 10);
    // The master's program.
    gin.ctl(&["upgrade-supervisor"]).assert(0, &["is the master now"]);
    gin.restart();
    assert_eq!(let_in(&gin, &client, 10)["192.0.2.9"], 10);
    // The master itself: its successor takes the memory from a worker.
    gin.die_and_adopt();
    gin.restart();
    let last = let_in(&gin, &client, 100)["192.0.2.9"];
    assert!((9..=11).contains(&last), "{last} of 10");
    gin.stop();
}

#[test]
fn a_limit_that_a_unix_socket_tells_no_addresses_for_is_refused_or_one_for_all() {
    let limited = |more: &str| format!("[rate_limit]\nenable = true\nrate = 3\nwindow = \"10h\"\n{more}");
    // The worker does not start, and says why.
    let (code, log) = supervisor().and_unix().section(&limited("")).fails();
    assert!(code != 0 && log.contains("have no address to be counted by"), "{code} {log}");
    let asked = |more: &str| {
        let gin = supervisor().and_unix().section(&limited(more)).start();
        let statuses: Vec<u16> = (0..5).map(|_| get(&gin.unix(), "/").unwrap().status).collect();
        gin.stop();
        statuses
    };
    assert_eq!(asked("without_address = \"one_bucket\""), [200, 200, 200, 429, 429]);
    assert_eq!(asked("without_address = \"unlimited\""), [200; 5]);
    // A trusted proxy that tells no address limits all its clients as one.
    assert_eq!(asked("[server]\ntrusted_proxies = [\"127.0.0.1\"]"), [200, 200, 200, 429, 429]);
}

#[test]
fn a_socket_that_the_configuration_does_not_know_is_refused_at_the_start() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let config = dir.path().join("server.toml");
    std::fs::write(&config, "[rate_limit]\nenable = true\n").unwrap();
    let socket = UnixListener::bind(dir.path().join("http.sock")).unwrap();
    // As a service manager passes it: descriptor 3, and the PID of the program itself.
    let output = Command::new("/bin/sh")
        .args(["-c", "LISTEN_PID=$$ exec \"$0\" --config \"$1\" 3<&0 </dev/null"])
        .args([&binary("gin-server"), &config])
        .env("LISTEN_FDS", "1")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("http.sock have no address to be counted by"), "{said}");
}
