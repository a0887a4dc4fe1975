//! Every attack of the audit at once, beside honest clients: the worker keeps to its budget, nobody honest is hurt, and nothing of the
//! attackers is left.
//!
//! Each attack has as many connections as it may have, each in a thread of its own. An attacker goes on until the worker has ended its
//! connection. One that takes nothing cannot see that: its socket is kept, and the worker's descriptors tell.
//!
//! They come over cleartext, over TLS, and over connections that another worker has accepted: what stands against them must not get lost on
//! the way.
//!
//! The attacks stand in `attacks/`, by the protocol that they are about; the table in SECURITY.md says what becomes of each.

mod files;
mod handshake;
mod http1;
mod http2;
mod target;
mod websocket;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{
    Address, Alone, Client, Https, Load, PATIENCE, Process, Report, Supervisor, eventually, ours_alone_in, supervisor,
    times, tls_file,
};
use target::Target;

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

/// Keys and buffers of a connection over TLS, in KiB, beside what the attack costs.
const TLS: usize = 256;

/// All attacks that come behind a handshake, if there is one.
fn attacks() -> impl Iterator<Item = &'static Attack> {
    [http1::ATTACKS, http2::ATTACKS, websocket::ATTACKS, files::ATTACKS].into_iter().flatten()
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
fn drip(stream: TcpStream, piece: &[u8]) -> Option<TcpStream> {
    drip_all(stream, std::iter::repeat(piece))
}

/// The same with one piece after the other; then waits for the end.
fn drip_all<'a>(mut stream: TcpStream, mut pieces: impl Iterator<Item = &'a [u8]>) -> Option<TcpStream> {
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
        if pieces.next().is_some_and(|piece| !send(&mut stream, piece)) {
            return None;
        }
    }
}

/// These attacks at once, each with so many connections. Returns the sockets of those who see no end.
fn attack(target: &Target, attacks: &[&'static Attack], connections: usize) -> Vec<TcpStream> {
    std::thread::scope(|scope| {
        let mut attackers = Vec::new();
        for Attack { name, run, .. } in attacks {
            attackers.extend((0..connections).map(|_| (*name, scope.spawn(move || run(target)))));
        }
        let kept = attackers.into_iter().map(|(name, one)| one.join().unwrap_or_else(|_| panic!("attack: {name}")));
        kept.flatten().collect()
    })
}

fn server(sections: &str) -> Alone {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    files::make(&dir.path().join("static"));
    ours_alone_in(dir, "ok", sections)
}

/// These sections, and TLS for the listener.
fn with_tls(sections: &str) -> String {
    let [cert, key] = ["server.pem", "server.key"].map(tls_file);
    format!("{sections}[security]\nenable_https = true\ncert_file = {cert:?}\nkey_file = {key:?}\n")
}

fn honest(address: &Address) -> Load {
    Load::new().mixed(address, HONEST - 4, 0).one_shot(address, 4)
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

/// A worker, and who comes to it.
struct Scene {
    worker: Process,
    /// Where honest clients come to.
    address: Address,
    target: Target,
    /// Number of connections of each attack.
    connections: usize,
    /// Connections of the attackers that the worker has already.
    ahead: usize,
}

impl Scene {
    fn over_cleartext(server: &Alone) -> Self {
        let (worker, address) = (server.process(), server.address().clone());
        Self { worker, address, target: Target::cleartext(server.tcp()), connections: times(5, 20), ahead: 0 }
    }

    fn over_tls(server: &Alone) -> Self {
        let (worker, address) = (server.process(), Https::at(server.tcp()).into());
        Self { worker, address, target: Target::over_tls(server.tcp()), connections: times(2, 6), ahead: 0 }
    }

    /// Over TLS, on connections that the worker of this supervisor hands to the next one.
    fn after_a_handover(gin: &Supervisor) -> Self {
        let (target, connections) = (Target::over_tls(gin.https_socket()), times(2, 6));
        // Some attacks have a connection for each of their mistakes.
        let ahead = target.open_ahead(connections * 40);
        let said = gin.ctl(&["restart", "--wait-drained"]);
        said.assert(0, &[&format!("handed_over={ahead} finished=0 closed=0 cut=0")]);
        let worker = Process(u32::try_from(gin.workers()[0]).unwrap());
        Self { worker, address: gin.https(), target, connections, ahead }
    }

    /// Has all these attacks come at once.
    fn endures(self, attacks: impl Iterator<Item = &'static Attack>) {
        let Self { worker, address, target, connections, ahead } = self;
        let attacks: Vec<&Attack> = attacks.collect();
        let (sockets, all) = worker.descriptors();
        let at_rest = (sockets - ahead, all - ahead);
        let load = honest(&address);
        load.flows(times(1000, 10_000) as u64);
        let before = load.finish();
        before.assert_unhurt();
        let memory = worker.memory("VmRSS");

        let load = honest(&address);
        let began = Instant::now();
        let kept = attack(&target, &attacks, connections);
        let took = began.elapsed();
        // Whoever takes nothing is let go, too, and so is everybody else.
        load.flows(100);
        let during = load.finish();
        let of_each = if target.is_over_tls() { TLS } else { 0 };
        target.close_unused();
        let is_at_rest = |now: &(usize, usize)| now.0 <= at_rest.0 && now.1 <= at_rest.1 + FILES;
        // The kernel has no event for the number of descriptors.
        eventually("the worker has none of the attackers' sockets", || worker.descriptors(), is_at_rest);
        drop((kept, target));

        let cost: usize = attacks.iter().map(|attack| attack.cost + of_each).sum();
        let (budget, most) = (memory + CACHE + connections * cost, worker.memory("VmHWM"));
        println!("{took:?}; memory: {memory} KiB before, {most} KiB at most, the budget is {budget} KiB");
        assert!(most < budget, "{most} KiB, and the budget is {budget} KiB");
        assert_served(&before, &during);
        let after = Client::connect(&address).unwrap().get("/").unwrap();
        assert_eq!(after.status, 200, "it serves on");
    }
}

#[test]
fn all_attacks_at_once_cost_what_the_limits_say_and_hurt_nobody_honest() {
    let server = server(SECTIONS);
    Scene::over_cleartext(&server).endures(attacks());
}

#[test]
fn all_attacks_over_tls_and_on_its_handshake_cost_what_the_limits_say_and_hurt_nobody_honest() {
    let server = server(&with_tls(SECTIONS));
    Scene::over_tls(&server).endures(attacks().chain(handshake::ATTACKS));
}

#[test]
fn all_attacks_on_connections_that_were_handed_over_are_endured_as_well() {
    // The connections are there for a while before the attackers come, and are not to end until then.
    let sections = SECTIONS.replace("idle = \"5s\"", "idle = \"25s\"");
    let builder = supervisor().workers(1).ours("one", "ok").https().set("soak = \"0s\"").section(&sections);
    files::make(&builder.releases().current().join("static"));
    let gin = builder.start();
    Scene::after_a_handover(&gin).endures(attacks());
    gin.stop();
}

/// Takes all places of a worker by connections that say nothing, or nothing more.
fn idle_ones_shut_nobody_out(server: &Alone, address: &Address, target: &Target, most: usize) {
    let load = honest(address);
    load.flows(times(500, 5_000) as u64);
    let before = load.finish();
    before.assert_unhurt();

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
    let load = honest(address);
    load.flows(times(500, 5_000) as u64);
    let during = load.finish();
    assert_served(&before, &during);
    assert!(during.latencies.percentile(100) < PATIENCE / 4, "{:?}", during.latencies);
    drop(idle);
}

/// A worker with so many places, for connections that may be idle for long.
fn sections_of_few(most: usize) -> String {
    format!("[limits]\nconnections = {most}\n[timeouts]\nread = \"60s\"\nidle = \"60s\"\n")
}

#[test]
fn idle_connections_at_the_limit_of_connections_shut_nobody_out() {
    let most = times(300, 5_000);
    let server = ours_alone_in(tempfile::tempdir_in("/tmp").unwrap(), "ok", &sections_of_few(most));
    idle_ones_shut_nobody_out(&server, server.address(), &Target::cleartext(server.tcp()), most);
}

#[test]
fn idle_connections_over_tls_at_the_limit_of_connections_shut_nobody_out_either() {
    let most = times(200, 1_000);
    let sections = with_tls(&sections_of_few(most));
    let server = ours_alone_in(tempfile::tempdir_in("/tmp").unwrap(), "ok", &sections);
    let address = Https::at(server.tcp()).into();
    idle_ones_shut_nobody_out(&server, &address, &Target::over_tls(server.tcp()), most);
}
