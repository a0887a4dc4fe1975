//! A chat of several workers and generations.

use std::collections::BTreeSet;
use std::thread;

use harness::{Address, Supervisor, WebSocket};
use serde_json::{Value, json};

use crate::programs::site::{ask, site};

const PROGRAM: &str = "examples/chat";
/// First byte of a text of one frame.
const TEXT: u8 = 0x81;

fn broadcast(address: &Address, message: &str) {
    let answer = ask(address, "POST", "/broadcast", "", &json!({ "message": message })).unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({ "message": "广播成功" })));
}

/// A member whose messages say who has said them, and the PID of its worker.
fn join(address: &Address, user: &str) -> (WebSocket, i64) {
    let mut socket = WebSocket::open(address, &format!("/ws?format=json&user_id={user}"));
    let served_by: Value = serde_json::from_str(&socket.text()).unwrap();
    (socket, served_by["served_by"]["pid"].as_i64().unwrap())
}

/// Members at each worker of the current generation.
fn members_everywhere(gin: &Supervisor) -> Vec<WebSocket> {
    let workers: BTreeSet<i64> = gin.workers().into_iter().map(i64::from).collect();
    let (mut members, mut served) = (Vec::new(), BTreeSet::new());
    // The kernel chooses who accepts a connection.
    while served != workers {
        assert!(members.len() < 1000, "of {workers:?} only {served:?} accept");
        let (socket, pid) = join(&gin.tcp(), "somebody");
        if workers.contains(&pid) {
            served.insert(pid);
        }
        members.push(socket);
    }
    members
}

/// The next message that a member hears, but for what its new worker says of itself.
fn heard(socket: &mut WebSocket) -> Value {
    loop {
        let line: Value = serde_json::from_str(&socket.text()).unwrap();
        if line.get("served_by").is_none() {
            return line;
        }
    }
}

#[test]
#[ignore = "needs the example: tests/run --services"]
fn a_broadcast_is_heard_at_each_worker_of_both_generations() {
    let gin = site(PROGRAM, 2, &[]).start();
    let address = gin.tcp();
    let mut members = members_everywhere(&gin);
    broadcast(&address, "to one generation");
    // Within a message a connection stays with its worker.
    let (mut held, old) = join(&address, "held");
    let message = WebSocket::frame(TEXT, &[b'x'; 60]);
    let (first, second) = message.split_at(30);
    held.0.send(first).unwrap();
    gin.restart();
    assert!(gin.workers().iter().all(|pid| i64::from(*pid) != old), "the old worker drains");
    let mut late = members_everywhere(&gin);
    broadcast(&address, "to both generations");
    assert_eq!(heard(&mut held), json!({ "user_id": null, "message": "to both generations" }));
    for member in &mut late {
        assert_eq!(heard(member)["message"], "to both generations");
    }
    // The old worker's member is heard, too.
    held.0.send(second).unwrap();
    let last = json!({ "user_id": "held", "message": "x".repeat(60) });
    for member in &mut members {
        assert_eq!(heard(member)["message"], "to one generation");
        assert_eq!(heard(member)["message"], "to both generations");
        assert_eq!(heard(member), last);
    }
    for member in late.iter_mut().chain([&mut held]) {
        assert_eq!(heard(member), last);
    }
    drop((members, late, held));
    gin.ends_sound();
}

/// A frame of any length: its first byte and its payload.
fn frame(socket: &mut WebSocket) -> (u8, Vec<u8>) {
    let head = socket.0.exactly(2).unwrap();
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes(socket.0.exactly(2).unwrap().try_into().unwrap())),
        short => usize::from(short),
    };
    (head[0], socket.0.exactly(length).unwrap())
}

#[test]
#[ignore = "needs the example: tests/run --services"]
fn a_reader_that_is_too_slow_is_told_so() {
    let gin = site(PROGRAM, 1, &[]).start();
    let address = gin.tcp();
    let mut slow = WebSocket::open(&address, "/ws?user_id=slow");
    // More than the kernel holds for a client that reads nothing, and 256 messages.
    let long = "😀".repeat(2000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| broadcast(&address, &long)));
        }
    });
    let (mut first, mut payload) = frame(&mut slow);
    let mut count = 0;
    while first == TEXT {
        assert_eq!(payload, long.as_bytes());
        count += 1;
        (first, payload) = frame(&mut slow);
    }
    assert!(count < 2000, "all messages were kept for it");
    let expected = [&1008_u16.to_be_bytes()[..], b"too slow"].concat();
    assert_eq!((first, payload), (0x88, expected), "after {count} messages");
    // The others go on.
    let mut next = WebSocket::open(&address, "/ws?user_id=next");
    broadcast(&address, "hi");
    assert_eq!(next.text(), "hi");
    drop((slow, next));
    gin.ends_sound();
}

#[test]
#[ignore = "needs the example: tests/run --services"]
fn what_is_too_long_and_what_is_foreign_is_refused() {
    let gin = site(PROGRAM, 1, &[]).start();
    let address = gin.tcp();
    let mut long = WebSocket::open(&address, "/ws?user_id=long");
    long.send(TEXT, &vec![b'x'; (8 << 10) + 1]);
    assert_eq!(long.close_code(), 1009);
    for origin in ["http://evil.example", "null"] {
        let refused = WebSocket::ask(&address, "/ws?user_id=ann", &format!("Origin: {origin}\r\n"));
        assert_eq!(refused.map(drop).unwrap_err().status, 403, "{origin}");
    }
    drop(long);
    gin.ends_sound();
}
