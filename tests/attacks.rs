//! Every attack of the audit at once, beside honest clients: the worker keeps to its budget, nobody honest is hurt, and nothing of the
//! attackers is left.
//!
//! Each attack has 20 connections, each in a thread of its own. An attacker goes on until the worker has ended its connection. One that
//! takes nothing cannot see that: its socket is kept, and the worker's descriptors tell.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Address, Alone, Client, Http2, Load, PATIENCE, eventually, ours_alone_in, soak, times};

/// Connections of each attack.
const CONNECTIONS: usize = 20;
/// Honest clients.
const HONEST: usize = 16;
/// Descriptors of files that the cache may keep open.
const FILES: usize = 4;
/// Time for which a thread may wait for its turn, where some hundred attackers have the same cores as the worker.
const SHARED_CORES: Duration = Duration::from_secs(1);
/// Length of the file that slow readers ask for: more than the kernel's buffers take.
const LARGE: u64 = 64 << 20;
/// Short enough for a test, long enough for honest clients on a busy machine.
const SECTIONS: &str = "[timeouts]\nread = \"3s\"\nwrite = \"3s\"\nidle = \"6s\"\nidle_grace = \"200ms\"\n\
    [static]\nmemory = \"0\"\n";

/// An attack.
struct Attack {
    name: &'static str,
    /// Most memory that one connection of it may cost, in KiB.
    cost: usize,
    /// Attacks over one connection. Returns a socket that has to stay open until the worker has let go of it.
    run: fn(&Target) -> Option<TcpStream>,
}

/// Memory that a connection may cost that has no request under way, or none that is read: a head of `limits.head` (64 KiB), of which hyper's
/// buffer may hold twice as much, and the pieces of a file that are read ahead (256 KiB).
const LITTLE: usize = 512;
/// A body or message of 1 MiB at most (`limits.body` is not reached, `websocket.message`), in a buffer that doubles when it grows.
const MESSAGE: usize = 2 << 10;
/// 100 streams (`limits.streams`) without a window: 2 MiB and 256 KiB; a debug build, and what the allocator keeps, cost more. As in
/// tests/bounds/streams.rs.
const STREAMS: usize = 6 << 10;

const ATTACKS: [Attack; 15] = [
    Attack { name: "idle from the start", cost: LITTLE, run: idle },
    Attack { name: "idle after a request", cost: LITTLE, run: idle_after_a_request },
    Attack { name: "half a head", cost: LITTLE, run: half_a_head },
    Attack { name: "a head of 400 KiB", cost: LITTLE, run: a_large_head },
    Attack { name: "half a body", cost: LITTLE, run: half_a_body },
    Attack { name: "half bodies over HTTP/2", cost: MESSAGE, run: half_bodies_over_http2 },
    Attack { name: "chunks of one byte", cost: MESSAGE, run: tiny_chunks },
    Attack { name: "a slow reader", cost: LITTLE, run: a_slow_reader },
    Attack { name: "window 0", cost: STREAMS, run: no_window },
    Attack { name: "window 1", cost: STREAMS, run: a_window_of_one },
    Attack { name: "rapid reset", cost: LITTLE, run: rapid_reset },
    Attack { name: "PING and SETTINGS", cost: LITTLE, run: control_frames },
    Attack { name: "paths of 60 KB", cost: LITTLE, run: long_paths },
    Attack { name: "a WebSocket's unfinished message", cost: MESSAGE, run: an_unfinished_message },
    Attack { name: "a WebSocket that takes nothing", cost: LITTLE, run: takes_nothing },
];

/// The worker that is attacked.
struct Target(SocketAddr);

impl Target {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Connects, and sends as much as the worker takes.
    fn sending(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        send(&mut stream, bytes);
        stream
    }

    /// Asks for a WebSocket.
    fn websocket(&self, path: &str) -> Client {
        Client::asking(&Address::Tcp(self.0), &handshake(path)).unwrap()
    }
}

/// A request for a WebSocket.
fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sends as much as the worker takes. True if that is everything.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    match stream.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            let is_open = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!is_open, "the worker takes nothing, and keeps the connection: {error}");
            false
        }
    }
}

/// Reads until the worker has ended the connection, in whatever way.
fn until_ended(mut stream: TcpStream) -> Option<TcpStream> {
    let mut bytes = [0; 16 << 10];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => {
                let is_open = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_open, "the worker keeps the connection");
                return None;
            }
        }
    }
}

fn idle(target: &Target) -> Option<TcpStream> {
    until_ended(target.connect())
}

fn idle_after_a_request(target: &Target) -> Option<TcpStream> {
    until_ended(target.sending(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn half_a_head(target: &Target) -> Option<TcpStream> {
    until_ended(target.sending(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: "))
}

fn a_large_head(target: &Target) -> Option<TcpStream> {
    until_ended(target.sending(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(400 << 10)).as_bytes()))
}

fn half_a_body(target: &Target) -> Option<TcpStream> {
    let half = "x".repeat(50_000);
    let head = "POST /gather HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    until_ended(target.sending(format!("{head}{half}").as_bytes()))
}

fn half_bodies_over_http2(target: &Target) -> Option<TcpStream> {
    let mut http2 = Http2::connect(target.0, 65_535);
    let post = || http::Request::post("http://x/gather").body(()).unwrap();
    let mut asked: Vec<_> = (0..10).map(|_| http2.ask(post(), false)).collect();
    let statuses = http2.runtime.block_on(async {
        let mut statuses = Vec::new();
        for (_, body) in &mut asked {
            body.send_data(Bytes::from(vec![b'x'; 1000]), false).unwrap();
        }
        for (answer, _body) in asked {
            statuses.push(answer.await.unwrap().status().as_u16());
        }
        statuses
    });
    assert_eq!(statuses, [408; 10], "bodies without progress");
    None
}

fn tiny_chunks(target: &Target) -> Option<TcpStream> {
    let head = b"POST /gather HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut stream = target.sending(head);
    let chunks = "1\r\nx\r\n".repeat(1000);
    let all = (0..times(30, 1000)).all(|_| send(&mut stream, chunks.as_bytes()));
    let _ = all && send(&mut stream, b"0\r\n\r\n");
    until_ended(stream)
}

fn a_slow_reader(target: &Target) -> Option<TcpStream> {
    Some(target.sending(b"GET /static/large HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// 100 responses of which nothing can be sent, or a byte of each.
fn streams(target: &Target, window: u32) -> Option<TcpStream> {
    let mut http2 = Http2::connect(target.0, window);
    let asked: Vec<_> = (0..100).map(|_| http2.get("/static/large")).collect();
    assert_eq!(http2.ends_of(asked).len(), 100, "every stream is ended");
    None
}

fn no_window(target: &Target) -> Option<TcpStream> {
    streams(target, 0)
}

fn a_window_of_one(target: &Target) -> Option<TcpStream> {
    streams(target, 1)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2 with a short payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

fn rapid_reset(target: &Target) -> Option<TcpStream> {
    // :method GET, :scheme http, :path /, and :authority x (RFC 7541, appendix A).
    let get = [0x82, 0x86, 0x84, 0x01, 0x01, b'x'];
    let mut stream = target.sending(&[PREFACE, &frame(4, 0, 0, b"")].concat());
    for round in 0..times(10, 1000) {
        let first = u32::try_from(round * 200 + 1).unwrap();
        // HEADERS with the end of the stream, and RST_STREAM with CANCEL.
        let hundred =
            (first..first + 200).step_by(2).flat_map(|id| [frame(1, 5, id, &get), frame(3, 0, id, &[0, 0, 0, 8])]);
        if !send(&mut stream, &hundred.collect::<Vec<_>>().concat()) {
            break;
        }
    }
    until_ended(stream)
}

fn control_frames(target: &Target) -> Option<TcpStream> {
    let mut stream = target.sending(&[PREFACE, &frame(4, 0, 0, b"")].concat());
    // Empty SETTINGS, which have to be acknowledged, and PINGs, which have to be answered.
    let hundred = [frame(4, 0, 0, b""), frame(6, 0, 0, b"12345678")].concat().repeat(100);
    let _ = (0..times(20, 5000)).all(|_| send(&mut stream, &hundred));
    until_ended(stream)
}

fn long_paths(target: &Target) -> Option<TcpStream> {
    let mut client = Client::connect(&Address::Tcp(target.0)).unwrap();
    for _ in 0..times(10, 300) {
        assert_eq!(client.get(&format!("/{}", "a".repeat(60_000))).unwrap().status, 404);
    }
    None
}

fn an_unfinished_message(target: &Target) -> Option<TcpStream> {
    let mut socket = target.websocket("/count");
    assert_eq!(socket.head().unwrap().status, 101);
    // Binary, not the last frame of its message. A mask of zeros changes nothing.
    let length: u64 = 900 << 10;
    socket.send(&[&[0x02, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat()).unwrap();
    socket.send(&vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
    // The client is asked by a ping, and answers nothing.
    let _ = socket.until_closed();
    assert!(socket.is_closed(), "the worker keeps the WebSocket");
    None
}

fn takes_nothing(target: &Target) -> Option<TcpStream> {
    Some(target.sending(handshake("/flood").as_bytes()))
}

/// WebSockets that break the protocol, one after the other: each hears which rule it broke.
fn protocol_errors(target: &Target) {
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
        let mut socket = target.websocket("/count");
        assert_eq!(socket.head().unwrap().status, 101);
        socket.send(mistake).unwrap();
        let close = socket.exactly(4).unwrap();
        assert_eq!((close[0], &close[2..]), (0x88, &code.to_be_bytes()[..]), "{mistake:?}");
    }
}

/// All attacks at once. Returns the sockets of those who see no end.
fn attack(target: &Target) -> Vec<TcpStream> {
    std::thread::scope(|scope| {
        let mut attackers = Vec::new();
        for Attack { name, run, .. } in &ATTACKS {
            attackers.extend((0..CONNECTIONS).map(|_| (*name, scope.spawn(move || run(target)))));
        }
        let talkers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| protocol_errors(target))).collect();
        for talker in talkers {
            talker.join().unwrap_or_else(|_| panic!("attack: errors of protocol over WebSockets"));
        }
        let kept = attackers.into_iter().map(|(name, one)| one.join().unwrap_or_else(|_| panic!("attack: {name}")));
        kept.flatten().collect()
    })
}

fn server() -> Alone {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::create_dir(dir.path().join("static")).unwrap();
    // Nothing of it is on a disk.
    std::fs::File::create(dir.path().join("static/large")).unwrap().set_len(LARGE).unwrap();
    ours_alone_in(dir, "ok", SECTIONS)
}

fn honest(server: &Alone) -> Load {
    Load::new().mixed(server.address(), HONEST - 4, 0).one_shot(server.address(), 4)
}

#[test]
fn all_attacks_at_once_cost_what_the_limits_say_and_hurt_nobody_honest() {
    let server = server();
    let at_rest = server.descriptors();
    let load = honest(&server);
    load.flows(times(1000, 10_000) as u64);
    let before = load.finish();
    before.assert_unhurt();
    let memory = server.memory("VmRSS");

    let load = honest(&server);
    let began = Instant::now();
    let kept = attack(&Target(server.tcp()));
    let took = began.elapsed();
    // Whoever takes nothing is let go, too, and so is everybody else. The kernel has no event for the number of descriptors.
    load.flows(100);
    let during = load.finish();
    let is_at_rest = |now: &(usize, usize)| now.0 <= at_rest.0 && now.1 <= at_rest.1 + FILES;
    eventually("the worker has none of the attackers' sockets", || server.descriptors(), is_at_rest);
    drop(kept);

    let budget = memory + CONNECTIONS * ATTACKS.iter().map(|attack| attack.cost).sum::<usize>();
    let most = server.memory("VmHWM");
    println!("{took:?}; memory: {memory} KiB before, {most} KiB at most, the budget is {budget} KiB");
    println!("honest clients: {:?} before, {:?} meanwhile", before.latencies, during.latencies);
    during.assert_unhurt();
    assert!(most < budget, "{most} KiB, and the budget is {budget} KiB");
    if soak() {
        let (usual, now) = (before.latencies.percentile(99), during.latencies.percentile(99));
        // Twice as long, and what it takes that the attackers have the same cores.
        assert!(now <= usual * 2 + SHARED_CORES, "{now:?}, and {usual:?} without an attack");
    }
    let after = Client::connect(server.address()).unwrap().get("/").unwrap();
    assert_eq!(after.status, 200, "it serves on");
}
