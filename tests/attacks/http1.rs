//! Attacks over HTTP/1.1.

use std::net::TcpStream;

use harness::times;

use super::{Attack, BODY, LITTLE, MESSAGE, Target, drip, flood, send, until_ended};

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "idle from the start", cost: LITTLE, run: idle },
    Attack { name: "idle after a request", cost: LITTLE, run: idle_after_a_request },
    Attack { name: "half a head", cost: LITTLE, run: half_a_head },
    Attack { name: "a head of a byte now and then", cost: LITTLE, run: a_slow_head },
    Attack { name: "a head of 400 KiB", cost: LITTLE, run: a_large_head },
    Attack { name: "malformed heads", cost: LITTLE, run: malformed_heads },
    Attack { name: "paths of 60 KB", cost: LITTLE, run: long_paths },
    Attack { name: "half a body", cost: LITTLE, run: half_a_body },
    Attack { name: "most of the largest body", cost: BODY, run: most_of_a_body },
    Attack { name: "most of the largest form", cost: BODY, run: most_of_a_form },
    Attack { name: "a body of a byte now and then", cost: LITTLE, run: a_slow_body },
    Attack { name: "a chunk of a byte now and then", cost: LITTLE, run: slow_chunks },
    Attack { name: "chunks of one byte", cost: BODY, run: tiny_chunks },
    Attack { name: "TCP window 0", cost: LITTLE, run: takes_nothing },
    Attack { name: "pipelined requests, and no answer is taken", cost: LITTLE, run: an_unread_pipeline },
    Attack { name: "pipelined requests, and all answers are taken", cost: MESSAGE, run: a_read_pipeline },
];

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Heads that are refused as they come.
const MALFORMED: [&str; 8] = [
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
    "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
];

fn idle(target: &Target) -> Option<TcpStream> {
    until_ended(target.http1())
}

fn idle_after_a_request(target: &Target) -> Option<TcpStream> {
    until_ended(target.sending(GET.as_bytes()))
}

fn half_a_head(target: &Target) -> Option<TcpStream> {
    until_ended(target.sending(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: "))
}

fn a_slow_head(target: &Target) -> Option<TcpStream> {
    drip(target.sending(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "), b"x")
}

fn a_large_head(target: &Target) -> Option<TcpStream> {
    until_ended(target.sending(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(400 << 10)).as_bytes()))
}

fn malformed_heads(target: &Target) -> Option<TcpStream> {
    let many_fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let heads = MALFORMED.into_iter().chain([many_fields.as_str()]);
    // All at once: one that is answered otherwise has its time.
    let all: Vec<TcpStream> = heads.map(|head| target.sending(head.as_bytes())).collect();
    all.into_iter().find_map(until_ended)
}

fn long_paths(target: &Target) -> Option<TcpStream> {
    let mut client = target.client();
    for _ in 0..times(10, 300) {
        assert_eq!(client.get(&format!("/{}", "a".repeat(60_000))).unwrap().status, 404);
    }
    None
}

fn half_a_body(target: &Target) -> Option<TcpStream> {
    let half = "x".repeat(50_000);
    let head = "POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    until_ended(target.sending(format!("{head}{half}").as_bytes()))
}

/// Sends 1.9 MB of a body of 2 MiB (`limits.body`).
fn most_of(target: &Target, head: &str) -> Option<TcpStream> {
    let mut stream = target.sending(format!("{head}Content-Length: {}\r\n\r\ntext=", 2 << 20).as_bytes());
    let _ = send(&mut stream, &vec![b'x'; 1_900_000]);
    until_ended(stream)
}

fn most_of_a_body(target: &Target) -> Option<TcpStream> {
    most_of(target, "POST /gather HTTP/1.1\r\nHost: x\r\n")
}

fn most_of_a_form(target: &Target) -> Option<TcpStream> {
    most_of(target, "POST /bind HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n")
}

fn a_slow_body(target: &Target) -> Option<TcpStream> {
    drip(target.sending(b"POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"), b"x")
}

fn slow_chunks(target: &Target) -> Option<TcpStream> {
    let head = b"POST /gather HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    drip(target.sending(head), b"1\r\nx\r\n")
}

fn tiny_chunks(target: &Target) -> Option<TcpStream> {
    let head = b"POST /gather HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut stream = target.sending(head);
    let chunks = "1\r\nx\r\n".repeat(1000);
    let all = (0..times(30, 1900)).all(|_| send(&mut stream, chunks.as_bytes()));
    let _ = all && send(&mut stream, b"0\r\n\r\n");
    until_ended(stream)
}

fn takes_nothing(target: &Target) -> Option<TcpStream> {
    Some(target.sending(b"GET /static/large HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn an_unread_pipeline(target: &Target) -> Option<TcpStream> {
    // More than the kernel's buffers take: the worker reads on only when its answers are taken.
    flood(target.http1(), GET.repeat(100).as_bytes(), 10_000)
}

fn a_read_pipeline(target: &Target) -> Option<TcpStream> {
    let mut stream = target.http1();
    let reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || until_ended(reader));
    let _ = (0..times(5, 500)).all(|_| send(&mut stream, GET.repeat(100).as_bytes()));
    reading.join().unwrap()
}
