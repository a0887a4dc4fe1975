//! WebSockets: length and rate of their frames, silence, mistakes, and origins.

use std::time::{Duration, Instant};

use harness::{Failure, WebSocket, ours_alone};

use super::{TIMEOUTS, asked_once, before_and_after_a_handover, both, supervised};

/// Sends a binary message in frames of these lengths.
fn send_in_frames(socket: &mut WebSocket, lengths: &[usize]) {
    for (number, length) in lengths.iter().enumerate() {
        let (opcode, is_last) = (if number == 0 { 0x02 } else { 0x00 }, number + 1 == lengths.len());
        socket.send(if is_last { opcode | 0x80 } else { opcode }, &vec![b'x'; *length]);
    }
}

/// The longest message is heard, the one that is sent next ends the connection.
fn keeps_to_lengths(mut socket: WebSocket, longest: &[usize], too_long: impl FnOnce(&mut WebSocket)) {
    send_in_frames(&mut socket, longest);
    assert!(socket.text().starts_with(&format!("1 {} ", longest.iter().sum::<usize>())));
    too_long(&mut socket);
    assert_eq!(socket.close_code(), 1009);
    assert_eq!(socket.0.exactly(1).unwrap_err(), Failure::Truncated, "then it is closed, and not reset");
}

#[test]
fn a_websockets_messages_and_frames_have_a_length_before_and_after_a_handover() {
    let gin = supervised(&format!("{TIMEOUTS}[websocket]\nmessage = \"2KiB\"\nframe = \"1KiB\"\n"));
    before_and_after_a_handover(
        &gin,
        || both(&gin).map(|address| ["/count", "/count", "/large"].map(|path| WebSocket::open(&address, path))),
        |sockets: [[WebSocket; 3]; 2]| {
            for [message, frame, large] in sockets {
                keeps_to_lengths(message, &[1024, 1024], |socket| send_in_frames(socket, &[1024, 1024, 1]));
                // Its head alone is enough.
                keeps_to_lengths(frame, &[1024], |socket| socket.0.send(&WebSocket::head(0x82, 1025)).unwrap());
                // A kind that has limits of its own.
                let too_long = |socket: &mut WebSocket| socket.0.send(&WebSocket::head(0x82, (1 << 16) + 1)).unwrap();
                keeps_to_lengths(large, &[1 << 16], too_long);
            }
        },
    );
    gin.stop();
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

/// Waits for a ping, and answers it.
fn answer_a_ping(socket: &mut WebSocket) {
    assert_eq!(socket.receive(), (0x89, Vec::new()), "a ping");
    socket.send(0x8a, b"");
}

/// One that answers lives for longer than `timeouts.idle`, one that does not is closed.
fn keeps_to_the_silence(lives: &mut WebSocket, silent: &mut WebSocket) {
    for _ in 0..3 {
        answer_a_ping(lives);
    }
    assert_eq!(silent.receive(), (0x89, Vec::new()));
    assert_eq!(silent.close_code(), 1001, "it has not answered");
    lives.send(0x82, b"abc");
    let said = loop {
        match lives.receive() {
            (0x89, _) => lives.send(0x8a, b""),
            (_, said) => break String::from_utf8(said).unwrap(),
        }
    };
    assert!(said.starts_with("1 3 "), "{said}");
}

#[test]
fn a_silent_websocket_is_asked_and_then_closed_before_and_after_a_handover() {
    let gin = supervised("[timeouts]\nidle = \"1s\"\n");
    let open = || WebSocket::open(&gin.tcp(), "/count");
    let (mut lives, mut silent) = (open(), open());
    keeps_to_the_silence(&mut lives, &mut silent);
    let (mut lives, mut silent) = (open(), open());
    std::thread::scope(|scope| {
        // Each answers for as long as the restart takes.
        let restart = scope.spawn(|| gin.ctl(&["restart", "--wait-drained"]));
        while !restart.is_finished() {
            answer_a_ping(&mut lives);
            answer_a_ping(&mut silent);
        }
        restart.join().unwrap().assert(0, &["cut=0"]);
    });
    keeps_to_the_silence(&mut lives, &mut silent);
    gin.stop();
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

/// Sends so many frames at once. Gives the time until all were heard, none of which is lost.
fn time_of(mut socket: WebSocket, frames: usize) -> Duration {
    let began = Instant::now();
    socket.0.send(&WebSocket::frame(0x82, b"x").repeat(frames)).unwrap();
    for number in 1..=frames {
        let said = socket.text();
        assert!(said.starts_with(&format!("{number} 1 ")), "frame {number}: {said}");
    }
    began.elapsed()
}

#[test]
fn frames_come_at_the_rate_that_is_allowed_before_and_after_a_handover() {
    let gin = supervised(&format!("{TIMEOUTS}[websocket]\nrate = 20\n"));
    before_and_after_a_handover(
        &gin,
        || both(&gin).map(|address| ["/count", "/swift"].map(|path| WebSocket::open(&address, path))),
        |sockets: [[WebSocket; 2]; 2]| {
            for [limited, swift] in sockets {
                // Twenty at once, and ten in half a second; it can only be slower.
                let took = time_of(limited, 30);
                assert!(took > Duration::from_millis(450), "{took:?}");
                // At the other rate these would take nine seconds.
                let took = time_of(swift, 200);
                assert!(took < Duration::from_secs(8), "{took:?}");
            }
        },
    );
    gin.stop();
}

#[test]
fn a_websocket_is_for_the_hosts_own_pages_and_for_those_that_are_listed() {
    let gin = supervised(&format!("{TIMEOUTS}[websocket]\nallow_origins = [\"https://friend.test\"]\n"));
    // The status for each path, on connections of the worker that accepted them and on others.
    let asked = [
        ("", [101, 101]),
        ("Origin: http://x\r\n", [101, 101]),
        ("Origin: https://x\r\n", [101, 101]),
        ("Origin: https://friend.test\r\n", [101, 403]),
        // This kind has a list of its own.
        ("Origin: https://own.test\r\n", [403, 101]),
        ("Origin: https://evil.test\r\n", [403, 403]),
        ("Origin: null\r\n", [403, 403]),
        ("Sec-WebSocket-Key: abc\r\n", [400, 400]),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n", [400, 400]),
        ("Sec-WebSocket-Version: 12\r\n", [426, 426]),
    ];
    before_and_after_a_handover(
        &gin,
        || asked.map(|_| ["/count", "/friendly"].map(|path| (path, asked_once(&gin.tcp())))),
        |clients| {
            for (clients, (fields, statuses)) in clients.into_iter().zip(asked) {
                let status = |(path, client)| match WebSocket::ask_on(client, path, fields) {
                    Ok(_) => 101,
                    Err(answer) => answer.status,
                };
                assert_eq!(clients.map(status), statuses, "{fields:?}");
            }
        },
    );
    gin.stop();
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
