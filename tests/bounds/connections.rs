//! Connections: how many there may be, and how the kernel looks after them.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{Address, Alone, Client, Failure, WebSocket, alone, eventually, get, ours_alone, supervisor};

use super::{TIMEOUTS, asked_once, supervised};

#[test]
fn tcp_asks_whether_a_silent_client_is_there() {
    let timer = |server: &Alone| {
        let stream = TcpStream::connect(server.tcp()).unwrap();
        let (ours, theirs) = (stream.local_addr().unwrap().port(), stream.peer_addr().unwrap().port());
        let ends = format!("0100007F:{theirs:04X} 0100007F:{ours:04X}");
        // The kernel's table: nothing says when the server has accepted.
        let look = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.contains(&ends))?;
            Some(line.split_whitespace().nth(5)?.to_owned())
        };
        eventually("the connection is there", look, Option::is_some).unwrap()
    };
    assert!(timer(&alone("[timeouts]\ntcp_keepalive = \"60s\"\n")).starts_with("02:"), "proc_net_tcp: keepalive");
    assert!(timer(&alone("[timeouts]\ntcp_keepalive = \"0s\"\n")).starts_with("00:"));
}

#[test]
fn a_server_by_itself_has_a_long_queue() {
    let server = alone("");
    let output = std::process::Command::new("ss")
        .args(["-Hltn", &format!("sport = :{}", server.tcp().port())])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    assert_eq!(text.split_whitespace().nth(2), Some(&*most.min(4096).to_string()), "{text}");
}

/// What a client says first over HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// One more connection of a client is closed as it comes, whatever it says.
fn refuses_one_more(address: &Address) {
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], PREFACE, b""] {
        let mut one_more = Client::connect(address).unwrap();
        let _ = one_more.send(bytes);
        match one_more.until_closed() {
            Ok(heard) => assert_eq!(heard, b""),
            Err(failure) => assert_eq!(failure, Failure::Reset),
        }
    }
}

#[test]
fn a_client_has_so_many_connections_before_and_after_a_handover() {
    let gin = supervised(&format!("{TIMEOUTS}[limits]\nconnections_per_client = 3\n"));
    let address = gin.tcp();
    let mut http1 = [(); 2].map(|()| asked_once(&address));
    let mut socket = WebSocket::open(&address, "/count");
    let mut heard = 0;
    let mut all_are_served = || {
        for client in &mut http1 {
            assert_eq!(client.get("/").unwrap().status, 200);
        }
        heard += 1;
        socket.send(0x82, b"x");
        assert!(socket.text().starts_with(&format!("{heard} 1 ")));
    };
    all_are_served();
    refuses_one_more(&address);
    all_are_served();
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=3 ", "cut=0"]);
    refuses_one_more(&address);
    all_are_served();
    assert_eq!(get(&gin.unix(), "/").unwrap().status, 200, "a Unix socket tells no address to count by");
    drop(http1);
    // The worker hears of the end when it reads it.
    let again = || Client::connect(&address).unwrap().get("/").map(|answer| answer.status);
    let _ = eventually("a place is free", again, |answer| *answer == Ok(200));
    gin.stop();
}

#[test]
fn idle_connections_make_room_for_new_clients() {
    let server = ours_alone("ok", "[limits]\nconnections = 100\n[timeouts]\nidle = \"300s\"\npark_after = \"10ms\"\n");
    let mut idle: Vec<_> = (0..100).map(|_| Client::connect(server.address()).unwrap()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let began = Instant::now();
    // Who has said nothing goes before those who have: each asks as soon as it has connected.
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut new: Vec<_> = (0..20).map(|_| Client::asking(server.address(), request).unwrap()).collect();
    for client in &mut new {
        assert_eq!(client.response().unwrap().status, 200);
    }
    println!("20 new clients beside 100 idle ones: {:?}", began.elapsed());
    let (mut kept, mut closed) = (0, 0);
    for client in &mut idle {
        match client.get("/") {
            Ok(answer) if answer.status == 200 => kept += 1,
            Ok(answer) => panic!("{answer:?}"),
            Err(Failure::ClosedEarly | Failure::Reset) => closed += 1,
            Err(failure) => panic!("{failure:?}"),
        }
    }
    println!("{kept} kept, {closed} closed");
    assert!((20..=64).contains(&closed), "the longest idle ones, a few at a time");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn near_its_memory_a_worker_takes_no_new_work_and_keeps_what_it_was_handed() {
    let gin = supervisor()
        .workers(1)
        .ours("one", "service")
        .set("soak = \"0s\"")
        .section("[limits]\nmemory = \"150MiB\"")
        .start();
    let mut handed = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(handed.get("/").unwrap().status, 200);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    let mut own = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(own.get("/").unwrap().status, 200);
    assert_eq!(handed.get("/grow?mb=140").unwrap().status, 200);
    // It looks ten times a second, and says so in its log alone.
    let answer = eventually("it is full", || own.get("/").unwrap(), |answer| answer.status == 503);
    assert_eq!((answer.headers["retry-after"].as_str(), answer.json()["code"].as_str()), ("1", Some("MEMORY")));
    assert_eq!(own.get("/livez").unwrap().status, 200, "it is alive");
    assert_eq!(handed.get("/").unwrap().status, 200);
    assert_eq!(Client::connect(&gin.tcp()).unwrap().get("/").unwrap().status, 503);
    gin.stop();
}

#[test]
fn near_its_memory_a_worker_does_not_wait_for_bodies_that_do_not_come() {
    // None of them would be late within this test.
    let server = ours_alone(
        "service",
        "[limits]\nmemory = \"150MiB\"\nbody = \"8MiB\"\nmin_rate = \"0\"\n[timeouts]\nread = \"300s\"\n",
    );
    let mut honest = Client::connect(server.address()).unwrap();
    let (head, most) = ("POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n", vec![b'x'; 7_000_000]);
    let mut holders = Vec::new();
    // It looks at its memory ten times a second, and says so in its log alone.
    let hold = || {
        let mut holder = Client::asking(server.address(), head).unwrap();
        // Near the limit it is refused as it comes.
        let _ = holder.send(&most);
        holders.push(holder);
        honest.get("/").unwrap().status
    };
    eventually("it is near its limit", hold, |status| *status == 503);
    println!("{} holders, {} KiB", holders.len(), server.memory("VmRSS"));
    let answer = holders[0].response().unwrap();
    assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
    assert_eq!((answer.headers["retry-after"].as_str(), answer.json()["code"].as_str()), ("1", Some("MEMORY")));
    assert_eq!(holders[0].response().unwrap_err(), Failure::ClosedEarly);
    // What was freed is given back to the system, and is looked at.
    eventually("it takes new work again", || honest.get("/").unwrap().status, |status| *status == 200);
}
