//! Every attack of the audit at once, beside honest clients: the worker keeps to its budget, nobody honest is hurt, and nothing of the
//! attackers is left.
//!
//! Each attack has as many connections as it may have, each in a thread of its own. An attacker goes on until the worker has ended its
//! connection. One that takes nothing cannot see that: its socket is kept, and the worker's descriptors tell.
//!
//! The attacks stand in `attacks/`, by the protocol that they are about; the table in SECURITY.md says what becomes of each.

mod files;
mod http1;
mod http2;
mod websocket;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use harness::{Alone, Client, Load, PATIENCE, Report, eventually, ours_alone_in, times};

/// Honest clients.
const HONEST: usize = 16;
/// Descriptors of files that the cache may keep open.
const FILES: usize = 4;
/// Memory of the cache of files, in KiB.
const CACHE: usize = 8 << 10;
/// Pause of an attacker that sends a little now and then.
const DRIP: Duration = Duration::from_millis(100);
/// Short enough for a test, long enough for honest clients on a busy machine.
const SECTIONS: &str = "[timeouts]\nread = \"3s\"\nwrite = \"3s\"\nidle = \"5s\"\nidle_grace = \"200ms\"\n\
    [static]\nmemory = \"8MiB\"\nenable_directory_listing = true\n";

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
/// A message of 1 MiB at most (`websocket.message`), in a buffer that doubles when it grows.
const MESSAGE: usize = 2 << 10;
/// A body of 2 MiB at most (`limits.body`), in a buffer that doubles when it grows, or in pieces that keep what was read with them.
const BODY: usize = 4 << 10;
/// 100 streams (`limits.streams`) without a window: 2 MiB and 256 KiB; a debug build, and what the allocator keeps, cost more. As in
/// tests/bounds/streams.rs.
const STREAMS: usize = 6 << 10;
/// A list of 10,000 entries as a page, and as JSON: all who ask within a second share one, and may still read that of the second before.
const LISTING: usize = 4 << 10;

/// Connections of each attack.
fn connections() -> usize {
    times(5, 20)
}

/// All attacks.
fn attacks() -> impl Iterator<Item = &'static Attack> {
    [http1::ATTACKS, http2::ATTACKS, websocket::ATTACKS, files::ATTACKS].into_iter().flatten()
}

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
}

/// True if the error means that the other side let us wait.
fn is_open(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Sends as much as the worker takes. True if that is everything.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    match stream.write_all(bytes) {
        Ok(()) => true,
        Err(error) => {
            assert!(!is_open(&error), "the worker takes nothing, and keeps the connection: {error}");
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
                assert!(!is_open(&error), "the worker keeps the connection");
                return None;
            }
        }
    }
}

/// Sends a piece again and again, at most so often, and takes nothing meanwhile. Then reads until the worker has ended the connection.
fn flood(mut stream: TcpStream, piece: &[u8], rounds: usize) -> Option<TcpStream> {
    let _ = (0..rounds).all(|_| send(&mut stream, piece));
    until_ended(stream)
}

/// Sends a piece now and then until the worker has ended the connection.
fn drip(mut stream: TcpStream, piece: &[u8]) -> Option<TcpStream> {
    stream.set_read_timeout(Some(DRIP)).unwrap();
    let began = Instant::now();
    loop {
        // The pause is the wait for an answer.
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if is_open(&error) => {}
            Err(_) => return None,
        }
        assert!(began.elapsed() < PATIENCE, "the worker keeps the connection");
        if !send(&mut stream, piece) {
            return None;
        }
    }
}

/// All attacks at once. Returns the sockets of those who see no end.
fn attack(target: &Target) -> Vec<TcpStream> {
    std::thread::scope(|scope| {
        let mut attackers = Vec::new();
        for Attack { name, run, .. } in attacks() {
            attackers.extend((0..connections()).map(|_| (*name, scope.spawn(move || run(target)))));
        }
        let kept = attackers.into_iter().map(|(name, one)| one.join().unwrap_or_else(|_| panic!("attack: {name}")));
        kept.flatten().collect()
    })
}

fn server() -> Alone {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    files::make(&dir.path().join("static"));
    ours_alone_in(dir, "ok", SECTIONS)
}

fn honest(server: &Alone) -> Load {
    Load::new().mixed(server.address(), HONEST - 4, 0).one_shot(server.address(), 4)
}

/// Honest clients wait at most twice as long as without an attack, and for as long as the machine lets them: attackers, honest clients and
/// worker share two cores, so a thread waits for its turn behind those of a thousand attackers, and a request of the worker behind a piece
/// of each flood. In the ordinary run the floods are over within a few seconds, which are most of what is measured: there it may be more.
fn assert_served(before: &Report, during: &Report) {
    println!("honest clients: {:?} before, {:?} meanwhile", before.latencies, during.latencies);
    during.assert_unhurt();
    let (usual, now) = (before.latencies.percentile(99), during.latencies.percentile(99));
    let shared_cores = Duration::from_secs(times(3, 2) as u64);
    assert!(now <= usual * 2 + shared_cores, "{now:?}, and {usual:?} without an attack");
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

    let budget = memory + CACHE + connections() * attacks().map(|attack| attack.cost).sum::<usize>();
    let most = server.memory("VmHWM");
    println!("{took:?}; memory: {memory} KiB before, {most} KiB at most, the budget is {budget} KiB");
    assert!(most < budget, "{most} KiB, and the budget is {budget} KiB");
    assert_served(&before, &during);
    let after = Client::connect(server.address()).unwrap().get("/").unwrap();
    assert_eq!(after.status, 200, "it serves on");
}

#[test]
fn idle_connections_at_the_limit_of_connections_shut_nobody_out() {
    let most = times(300, 5_000);
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let server = ours_alone_in(
        dir,
        "ok",
        &format!("[limits]\nconnections = {most}\n[timeouts]\nread = \"60s\"\nidle = \"60s\"\n"),
    );
    let load = honest(&server);
    load.flows(times(500, 5_000) as u64);
    let before = load.finish();
    before.assert_unhurt();

    let target = Target(server.tcp());
    let mut idle: Vec<TcpStream> = Vec::new();
    for number in 0..most {
        let mut stream = target.connect();
        // The second half never says anything.
        if number < most / 2 {
            assert!(send(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        }
        idle.push(stream);
    }
    // The kernel has no event for the number of descriptors.
    eventually("no place is left", || server.descriptors().0, |sockets| *sockets > most);
    let load = honest(&server);
    load.flows(times(500, 5_000) as u64);
    let during = load.finish();
    assert_served(&before, &during);
    assert!(during.latencies.percentile(100) < PATIENCE / 4, "{:?}", during.latencies);
    drop(idle);
}
