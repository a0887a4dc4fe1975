//! Memory and time of a connection are bounded, whatever its client does.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Address, Alone, Client, Failure, alone, alone_in, eventually, ours_alone};

/// Short enough for a test, long enough for a busy machine.
const TIMEOUTS: &str = "[timeouts]\nread = \"1s\"\nwrite = \"1s\"\nidle = \"20s\"\n";

fn tcp(server: &Alone) -> std::net::SocketAddr {
    let Address::Tcp(address) = server.address() else { panic!("no TCP") };
    *address
}

/// A field of `/proc/PID/status`, in KiB.
fn memory(pid: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// A connection of HTTP/2 whose client grants so much window, on a runtime of its own.
struct Http2 {
    runtime: tokio::runtime::Runtime,
    client: h2::client::SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    fn connect(server: &Alone, window: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, ended) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(tcp(server)).await.unwrap();
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(window).initial_connection_window_size(16 << 20);
            let (client, connection) = builder.handshake(stream).await.unwrap();
            let ended = tokio::spawn(connection);
            (client.ready().await.unwrap(), ended)
        });
        Self { runtime, client, ended }
    }

    fn ask(&mut self, request: http::Request<()>, ends: bool) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        self.runtime.block_on(async {
            self.client = self.client.clone().ready().await.unwrap();
            self.client.send_request(request, ends).unwrap()
        })
    }

    fn get(&mut self, path: &str) -> h2::client::ResponseFuture {
        let request = http::Request::get(format!("http://x{path}")).body(()).unwrap();
        self.ask(request, true).0
    }
}

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
        let mut stream = TcpStream::connect(tcp(&server)).unwrap();
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
    let before = memory(server.pid(), "VmRSS");
    for path in ["/gather", "/bind"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        client.send(head.as_bytes()).unwrap();
        for text in
            [&"1\r\nt\r\n1\r\ne\r\n1\r\nx\r\n1\r\nt\r\n1\r\n=\r\n", &*"1\r\nx\r\n".repeat(300_000), &"0\r\n\r\n"]
        {
            client.send(text.as_bytes()).unwrap();
        }
        let answer = client.response().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(String::from_utf8(answer.body).unwrap().starts_with("30000"));
    }
    let grown = memory(server.pid(), "VmHWM").saturating_sub(before);
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
        let before = memory(server.pid(), "VmRSS");
        let mut http2 = Http2::connect(&server, window);
        let began = Instant::now();
        let asked: Vec<_> = (0..100).map(|_| http2.get(path)).collect();
        // What is reset is reset by a stream's error, or the connection ends.
        let ends = http2.runtime.block_on(async {
            let mut ends = Vec::new();
            let mut bodies = Vec::new();
            for one in asked {
                match one.await {
                    Ok(answer) => bodies.push(answer.into_body()),
                    Err(error) => ends.push(error),
                }
            }
            for mut body in bodies {
                // Without a release of its capacity the window stays closed.
                while let Some(data) = body.data().await {
                    if let Err(error) = data {
                        ends.push(error);
                        break;
                    }
                }
            }
            ends
        });
        let grown = memory(server.pid(), "VmHWM").saturating_sub(before);
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
    let mut http2 = Http2::connect(&server, 60_000);
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
    assert!(!http2.ended.is_finished());
}

#[test]
fn a_body_over_http2_that_makes_no_progress_is_answered_with_408() {
    let server = ours_alone("ok", TIMEOUTS);
    let mut http2 = Http2::connect(&server, 65_535);
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
    let mut http2 = Http2::connect(&server, 65_535);
    let before = memory(server.pid(), "VmRSS");
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
    let grown = memory(server.pid(), "VmHWM").saturating_sub(before);
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
    let mut http2 = Http2::connect(&server, 65_535);
    for (size, status) in [(10 << 10, 200), (33 << 10, 431)] {
        let request = http::Request::get("http://x/livez").header("x-long", "v".repeat(size)).body(()).unwrap();
        let answer = http2.ask(request, true).0;
        assert_eq!(http2.runtime.block_on(answer).unwrap().status(), status);
    }
}

#[test]
fn tcp_asks_whether_a_silent_client_is_there() {
    let timer = |server: &Alone| {
        let stream = TcpStream::connect(tcp(server)).unwrap();
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
        .args(["-Hltn", &format!("sport = :{}", tcp(&server).port())])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    assert_eq!(text.split_whitespace().nth(2), Some(&*most.min(4096).to_string()), "{text}");
}
