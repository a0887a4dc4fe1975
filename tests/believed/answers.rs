//! Answers of whoever poses as a supervisor are not believed either, and not waited for.

use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};

use harness::Ctl;
use serde_json::json;

use super::{Planted, as_user, directory, temporary, text};

#[test]
fn what_a_supervisor_says_moves_no_cursor() {
    let dir = temporary();
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let said = "\u{1b}[2J\u{9b}31m\u{202e}evil\u{7}\u{200b}\u{feff}\u{e0041}";
    let answers = [
        json!({ "error": said, "exit": 5 }).to_string(),
        // As raw bytes in what is no JSON at all.
        format!("{said} is no JSON"),
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let mut stream = listener.accept().unwrap().0;
            let mut seen = Vec::new();
            while !seen.ends_with(b"}") {
                let mut some = [0; 512];
                let count = stream.read(&mut some).unwrap();
                assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
                seen.extend_from_slice(&some[..count]);
            }
            let head =
                format!("HTTP/1.1 409 Conflict\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            stream.write_all((head + &answer).as_bytes()).unwrap();
        }
    });
    for words in ["evil", "409"] {
        let ctl = Ctl::run(&socket, &["restart"]);
        let all = format!("{}{}", ctl.out, ctl.err);
        assert!(all.contains(words), "{all:?}");
        let spoils = |c: char| !gin_shared::log_line::is_printable(c) && c != '\n';
        assert!(!all.contains(spoils), "{all:?}");
    }
    server.join().unwrap();
}

/// Reads a request without a body.
fn read_request(stream: &mut UnixStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut some = [0; 512];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&some[..count]);
    }
}

#[test]
fn who_takes_no_callers_holds_nobody_up() {
    const USER: u32 = 54_325;
    let _dir = temporary();
    let planted = Planted::at(format!("/dev/shm/gin-{USER}"), USER);
    let shop = planted.0.join("shop");
    directory(&shop, 0o755, USER);
    let listeners = ["control.sock", "status.sock"].map(|name| {
        let listener = UnixListener::bind(shop.join(name)).unwrap();
        chown(shop.join(name), Some(USER), None).unwrap();
        // Room for one, which is taken.
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let caller = UnixStream::connect(shop.join(name)).unwrap();
        (listener, caller)
    });
    let full = "takes no more callers";
    for (args, word) in [(&["list"][..], "shop"), (&["status", "shop"], full), (&["restart", "shop"], full)] {
        let said = text(&as_user(USER, "gin-ctl", args).output().unwrap());
        assert!(said.contains(word), "{args:?}: {said}");
    }
    drop(listeners);
}

#[test]
fn an_answer_and_a_line_without_an_end_are_not_waited_for() {
    let dir = temporary();
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: ").unwrap();
        // Until the other end has had enough.
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        let mut stream = listener.accept().unwrap().0;
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{").unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    });
    Ctl::run(&socket, &["events"]).assert(1, &["a line of more than 1024 KiB"]);
    Ctl::run(&socket, &["status"]).assert(6, &["does not end its answer"]);
    server.join().unwrap();
}
