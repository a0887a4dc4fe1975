//! Frames of a WebSocket's client, whole and in pieces: the same messages are heard, what the worker sends is RFC 6455's, and the
//! connection ends.
#![no_main]

use std::cell::OnceCell;

use gin_fuzz::{Host, pieces};
use gin_worker::websocket::{Received, Socket};
use gin_worker::{Route, Server};
use libfuzzer_sys::fuzz_target;

const HANDSHAKE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MASK: [u8; 4] = [1, 2, 3, 4];

thread_local!(static HOST: OnceCell<Host> = const { OnceCell::new() });

async fn echo(mut socket: Socket, (): ()) {
    loop {
        match socket.receive().await {
            Received::Message(message) => {
                let _ = socket.send(message).await;
            }
            Received::Leaving => return socket.leave(&()).await,
            Received::Closed => return,
            _ => {}
        }
    }
}

fn host() -> Host {
    Host::start(|config| Server::new(config).route(Route::websocket("/echo", "echo", async || (), echo)))
}

/// Masked frames whose lengths are right: the first byte of each, and a byte for its length.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [first, length, rest @ ..] = data {
        let (payload, after) = rest.split_at(usize::from(*length).min(rest.len()));
        all.push(*first);
        match u8::try_from(payload.len()).expect("a byte said so") {
            short @ 0..126 => all.push(0x80 | short),
            long => all.extend_from_slice(&[0xfe, 0, long]),
        }
        all.extend_from_slice(&MASK);
        all.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        data = after;
    }
    all
}

/// The messages among the frames of the worker. Panics at a frame that no server may send.
fn messages(answer: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer to the handshake");
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(answer));
    let (mut rest, mut messages, mut is_closed) = (&answer[end + 4..], Vec::new(), false);
    while let [first, second, after @ ..] = rest {
        assert!(!is_closed, "a frame behind the close frame: {rest:?}");
        assert!(first & 0xf0 == 0x80, "an unfinished frame, or reserved bits: {first:#x}");
        assert!(second & 0x80 == 0, "a masked frame");
        let (length, after) = match (*second, after) {
            (126, [high, low, after @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), after),
            (0..126, _) => (usize::from(*second), after),
            _ => panic!("a frame that is cut, or longer than any message here: {rest:?}"),
        };
        let (payload, after) = after.split_at_checked(length).expect("a whole frame");
        match first & 0x0f {
            kind @ (1 | 2) => messages.push((kind, payload.to_vec())),
            8 => {
                is_closed = true;
                if let [high, low, ..] = payload {
                    let code = u16::from_be_bytes([*high, *low]);
                    assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "close code {code}");
                }
            }
            9 | 10 => assert!(length < 126, "a long control frame"),
            other => panic!("opcode {other}"),
        }
        rest = after;
    }
    messages
}

fuzz_target!(|data: &[u8]| {
    let [seed, rest @ ..] = data else { return };
    let bytes = if seed & 1 == 0 { frames(rest) } else { rest.to_vec() };
    HOST.with(|cell| {
        let host = cell.get_or_init(host);
        let whole = messages(&host.talk(&[HANDSHAKE, &bytes]));
        let torn: Vec<&[u8]> = [HANDSHAKE].into_iter().chain(pieces(*seed, &bytes)).collect();
        assert_eq!(whole, messages(&host.talk(&torn)));
    });
});
