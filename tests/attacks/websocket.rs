//! Attacks over WebSockets.

use std::net::TcpStream;

use harness::{WebSocket, times};

use super::{Attack, LITTLE, MESSAGE, Target, send};

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "a WebSocket that answers no ping", cost: LITTLE, run: silent },
    Attack { name: "a WebSocket's unfinished message", cost: MESSAGE, run: an_unfinished_message },
    Attack { name: "a WebSocket's unfinished frame", cost: MESSAGE, run: an_unfinished_frame },
    Attack { name: "a message in fragments of a byte", cost: MESSAGE, run: tiny_fragments },
    Attack { name: "empty fragments", cost: MESSAGE, run: empty_fragments },
    Attack { name: "pings, and no pong is taken", cost: MESSAGE, run: pings },
    Attack { name: "messages, and no answer is taken", cost: MESSAGE, run: unread_answers },
    Attack { name: "a WebSocket that takes nothing", cost: LITTLE, run: takes_nothing },
    Attack { name: "errors of protocol over WebSockets", cost: LITTLE, run: protocol_errors },
];

// First bytes of frames, without and with the end of their message (RFC 6455, section 5.2).
const CONTINUATION: u8 = 0x00;
const BINARY: u8 = 0x02;
const BINARY_END: u8 = 0x82;
const PING: u8 = 0x89;

fn open(target: &Target) -> WebSocket {
    WebSocket::ask_on(target.client(), "/count", "").unwrap_or_else(|answer| panic!("{answer:?}"))
}

/// Asks for a WebSocket, and does not wait for the answer.
fn asking(target: &Target, path: &str) -> TcpStream {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    target.sending(head.as_bytes())
}

/// Reads until the worker has ended the WebSocket. The client is asked by pings, and answers none.
fn until_ended(mut socket: WebSocket) -> Option<TcpStream> {
    let _ = socket.0.until_closed();
    assert!(socket.0.is_closed(), "the worker keeps the WebSocket");
    None
}

fn silent(target: &Target) -> Option<TcpStream> {
    until_ended(open(target))
}

fn an_unfinished_message(target: &Target) -> Option<TcpStream> {
    let mut socket = open(target);
    socket.send(BINARY, &vec![b'x'; 900 << 10]);
    until_ended(socket)
}

fn an_unfinished_frame(target: &Target) -> Option<TcpStream> {
    let mut socket = open(target);
    socket.0.send(&WebSocket::head(BINARY_END, 900 << 10)).unwrap();
    socket.0.send(b"the first of it").unwrap();
    until_ended(socket)
}

/// A message of many frames with this payload each, without an end.
fn fragments(target: &Target, payload: &[u8], rounds: usize) -> Option<TcpStream> {
    let mut socket = open(target);
    socket.send(BINARY, payload);
    let hundred = WebSocket::frame(CONTINUATION, payload).repeat(100);
    let _ = (0..rounds).all(|_| socket.0.send(&hundred).is_ok());
    until_ended(socket)
}

fn tiny_fragments(target: &Target) -> Option<TcpStream> {
    fragments(target, b"x", times(50, 5000))
}

fn empty_fragments(target: &Target) -> Option<TcpStream> {
    fragments(target, b"", times(50, 5000))
}

fn pings(target: &Target) -> Option<TcpStream> {
    let mut socket = open(target);
    // The longest one, with a mask of zeros.
    let hundred = [&[PING, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat().repeat(100);
    let _ = (0..times(20, 5000)).all(|_| socket.0.send(&hundred).is_ok());
    until_ended(socket)
}

fn unread_answers(target: &Target) -> Option<TcpStream> {
    let mut stream = asking(target, "/count");
    let hundred = WebSocket::frame(BINARY_END, b"x").repeat(100);
    let _ = (0..times(50, 5000)).all(|_| send(&mut stream, &hundred));
    Some(stream)
}

fn takes_nothing(target: &Target) -> Option<TcpStream> {
    Some(asking(target, "/flood"))
}

/// WebSockets that break the protocol, one after the other: each hears which rule it broke.
fn protocol_errors(target: &Target) -> Option<TcpStream> {
    // Reserved bits, an unknown opcode, a ping in parts, a continuation of nothing; and text that is none.
    let mistakes: [(&[u8], u16); 5] = [
        (&[0xf1, 0x80, 0, 0, 0, 0], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
    ];
    for round in 0..times(1, 20) * mistakes.len() {
        let (mistake, code) = mistakes[round % mistakes.len()];
        let mut socket = open(target);
        socket.0.send(mistake).unwrap();
        assert_eq!(socket.close_code(), code, "{mistake:?}");
    }
    None
}
