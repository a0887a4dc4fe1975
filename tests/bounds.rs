//! Memory and time of a connection are bounded, whatever its client does.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::Signal;

use harness::{Alone, Client, Failure, Http2, WebSocket, alone, alone_in, eventually, ours_alone, supervisor};

/// Short enough for a test, long enough for a busy machine.
const TIMEOUTS: &str = "[timeouts]\nread = \"1s\"\nwrite = \"1s\"\nidle = \"20s\"\n";

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
fn a_client_that_grants_no_window_holds_little_and_not_for_long() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("static")).unwrap();
    for (name, size) in [("large", 3 << 20), ("small", 100_000)] {
        std::fs::write(dir.path().join("static").join(name), vec![b'x'; size]).unwrap();
    }
    let sections = format!("{TIMEOUTS}[static]\ndir = \"{}/static\"\nmemory = \"0\"\n", dir.path().display());
    let server = alone_in(dir, &sections);
    let mut honest = Client::connect(server.address()).unwrap();
    assert_eq!(honest.get("/static/small").unwrap().body.len(), 100_000);
    for (window, path) in [(1, "/static/large"), (1, "/static/small"), (0, "/static/large"), (20_000, "/static/large")]
    {
        let before = server.memory("VmRSS");
        let mut http2 = Http2::connect(server.tcp(), window);
        let began = Instant::now();
        let asked: Vec<_> = (0..100).map(|_| http2.get(path)).collect();
        // What is reset is reset by a stream's error, or the connection ends.
        let ends = http2.ends_of(asked);
        let grown = server.memory("VmHWM").saturating_sub(before);
        println!("window {window}, {path}: {grown} KiB more, all reset after {:?}", began.elapsed());
        assert_eq!(ends.len(), 100, "every stream is ended");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        // 2 MiB and 256 KiB; a debug build, and what the allocator keeps, cost more.
        assert!(grown < 6 << 10, "{grown} KiB");
    }
    assert_eq!(honest.get("/static/small").unwrap().status, 200, "others go on");
}

#[test]
fn a_stream_that_nobody_takes_does_not_end_its_neighbours() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("static")).unwrap();
    std::fs::write(dir.path().join("static/large"), vec![b'x'; 3 << 20]).unwrap();
    let sections = format!("{TIMEOUTS}[static]\ndir = \"{}/static\"\nmemory = \"0\"\n", dir.path().display());
    let server = alone_in(dir, &sections);
    let mut http2 = Http2::connect(server.tcp(), 60_000);
    let (stuck, taken) = (http2.get("/static/large"), http2.get("/static/large"));
    http2.runtime.block_on(async {
        let mut stuck = stuck.await.unwrap().into_body();
        let mut taken = taken.await.unwrap().into_body();
        let mut length = 0;
        while let Some(data) = taken.data().await {
            let data = data.expect("this one is taken");
            length += data.len();
            taken.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(length, 3 << 20);
        let end = loop {
            match stuck.data().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        let error = end.expect("not a whole body").unwrap_err();
        assert!(error.is_reset(), "{error:?}");
    });
    let answer = http2.get("/livez");
    assert_eq!(http2.runtime.block_on(answer).unwrap().status(), 200, "the connection goes on");
    assert!(!http2.has_ended());
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

#[test]
fn a_head_has_a_size_and_a_number_of_fields() {
    let server = alone("[limits]\nhead = \"16KiB\"\nhead_fields = 20\n");
    let ask = |size: usize, fields: usize| {
        let more: String = (1..fields).map(|number| format!("x-{number}: y\r\n")).collect();
        let head = format!("GET /livez?{} HTTP/1.1\r\nHost: x\r\n{more}\r\n", "q".repeat(size));
        let mut client = Client::connect(server.address()).unwrap();
        // It may be refused before all of it is there.
        let _ = client.send(head.as_bytes());
        client.response().unwrap().status
    };
    assert_eq!(ask(15 << 10, 20), 200);
    assert_eq!(ask(33 << 10, 1), 431);
    assert_eq!(ask(10, 21), 431);
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    for (size, status) in [(10 << 10, 200), (33 << 10, 431)] {
        let request = http::Request::get("http://x/livez").header("x-long", "v".repeat(size)).body(()).unwrap();
        let answer = http2.ask(request, true).0;
        assert_eq!(http2.runtime.block_on(answer).unwrap().status(), status);
    }
}

#[test]
fn tcp_asks_whether_a_silent_client_is_there() {
    let timer = |server: &Alone| {
        let stream = TcpStream::connect(server.tcp()).unwrap();
        let (ours, theirs) = (stream.local_addr().unwrap().port(), stream.peer_addr().unwrap().port());
        let ends = format!("0100007F:{theirs:04X} 0100007F:{ours:04X}");
        // The kernel's table: nothing says when the server has accepted.
        let look = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.contains(&ends))?;
            Some(line.split_whitespace().nth(5)?.to_owned())
        };
        eventually("the connection is there", look, Option::is_some).unwrap()
    };
    assert!(timer(&alone("[timeouts]\ntcp_keepalive = \"60s\"\n")).starts_with("02:"), "proc_net_tcp: keepalive");
    assert!(timer(&alone("[timeouts]\ntcp_keepalive = \"0s\"\n")).starts_with("00:"));
}

#[test]
fn a_server_by_itself_has_a_long_queue() {
    let server = alone("");
    let output = std::process::Command::new("ss")
        .args(["-Hltn", &format!("sport = :{}", server.tcp().port())])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    assert_eq!(text.split_whitespace().nth(2), Some(&*most.min(4096).to_string()), "{text}");
}

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
fn what_is_malformed_is_refused_and_the_application_does_not_see_it() {
    let server = alone("");
    let status = |request: &str| {
        let mut client = Client::asking(server.address(), request).unwrap();
        let answer = client.response().unwrap();
        (answer.status, answer.closes())
    };
    let get = |fields: &str| status(&format!("GET /livez HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(get("Host: x\r\n"), (200, false));
    for fields in ["", "Host: x\r\nHost: x\r\n", "Host: a b\r\n", "Host: a/../b\r\n", "Host: a, b\r\n", "Host:\r\n"] {
        assert_eq!(get(fields), (400, true), "{fields:?}");
    }
    assert_eq!(status("GET /livez HTTP/1.0\r\n\r\n").0, 200);
    assert_eq!(status("GET http://y/livez HTTP/1.1\r\nHost: x\r\n\r\n"), (200, false));
    assert_eq!(server.until("GET /livez 400")["status"], 400, "it has its line in the log");
    let post = |codings: &str| status(&format!("POST /livez HTTP/1.1\r\nHost: x\r\n{codings}\r\n0\r\n\r\n"));
    assert_eq!(post("Transfer-Encoding: chunked\r\n").0, 405);
    assert_eq!(post("Transfer-Encoding: gzip, chunked\r\n"), (501, true));
    assert_eq!(post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), (501, true));
    assert_eq!(post("Transfer-Encoding: chunked, chunked\r\n"), (400, true));
    let mut http2 = Http2::connect(server.tcp(), 65_535);
    for (host, code) in [(None, 200), (Some("x"), 200), (Some("y"), 400)] {
        let mut request = http::Request::get("http://x/livez");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = http2.ask(request.body(()).unwrap(), true).0;
        assert_eq!(http2.runtime.block_on(answer).unwrap().status(), code, "{host:?}");
    }
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let server = ours_alone("ok", "[limits]\nconnections_per_client = 3\n");
    let mut all: Vec<_> = (0..3).map(|_| Client::connect(server.address()).unwrap()).collect();
    for client in &mut all {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let mut fourth = Client::connect(server.address()).unwrap();
    assert!(fourth.get("/").is_err(), "closed as it came");
    for client in &mut all {
        assert_eq!(client.get("/").unwrap().status, 200, "the others go on");
    }
    drop(all.pop());
    // The server hears of the end when it reads it.
    let again = || Client::connect(server.address()).unwrap().get("/").map(|answer| answer.status);
    let _ = eventually("a place is free", again, |answer| *answer == Ok(200));
}

#[test]
fn idle_connections_make_room_for_new_clients() {
    let server = ours_alone("ok", "[limits]\nconnections = 100\n[timeouts]\nidle = \"300s\"\npark_after = \"10ms\"\n");
    let mut idle: Vec<_> = (0..100).map(|_| Client::connect(server.address()).unwrap()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let began = Instant::now();
    let mut new: Vec<_> = (0..20).map(|_| Client::connect(server.address()).unwrap()).collect();
    for client in &mut new {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    println!("20 new clients beside 100 idle ones: {:?}", began.elapsed());
    let (mut kept, mut closed) = (0, 0);
    for client in &mut idle {
        match client.get("/") {
            Ok(answer) if answer.status == 200 => kept += 1,
            Ok(answer) => panic!("{answer:?}"),
            Err(Failure::ClosedEarly | Failure::Reset) => closed += 1,
            Err(failure) => panic!("{failure:?}"),
        }
    }
    println!("{kept} kept, {closed} closed");
    assert!((20..=64).contains(&closed), "the longest idle ones, a few at a time");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn near_its_memory_a_worker_takes_no_new_work_and_keeps_what_it_was_handed() {
    let gin = supervisor()
        .workers(1)
        .ours("one", "service")
        .set("soak = \"0s\"")
        .section("[limits]\nmemory = \"150MiB\"")
        .start();
    let mut handed = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(handed.get("/").unwrap().status, 200);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    let mut own = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(own.get("/").unwrap().status, 200);
    assert_eq!(handed.get("/grow?mb=140").unwrap().status, 200);
    // It looks ten times a second, and says so in its log alone.
    let answer = eventually("it is full", || own.get("/").unwrap(), |answer| answer.status == 503);
    assert_eq!((answer.headers["retry-after"].as_str(), answer.json()["code"].as_str()), ("1", Some("MEMORY")));
    assert_eq!(own.get("/livez").unwrap().status, 200, "it is alive");
    assert_eq!(handed.get("/").unwrap().status, 200);
    assert_eq!(Client::connect(&gin.tcp()).unwrap().get("/").unwrap().status, 503);
    gin.stop();
}

#[test]
fn bounds_hold_after_a_handover_as_before() {
    let sections = format!("{TIMEOUTS}[limits]\nhead = \"16KiB\"\n[websocket]\nmessage = \"2KiB\"\n");
    let gin = supervisor().workers(1).ours("one", "ok").set("soak = \"0s\"").section(&sections).start();
    let open = || Client::connect(&gin.tcp()).unwrap();
    let (mut body, mut head, mut drip) = (open(), open(), open());
    for client in [&mut body, &mut head, &mut drip] {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let mut large = WebSocket::open(&gin.tcp(), "/count");
    let mut wrong = WebSocket::open(&gin.tcp(), "/count");
    let old = gin.workers()[0];
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &[]);
    let new = gin.workers()[0];
    large.send(0x82, &[b'x'; 2048]);
    assert_eq!(large.text(), format!("1 2048 {new}"), "it was handed over by {old}");
    large.0.send(&WebSocket::head(0x82, 2049)).unwrap();
    assert_eq!(large.close_code(), 1009);
    wrong.send(0xc1, b"hi");
    assert_eq!(wrong.close_code(), 1002);
    body.send(b"POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na part").unwrap();
    assert_eq!(body.response().unwrap().status, 408);
    let _ = head.send(format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "q".repeat(33 << 10)).as_bytes());
    assert_eq!(head.response().unwrap().status, 431);
    drip.send(b"GET / HT").unwrap();
    assert_eq!(drip.response().unwrap_err(), Failure::ClosedEarly, "a head that does not end");
    gin.stop();
}

#[test]
fn a_worker_that_was_paused_reads_what_came_in_time() {
    let server = ours_alone("ok", "[timeouts]\nread = \"4s\"\nwrite = \"4s\"\n");
    // Another one tells when the time of a head is over: it drops one.
    let clock = ours_alone("ok", "[timeouts]\nread = \"5s\"\n");
    let start = |request: &str| Client::asking(server.address(), request).unwrap();
    let mut heads: Vec<_> = (0..20).map(|_| start("GET / HT")).collect();
    let mut bodies: Vec<_> =
        (0..20).map(|_| start("POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")).collect();
    // Their clients take nothing for now: the server waits for them.
    let download = || {
        let mut stream = TcpStream::connect(server.tcp()).unwrap();
        stream.write_all(b"GET /download?mb=20 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    };
    let mut downloads: Vec<_> = (0..5).map(|_| download()).collect();
    // All of them are under way once a later request is answered.
    assert_eq!(Client::connect(server.address()).unwrap().get("/").unwrap().status, 200);
    for download in &mut downloads {
        download.read_exact(&mut [0; 1000]).unwrap();
    }
    server.signal(Signal::SIGSTOP);
    let mut timer = Client::asking(clock.address(), "GET / HT").unwrap();
    for head in &mut heads {
        head.send(b"TP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for body in &mut bodies {
        body.send(b"def").unwrap();
    }
    // All that is on its way: the kernel wakes a writer only when a good part of its buffer is free.
    for download in &mut downloads {
        download.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while download.read(&mut vec![0; 1 << 16]).is_ok() {}
    }
    assert_eq!(timer.response().unwrap_err(), Failure::ClosedEarly);
    server.signal(Signal::SIGCONT);
    for client in &mut heads {
        assert_eq!(client.response().unwrap().status, 200);
    }
    for client in &mut bodies {
        assert_eq!(client.response().unwrap().body, b"6");
    }
    for download in &mut downloads {
        download.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (mut last, mut bytes) = (Vec::new(), vec![0; 1 << 16]);
        while !last.ends_with(b"\r\n0\r\n\r\n") {
            let count = download.read(&mut bytes).unwrap();
            assert!(count > 0, "cut");
            last.extend_from_slice(&bytes[count.saturating_sub(7)..count]);
            last.drain(..last.len().saturating_sub(7));
        }
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
