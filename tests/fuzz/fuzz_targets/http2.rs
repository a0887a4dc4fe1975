//! Frames of a client of HTTP/2, behind its preface: what the worker sends are frames, SETTINGS first, and the connection ends.
#![no_main]

use std::cell::OnceCell;

use gin_fuzz::{Host, pieces};
use gin_worker::Server;
use gin_worker::axum::http::StatusCode;
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Length of a frame's head, in bytes.
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

thread_local!(static HOST: OnceCell<Host> = const { OnceCell::new() });

fn host() -> Host {
    Host::start(|config| {
        Server::new(config)
            .get("/", || async { "hello" })
            .get("/large", || async { vec![b'x'; 300_000] })
            .post("/gather", |body: String| async move { body.len().to_string() })
            .post("/early", || async { StatusCode::ACCEPTED })
    })
}

/// Frames whose lengths are right: type, flags, stream and length of each take a byte.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = data {
        let (payload, after) = rest.split_at(usize::from(*length).min(rest.len()));
        let length = u8::try_from(payload.len()).expect("a byte said so");
        all.extend_from_slice(&[0, 0, length, *kind, *flags, 0, 0, 0, *stream]);
        all.extend_from_slice(payload);
        data = after;
    }
    all
}

/// Looks at all frames of the worker. The last one may be cut.
fn check(mut answer: &[u8]) {
    assert!(answer.is_empty() || answer.len() < HEAD || answer[3] == SETTINGS, "{answer:?}");
    while answer.len() >= HEAD {
        let length = u32::from_be_bytes([0, answer[0], answer[1], answer[2]]) as usize;
        assert!(answer[3] <= CONTINUATION, "a frame of an unknown type: {:?}", &answer[..HEAD]);
        answer = answer.get(HEAD + length..).unwrap_or_default();
    }
}

fuzz_target!(|data: &[u8]| {
    let [seed, rest @ ..] = data else { return };
    let bytes = if seed & 1 == 0 { frames(rest) } else { rest.to_vec() };
    let bytes = [PREFACE, if seed & 2 == 0 { NO_SETTINGS } else { b"" }, &bytes].concat();
    HOST.with(|cell| {
        let host = cell.get_or_init(host);
        let sent = if seed & 4 == 0 { vec![&bytes[..]] } else { pieces(*seed, &bytes) };
        check(&host.talk(&sent));
    });
});
