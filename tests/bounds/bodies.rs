//! Bodies of requests: how long they may take, and what they may cost.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use harness::{Alone, Client, Failure, Http2, Response, ours_alone};

use super::TIMEOUTS;

#[test]
fn a_body_that_makes_no_progress_is_answered_with_408() {
    for (mode, paths) in [("ok", &["/gather", "/bind"][..]), ("service", &["/gather"])] {
        let server = ours_alone(mode, TIMEOUTS);
        for path in paths {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: 100\r\n\r\ntext=a part"
            );
            let mut client = Client::asking(server.address(), &head).unwrap();
            let answer = client.response().unwrap();
            assert_eq!((answer.status, answer.closes()), (408, true), "{answer:?}");
            assert_eq!(answer.json()["code"], "BODY_TIMEOUT");
            assert_eq!(client.response().unwrap_err(), Failure::ClosedEarly);
        }
        if mode == "service" {
            assert_eq!(server.until("POST /gather 408")["status"], 408, "the log says what the client hears");
        }
    }
}

#[test]
fn a_body_of_a_byte_now_and_then_is_ended_and_a_slow_one_is_not() {
    let server = ours_alone("ok", "[timeouts]\nread = \"1s\"\n[limits]\nmin_rate = \"1KiB\"\n");
    // A piece every 100 ms: 10 bytes a second, and 50 KiB a second, for much longer than a second.
    for (piece, pieces, status) in [(1, 1000, 408), (5 << 10, 40, 200)] {
        let mut stream = TcpStream::connect(server.tcp()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let length = piece * pieces;
        stream
            .write_all(format!("POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").as_bytes())
            .unwrap();
        let (mut answer, mut sent) = ([0; 12], 0);
        loop {
            if sent < pieces {
                stream.write_all(&vec![b'x'; piece]).unwrap();
                sent += 1;
            }
            // The pause is the wait for an answer.
            match stream.read_exact(&mut answer) {
                Ok(()) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
}

#[test]
fn a_body_costs_what_it_carries_in_however_many_pieces_it_comes() {
    let server = ours_alone("ok", "[limits]\nmin_rate = \"0\"\n");
    let mut client = Client::connect(server.address()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    let before = server.memory("VmRSS");
    for path in ["/gather", "/bind"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        client.send(head.as_bytes()).unwrap();
        for text in ["1\r\nt\r\n1\r\ne\r\n1\r\nx\r\n1\r\nt\r\n1\r\n=\r\n", &*"1\r\nx\r\n".repeat(300_000), "0\r\n\r\n"]
        {
            client.send(text.as_bytes()).unwrap();
        }
        let answer = client.response().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(String::from_utf8(answer.body).unwrap().starts_with("30000"));
    }
    let grown = server.memory("VmHWM").saturating_sub(before);
    // At 32 bytes a piece alone they would be 9,400 KiB.
    assert!(grown < 4_000, "{grown} KiB for 300,000 bytes");
}

#[test]
fn a_body_over_http2_that_makes_no_progress_is_answered_with_408() {
    let server = ours_alone("ok", TIMEOUTS);
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    let request = http::Request::post("http://x/gather").body(()).unwrap();
    let (answer, mut body) = http2.ask(request, false);
    let status = http2.runtime.block_on(async {
        body.send_data(Bytes::from_static(b"a part"), false).unwrap();
        answer.await.unwrap().status()
    });
    assert_eq!(status, 408);
    let answer = http2.get("/");
    assert_eq!(http2.runtime.block_on(answer).unwrap().status(), 200, "the connection goes on");
}

#[test]
fn many_bodies_on_one_connection_are_read_one_after_the_other() {
    let server = ours_alone("ok", "");
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    let before = server.memory("VmRSS");
    let bodies: Vec<_> =
        (0..50).map(|_| http2.ask(http::Request::post("http://x/gather").body(()).unwrap(), false)).collect();
    let all = http2.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (answer, mut body) in bodies {
            tasks.spawn(async move {
                // A megabyte each, as much as the server takes.
                let mut left = 1 << 20;
                while left > 0 {
                    body.reserve_capacity(left);
                    let granted = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap().min(left);
                    left -= granted;
                    body.send_data(Bytes::from(vec![b'x'; granted]), left == 0).unwrap();
                }
                let answer = answer.await.unwrap();
                assert_eq!(answer.status(), 200);
            });
        }
        tasks.join_all().await.len()
    });
    let grown = server.memory("VmHWM").saturating_sub(before);
    println!("{all} bodies of 1 MiB: {grown} KiB more");
    // What waits for its turn is 128 KiB each; gathered at once they would be 50 MiB.
    assert!(grown < 12 << 10, "{grown} KiB for {all} bodies of 1 MiB");
}

/// Pieces that a body may have whose handler holds them, and more than it may have.
const PIECES: [usize; 2] = [1000, 4000];

/// Sends a body in pieces of one byte, each behind an answer on another connection: so each comes by itself.
fn send_piece_by_piece(server: &Alone, path: &str, pieces: usize) -> Response {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\ntext=\r\n"
    );
    let mut client = Client::asking(server.address(), &head).unwrap();
    let mut between = Client::connect(server.address()).unwrap();
    for _ in 0..pieces {
        if client.has_news() || client.send(b"1\r\nx\r\n").is_err() {
            break;
        }
        assert_eq!(between.get("/cached").unwrap().status, 200);
    }
    let _ = client.send(b"0\r\n\r\n");
    client.response().unwrap()
}

#[test]
fn a_body_that_costs_far_more_than_it_carries_is_answered_with_413() {
    let server = ours_alone("ok", "");
    let [few, many] = PIECES;
    let answer = send_piece_by_piece(&server, "/gather", few);
    assert_eq!((answer.status, answer.body), (200, (few + 5).to_string().into_bytes()));
    let answer = send_piece_by_piece(&server, "/gather", many);
    assert_eq!((answer.status, answer.closes()), (413, true), "{answer:?}");
    assert_eq!(answer.json()["code"], "BODY_TOO_LARGE");
    // A handler that copies them holds none.
    let answer = send_piece_by_piece(&server, "/bind", many);
    assert_eq!((answer.status, answer.body), (200, many.to_string().into_bytes()));
}

/// The same over HTTP/2. Gives the status.
fn send_frame_by_frame(http2: &mut Http2, pieces: usize) -> u16 {
    let (mut answer, mut body) = http2.ask(http::Request::post("http://x/gather").body(()).unwrap(), false);
    for _ in 0..pieces {
        // Refused once the answer is there.
        let _ = body.send_data(Bytes::from_static(b"x"), false);
        let between = http2.get("/cached");
        let status = http2.runtime.block_on(async {
            tokio::select! {
                biased;
                answer = &mut answer => Some(answer.unwrap().status().as_u16()),
                between = between => {
                    assert_eq!(between.unwrap().status(), 200);
                    None
                }
            }
        });
        if let Some(status) = status {
            return status;
        }
    }
    let _ = body.send_data(Bytes::new(), true);
    http2.runtime.block_on(answer).unwrap().status().as_u16()
}

#[test]
fn a_body_over_http2_that_costs_far_more_than_it_carries_is_answered_with_413() {
    let server = ours_alone("ok", "");
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    assert_eq!(PIECES.map(|pieces| send_frame_by_frame(&mut http2, pieces)), [200, 413]);
    let later = http2.get("/cached");
    assert_eq!(http2.runtime.block_on(later).unwrap().status(), 200, "the connection goes on");
}
