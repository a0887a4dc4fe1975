//! Bytes of a client of HTTP/1.1, whole and in pieces: each answer is one that a client's mistake or request can have, the two runs
//! see the same requests, and the connection ends.
#![no_main]

use std::cell::OnceCell;

use gin_fuzz::{Host, pieces};
use gin_worker::Server;
use gin_worker::axum::http::StatusCode;
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// A panic of a handler or of ours would be 500.
const KNOWN: [u16; 17] = [100, 200, 202, 301, 307, 308, 400, 404, 405, 408, 411, 413, 414, 415, 431, 501, 505];

thread_local!(static HOST: OnceCell<Host> = const { OnceCell::new() });

fn host() -> Host {
    Host::start(|config| {
        Server::new(config)
            .get("/", || async { "hello" })
            .get("/users/:id", || async { "a user" })
            .post("/gather", |body: String| async move { body.len().to_string() })
            .post("/early", || async { StatusCode::ACCEPTED })
    })
}

/// The statuses of the answers, without 100. No body here has the words that an answer begins with.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let mut all = Vec::new();
    let begins = |window: &[u8]| window.starts_with(b"HTTP/1.") && window[7].is_ascii_digit() && window[8] == b' ';
    for (at, _) in answer.windows(9).enumerate().filter(|(_, window)| begins(window)) {
        let digits = answer.get(at + 9..at + 12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status: Option<u16> = digits.and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {}", String::from_utf8_lossy(answer)));
        assert!(KNOWN.contains(&status), "{status}: {}", String::from_utf8_lossy(answer));
        all.push(status);
    }
    assert!(all.is_empty() == answer.is_empty(), "not HTTP/1: {}", String::from_utf8_lossy(answer));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(answer));
    all.retain(|status| *status != 100);
    all
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = data.split_first() else { return };
    if bytes.starts_with(PREFACE) {
        return;
    }
    HOST.with(|host_cell| {
        let host = host_cell.get_or_init(host);
        let whole = statuses(&host.talk(&[bytes]));
        let torn = statuses(&host.talk(&pieces(*seed, bytes)));
        // Behind a body that nobody reads one of them may end earlier.
        let both = whole.len().min(torn.len());
        assert_eq!(whole[..both], torn[..both], "{}", String::from_utf8_lossy(bytes));
    });
});
