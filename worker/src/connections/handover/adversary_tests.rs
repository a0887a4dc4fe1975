//! Givers and takers against another side that lies, hangs, or is gone.

use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use axum::routing::get;
use gin_shared::descriptors;
use gin_shared::handover::{Carried, Doing, FromGiver, FromTaker, PACKET_MAX, Protocol, VERSION, decode, encode};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{giver, taker};
use crate::config::Timeouts;
use crate::connections::connection::Live;
use crate::connections::io;
use crate::connections::protocol::http1::{self, Shared};
use crate::graceful::{Life, Phase};
use crate::websocket::Kinds;
use axum::Router;
use std::sync::Arc;

const ROOM: usize = 8;

fn worker() -> Arc<Shared> {
    let router = Router::new().route("/", get(async || "served"));
    let life = Life::default();
    life.reach(Phase::Serving);
    Shared::new(Timeouts::default(), life, router, Kinds::default(), ROOM).unwrap()
}

fn link() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// A client, and what a worker has of its connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn served_by(shared: &Arc<Shared>) -> TcpStream {
    let (client, accepted) = connection().await;
    let slot = Arc::clone(&shared.slots).try_acquire_owned().ok();
    let held = io::Held { open: shared.life.open(), slot };
    let live = Live::accepted(crate::connections::transport::Stream::Tcp(accepted), held, "http".into());
    tokio::spawn(http1::serve(live, Arc::clone(shared)));
    client
}

/// Its answer, and whether it says that it is the last one.
async fn asks(client: &mut TcpStream) -> (String, bool) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "closed");
    }
    let text = String::from_utf8(answer).unwrap();
    let is_last = text.contains("connection: close");
    (text, is_last)
}

fn carried(ahead: usize) -> Carried {
    let listener = "http".to_owned();
    let protocol = Protocol::Http1 { doing: Doing::Fresh };
    Carried { version: VERSION, listener, protocol, since_ms: 0, age_ms: 0, requests: 0, ahead }
}

fn give(batch: u64, connections: Vec<Carried>) -> Vec<u8> {
    encode(&FromGiver::Give { batch, connections }, b"")
}

fn took(batch: u64, count: usize) -> Vec<u8> {
    encode(&FromTaker::Took { batch, count }, b"")
}

fn say(link: &OwnedFd, packet: &[u8], fds: &[BorrowedFd<'_>]) {
    descriptors::send(link, packet, fds).unwrap();
}

/// The giver's hello, with this pidfd, as of one that has, or has not, taken back what had no answer.
fn greet(link: &OwnedFd, giver: &OwnedFd, is_withdrawn: bool) {
    let withdrawn = eventfd(u32::from(is_withdrawn), EventfdFlags::CLOEXEC).unwrap();
    say(link, &encode(&FromGiver::Hello { version: VERSION }, b""), &[giver.as_fd(), withdrawn.as_fd()]);
}

/// To whoever is at the other end.
fn drain(shared: &Arc<Shared>, giver: OwnedFd) {
    shared.life.count_fates();
    giver::give(shared, vec![giver]);
    shared.drain();
}

fn own() -> OwnedFd {
    pidfd_open(getpid(), PidfdFlags::empty()).unwrap()
}

fn dead() -> OwnedFd {
    let mut child = Command::new("true").spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    child.wait().unwrap();
    pidfd
}

fn is_closed(mut reader: PipeReader) -> bool {
    reader.read(&mut [0]).unwrap() == 0
}

#[tokio::test]
async fn a_taker_lets_go_of_what_is_no_connection_and_of_whoever_sent_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (datagrams, _other) = UnixDatagram::pair().unwrap();
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let (_client, accepted) = connection().await;
    let accepted: OwnedFd = accepted.into_std().unwrap().into();
    let writer: OwnedFd = writer.into();
    let good = accepted.as_fd();
    let lies: [(&str, Vec<u8>, Vec<BorrowedFd<'_>>); 9] = [
        ("garbage", b"\x05\0\0\0garbage".to_vec(), vec![]),
        ("nothing said", vec![0], vec![good]),
        ("half a packet", give(0, vec![carried(0)])[..20].to_vec(), vec![good]),
        ("what a taker says", took(0, 0), vec![good]),
        ("a pipe", give(0, vec![carried(0)]), vec![writer.as_fd()]),
        ("datagrams", give(0, vec![carried(0)]), vec![datagrams.as_fd()]),
        ("a file", give(0, vec![carried(0)]), vec![file.as_fd()]),
        ("bytes that have not come", give(0, vec![carried(7)]), vec![good]),
        ("more descriptors", give(0, vec![carried(0)]), vec![good, good]),
    ];
    for (what, packet, fds) in &lies {
        let (taker, shared) = (link(), worker());
        greet(&taker.0, &own(), false);
        say(&taker.0, packet, fds);
        taker::take(taker.1, Arc::clone(&shared)).await;
        assert_eq!((shared.life.connections(), shared.life.taken_over()), (0, 0), "{what}");
        assert_eq!(shared.slots.available_permits(), ROOM, "{what}");
    }
    drop(writer);
    assert!(is_closed(reader), "nobody keeps a descriptor");
}

#[tokio::test]
async fn a_taker_keeps_of_a_lost_giver_only_what_nobody_else_has() {
    for (giver, is_withdrawn, is_kept) in [(dead(), false, true), (dead(), true, false), (own(), false, false)] {
        let ((own_end, taker), shared) = (link(), worker());
        let (mut client, accepted) = connection().await;
        let taking = tokio::spawn(taker::take(taker, Arc::clone(&shared)));
        let link = giver::Link::new(own_end.try_clone().unwrap()).unwrap();
        assert!(link.receive(&mut [0; 100]).await.unwrap().0 > 0, "hello");
        // On one thread, all of this is there before the taker looks.
        greet(&own_end, &giver, is_withdrawn);
        say(&own_end, &give(0, vec![carried(0)]), &[accepted.as_fd()]);
        drop((own_end, link, accepted));
        taking.await.unwrap();
        assert_eq!(shared.life.taken_over(), u64::from(is_kept), "{is_withdrawn}");
        if is_kept {
            assert!(!asks(&mut client).await.1);
        } else {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it had one copy, and has let it go");
        }
    }
}

#[tokio::test]
async fn a_taker_takes_no_more_than_it_has_room_for() {
    let ((giver, taker), shared) = (link(), worker());
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&shared)));
    greet(&giver, &own(), false);
    let connections = [connection().await, connection().await, connection().await];
    let fds: Vec<BorrowedFd<'_>> = connections.iter().map(|(_, accepted)| accepted.as_fd()).collect();
    for batch in 0..4 {
        say(&giver, &give(batch, vec![carried(0); fds.len()]), &fds);
    }
    let giver = giver::Link::new(giver).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let mut counts = Vec::new();
    for number in 0..5 {
        let (length, _) = giver.receive(&mut buffer).await.unwrap();
        match decode(&buffer[..length]).unwrap().0 {
            FromTaker::Hello { version } => assert_eq!((version, number), (VERSION, 0)),
            FromTaker::Took { count, .. } => counts.push(count),
        }
    }
    assert_eq!(counts, [3, 3, 2, 0]);
    assert_eq!(shared.slots.available_permits(), 0);
    drop(giver);
    taking.await.unwrap();
}

#[tokio::test]
async fn a_giver_keeps_what_a_lying_or_lost_taker_says_it_has() {
    let hello = encode(&FromTaker::Hello { version: VERSION }, b"");
    let lies: [(&str, &[Vec<u8>]); 7] = [
        ("nothing offered", &[hello.clone(), took(7, 0)]),
        ("too many", &[hello.clone(), took(0, 65)]),
        ("a second hello", &[hello.clone(), hello.clone()]),
        ("garbage", &[b"garbage".to_vec()]),
        ("what a giver says", &[hello.clone(), give(0, Vec::new())]),
        ("half", &[hello[..9].to_vec()]),
        ("nothing", &[]),
    ];
    for (what, packets) in lies {
        let ((giver, taker), shared) = (link(), worker());
        let mut client = served_by(&shared).await;
        assert!(!asks(&mut client).await.1);
        drain(&shared, giver);
        packets.iter().for_each(|packet| say(&taker, packet, &[]));
        if packets.is_empty() {
            drop(taker);
        }
        // The next taker comes before hope is lost: nobody has heard of any of this.
        let ((giver, next), other) = (link(), worker());
        giver::give(&shared, vec![giver]);
        let taking = tokio::spawn(taker::take(next, Arc::clone(&other)));
        shared.life.all_closed().await;
        assert_eq!(other.life.connections(), 1, "{what}");
        assert!(!asks(&mut client).await.1, "{what}");
        assert_eq!(shared.life.fates().handed_over, 1, "{what}");
        drop(shared);
        taking.abort();
    }
}

#[tokio::test]
async fn a_taker_that_is_gone_is_followed_by_the_next() {
    let shared = worker();
    let mut client = served_by(&shared).await;
    assert!(!asks(&mut client).await.1);
    // Whoever was to take has been replaced, too, before this worker came to hear of it.
    let (giver, gone) = link();
    drop(gone);
    drain(&shared, giver);
    assert!(!asks(&mut client).await.1);
    let ((giver, next), other) = (link(), worker());
    giver::give(&shared, vec![giver]);
    let taking = tokio::spawn(taker::take(next, Arc::clone(&other)));
    shared.life.all_closed().await;
    assert!(!asks(&mut client).await.1);
    assert_eq!((other.life.taken_over(), shared.life.fates().handed_over), (1, 1));
    taking.abort();
}

#[tokio::test]
async fn whom_nobody_takes_hears_of_the_end() {
    let ((giver, taker), shared) = (link(), worker());
    let mut client = served_by(&shared).await;
    assert!(!asks(&mut client).await.1);
    drain(&shared, giver);
    say(&taker, &encode(&FromTaker::Hello { version: VERSION }, b""), &[]);
    let taker = giver::Link::new(taker).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    // It has no room.
    loop {
        let (length, fds) = taker.receive(&mut buffer).await.unwrap();
        if let FromGiver::Give { batch, connections } = decode(&buffer[..length]).unwrap().0 {
            assert_eq!((connections.len(), fds.len()), (1, 1));
            taker.send(&took(batch, 0), &[]).unwrap();
            break;
        }
    }
    let mut giving = shared.giving.subscribe();
    giving.wait_for(Option::is_none).await.unwrap();
    assert!(asks(&mut client).await.1);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    shared.life.all_closed().await;
    assert_eq!(shared.life.fates().closed, 1);
}

#[tokio::test]
async fn nobody_waits_for_a_socket_that_is_full() {
    let ((giver, taker), shared) = (link(), worker());
    let mut clients = Vec::new();
    for _ in 0..ROOM {
        clients.push(served_by(&shared).await);
    }
    for client in &mut clients {
        assert!(!asks(client).await.1);
    }
    let full = giver.try_clone().unwrap();
    say(&taker, &encode(&FromTaker::Hello { version: VERSION }, b""), &[]);
    drain(&shared, giver);
    while descriptors::send(&full, &[0; 1024], &[]).is_ok() {}
    // Those that rest are offered, in vain; who asks meanwhile is answered, and told nothing.
    for client in &mut clients {
        assert!(!asks(client).await.1);
    }
    drop(full);
    let taker = giver::Link::new(taker).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let mut given = 0;
    while given < ROOM {
        let (length, fds) = taker.receive(&mut buffer).await.unwrap();
        if let Ok((FromGiver::Give { batch, .. }, _)) = decode(&buffer[..length]) {
            taker.send(&took(batch, fds.len()), &[]).unwrap();
            given += fds.len();
        }
    }
    shared.life.all_closed().await;
    assert_eq!(shared.life.fates().handed_over, ROOM as u64);
}
