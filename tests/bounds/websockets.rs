//! WebSockets: length and rate of their frames, silence, mistakes, and origins.

use std::time::{Duration, Instant};

use harness::{Alone, Failure, WebSocket, ours_alone};

/// A server whose WebSockets have small limits.
fn small() -> Alone {
    ours_alone("ok", "[websocket]\nmessage = \"2KiB\"\nframe = \"1KiB\"\n[timeouts]\nwrite = \"1s\"\nidle = \"1s\"\n")
}

#[test]
fn a_websockets_messages_and_frames_have_a_length() {
    let server = small();
    let mut socket = WebSocket::open(server.address(), "/count");
    socket.send(0x82, &[b'x'; 1024]);
    assert!(socket.text().starts_with("1 1024 "));
    // Two frames of a message.
    socket.send(0x02, &[b'x'; 1024]);
    socket.send(0x80, &[b'x'; 1024]);
    assert!(socket.text().starts_with("2 2048 "));
    socket.send(0x02, &[b'x'; 1024]);
    socket.send(0x00, &[b'x'; 1024]);
    socket.send(0x80, b"x");
    assert_eq!(socket.close_code(), 1009);
    assert_eq!(socket.0.exactly(1).unwrap_err(), Failure::Truncated, "then it is closed, and not reset");
    let mut socket = WebSocket::open(server.address(), "/count");
    // Its head alone is enough.
    socket.0.send(&WebSocket::head(0x82, 1025)).unwrap();
    assert_eq!(socket.close_code(), 1009);
    // A kind of its own.
    let mut socket = WebSocket::open(server.address(), "/large");
    socket.send(0x82, &[b'x'; 60_000]);
    assert!(socket.text().starts_with("1 60000 "));
    socket.0.send(&WebSocket::head(0x82, 65_537)).unwrap();
    assert_eq!(socket.close_code(), 1009);
}

#[test]
fn a_mistake_ends_a_websocket_with_the_code_that_says_which() {
    let server = ours_alone("ok", "");
    let frames: [(&str, Vec<u8>, u16); 9] = [
        ("a reserved bit", WebSocket::frame(0xc1, b"hi"), 1002),
        ("a reserved opcode", WebSocket::frame(0x83, b"hi"), 1002),
        ("a reserved control opcode", WebSocket::frame(0x8b, b""), 1002),
        ("no mask", vec![0x81, 2, b'h', b'i'], 1002),
        ("a continuation of nothing", WebSocket::frame(0x80, b"hi"), 1002),
        ("a message within a message", [WebSocket::frame(0x01, b"a"), WebSocket::frame(0x01, b"b")].concat(), 1002),
        ("a long ping", WebSocket::frame(0x89, &[0; 126]), 1002),
        ("a ping in pieces", WebSocket::frame(0x09, b""), 1002),
        ("no UTF-8", WebSocket::frame(0x81, b"\xff\xfe"), 1007),
    ];
    for (what, bytes, code) in frames {
        let mut socket = WebSocket::open(server.address(), "/count");
        socket.0.send(&bytes).unwrap();
        assert_eq!(socket.close_code(), code, "{what}");
        assert_eq!(socket.0.exactly(1).unwrap_err(), Failure::Truncated, "{what}");
    }
}

#[test]
fn a_silent_websocket_is_asked_and_then_closed() {
    let server = small();
    let mut socket = WebSocket::open(server.address(), "/count");
    for _ in 0..3 {
        assert_eq!(socket.receive(), (0x89, Vec::new()), "a ping");
        socket.send(0x8a, b"");
    }
    assert_eq!(socket.receive(), (0x89, Vec::new()));
    assert_eq!(socket.close_code(), 1001, "it has not answered");
}

#[test]
fn a_websocket_that_takes_nothing_is_ended() {
    let server = ours_alone("ok", "[timeouts]\nwrite = \"1s\"\n[websocket]\nmessage = \"64KiB\"\n");
    for path in ["/flood", "/raw-flood"] {
        let socket = WebSocket::open(server.address(), path);
        let ended = server.until("nobody takes it");
        println!("{path}: {ended}");
        drop(socket);
    }
}

#[test]
fn frames_come_at_the_rate_that_is_allowed_and_none_is_lost() {
    let server = ours_alone("ok", "[websocket]\nrate = 50\n");
    let mut socket = WebSocket::open(server.address(), "/count");
    let began = Instant::now();
    let frames: Vec<u8> = (0..100).flat_map(|_| WebSocket::frame(0x82, b"x")).collect();
    socket.0.send(&frames).unwrap();
    for number in 1..=100 {
        assert!(socket.text().starts_with(&format!("{number} 1 ")));
    }
    // Fifty at once, and fifty in a second; it can only be slower.
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn a_websocket_is_for_the_hosts_own_pages_and_for_those_that_are_listed() {
    let server = ours_alone("ok", "[websocket]\nallow_origins = [\"https://friend.test\"]\n");
    let ask = |fields: &str| match WebSocket::ask(server.address(), "/count", fields) {
        Ok(_) => 101,
        Err(answer) => answer.status,
    };
    for (fields, status) in [
        ("", 101),
        ("Origin: http://x\r\n", 101),
        ("Origin: https://x\r\n", 101),
        ("Origin: https://friend.test\r\n", 101),
        ("Origin: https://evil.test\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-WebSocket-Key: abc\r\n", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n", 400),
        ("Sec-WebSocket-Version: 12\r\n", 426),
    ] {
        assert_eq!(ask(fields), status, "{fields:?}");
    }
}

#[test]
fn a_message_that_does_not_end_ends_its_websocket() {
    let server = ours_alone("ok", "[timeouts]\nread = \"1s\"\nidle = \"60s\"\n");
    let mut socket = WebSocket::open(server.address(), "/count");
    socket.0.send(&WebSocket::head(0x82, 1000)).unwrap();
    socket.0.send(b"a part").unwrap();
    assert_eq!(socket.close_code(), 1008);
    // Whoever is between two messages may be silent.
    let mut quiet = WebSocket::open(server.address(), "/count");
    let mut parts = WebSocket::open(server.address(), "/count");
    parts.send(0x01, b"the first of two");
    assert_eq!(parts.close_code(), 1008);
    quiet.send(0x82, b"abc");
    assert!(quiet.text().starts_with("1 3 "));
}
