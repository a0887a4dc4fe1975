//! Requests that are dear to answer: lists of large directories, and texts that are not compressed yet.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;

use harness::{Client, times};

use super::{Attack, LISTING, MESSAGE, Target};

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "lists of a large directory", cost: LISTING, run: listings },
    Attack { name: "texts that are not compressed yet", cost: MESSAGE, run: cold_texts },
];

/// Length of the file that slow readers ask for: more than the kernel's buffers take.
const LARGE: u64 = 64 << 20;

/// Number of files in the large directory: in the long run as many as in the audit, which are more than a list has.
fn listed() -> usize {
    times(1000, 20_000)
}

/// Number of texts: in the long run together more than the cache keeps.
fn texts() -> usize {
    times(10, 40)
}

/// Makes the files that are asked for.
pub(super) fn make(dir: &Path) {
    let (many, texts_length) = (dir.join("many"), times(200_000, 1_000_000));
    std::fs::create_dir_all(&many).unwrap();
    // Nothing of it is on a disk.
    std::fs::File::create(dir.join("large")).unwrap().set_len(LARGE).unwrap();
    for number in 0..listed() {
        std::fs::write(many.join(format!("file-{number}")), "").unwrap();
    }
    for number in 0..texts() {
        let mut text = String::new();
        while text.len() < texts_length {
            let _ = writeln!(text, "line {} of text {number}", text.len());
        }
        std::fs::write(dir.join(format!("text-{number}.txt")), text).unwrap();
    }
}

/// Asks, and takes the whole answer. Returns how it is coded.
fn ask(client: &mut Client, path: &str, field: &str) -> Option<String> {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = client.response().unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer.headers.remove("content-encoding")
}

fn listings(target: &Target) -> Option<TcpStream> {
    let mut client = target.client();
    for _ in 0..times(2, 10) {
        for accepted in ["text/html", "application/json"] {
            ask(&mut client, "/static/many/", &format!("Accept: {accepted}"));
        }
    }
    None
}

fn cold_texts(target: &Target) -> Option<TcpStream> {
    let mut client = target.client();
    for number in 0..texts() {
        for coding in ["zstd", "gzip"] {
            let path = format!("/static/text-{number}.txt");
            let coded = ask(&mut client, &path, &format!("Accept-Encoding: {coding}"));
            assert_eq!(coded.as_deref(), Some(coding), "{path}");
        }
    }
    None
}
