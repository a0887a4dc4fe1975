//! A worker that did not run for a while: what came in time counts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Client, Failure, ours_alone};
use nix::sys::signal::Signal;

#[test]
fn a_worker_that_was_paused_reads_what_came_in_time() {
    let server = ours_alone("ok", "[timeouts]\nread = \"4s\"\nwrite = \"4s\"\n");
    // Another one tells when the time of a head is over: it drops one.
    let clock = ours_alone("ok", "[timeouts]\nread = \"5s\"\n");
    let start = |request: &str| Client::asking(server.address(), request).unwrap();
    let mut heads: Vec<_> = (0..20).map(|_| start("GET / HT")).collect();
    let mut bodies: Vec<_> =
        (0..20).map(|_| start("POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")).collect();
    // Their clients take nothing for now: the server waits for them.
    let download = || {
        let mut stream = TcpStream::connect(server.tcp()).unwrap();
        stream.write_all(b"GET /download?mb=20 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    };
    let mut downloads: Vec<_> = (0..5).map(|_| download()).collect();
    // All of them are under way once a later request is answered.
    assert_eq!(Client::connect(server.address()).unwrap().get("/").unwrap().status, 200);
    for download in &mut downloads {
        download.read_exact(&mut [0; 1000]).unwrap();
    }
    server.signal(Signal::SIGSTOP);
    let mut timer = Client::asking(clock.address(), "GET / HT").unwrap();
    for head in &mut heads {
        head.send(b"TP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for body in &mut bodies {
        body.send(b"def").unwrap();
    }
    // All that is on its way: the kernel wakes a writer only when a good part of its buffer is free.
    for download in &mut downloads {
        download.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while download.read(&mut vec![0; 1 << 16]).is_ok() {}
    }
    assert_eq!(timer.response().unwrap_err(), Failure::ClosedEarly);
    server.signal(Signal::SIGCONT);
    for client in &mut heads {
        assert_eq!(client.response().unwrap().status, 200);
    }
    for client in &mut bodies {
        assert_eq!(client.response().unwrap().body, b"6");
    }
    for download in &mut downloads {
        download.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (mut last, mut bytes) = (Vec::new(), vec![0; 1 << 16]);
        while !last.ends_with(b"\r\n0\r\n\r\n") {
            let count = download.read(&mut bytes).unwrap();
            assert!(count > 0, "cut");
            last.extend_from_slice(&bytes[count.saturating_sub(7)..count]);
            last.drain(..last.len().saturating_sub(7));
        }
    }
}
