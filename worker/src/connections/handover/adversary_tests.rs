//! Givers and takers against another side that lies, hangs, or is gone.
//!
//! The other side is written by hand, packet by packet; what is tested is a whole hub.

mod ages;
#[cfg(feature = "tls")]
mod keys;
mod relief;
mod sharing;
mod silence;

use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use axum::routing::get;
use gin_shared::descriptors;
use gin_shared::handover::{Carried, Doing, FromGiver, FromTaker, PACKET_MAX, Protocol, VERSION, decode, encode};
use gin_shared::process::Pidfd;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use std::sync::Arc;

use axum::Router;

use super::{link, taker};
use crate::connections::connection::{ActiveConnection, ListenerFacts};
use crate::connections::context::Dispatch;
use crate::connections::hub::Hub;
use crate::connections::transport::Stream;
use crate::graceful::{Life, Phase};
use crate::websocket::KnownSessions;

const ROOM: usize = 8;

fn worker() -> Arc<Hub> {
    worker_with(&crate::Config::default())
}

fn worker_with(config: &crate::Config) -> Arc<Hub> {
    let router = Router::new().route("/", get(async || "served"));
    let life = Life::default();
    life.reach(Phase::Serving);
    Hub::start(config, life, router, Arc::new(KnownSessions::default()), ROOM).unwrap()
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// A client's end of a connection, and a worker's.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn served_by(hub: &Arc<Hub>) -> TcpStream {
    let (client, accepted) = connection().await;
    let place = hub.room().place(hub.room().slot().await, None).unwrap();
    let facts = Arc::new(ListenerFacts::named("http"));
    Arc::clone(hub).serve(ActiveConnection::accepted(Stream::Tcp(accepted), None, place, facts));
    client
}

/// Asks, and returns the answer, and true if the answer is the connection's last.
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
    Carried {
        version: 1,
        listener,
        protocol,
        since_ms: 0,
        age_ms: 0,
        requests: 0,
        ahead,
        peer: None,
        pending: None,
        needs_certificate: false,
        handshake_follows: None,
        tls: None,
    }
}

/// The hello of a taker that knows these kinds of connections.
fn hello_of(words: &[&str]) -> Vec<u8> {
    let takes = words.iter().map(|word| (*word).to_owned()).collect();
    encode(&FromTaker::Hello { version: VERSION, takes }, b"")
}

/// The hello of a taker that knows no kinds beside those of version 1.
fn hello() -> Vec<u8> {
    hello_of(&[])
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

/// Sends the hello of a giver with this pidfd, which has, or has not, taken back what had no answer.
fn greet(link: &OwnedFd, giver: &OwnedFd, is_withdrawn: bool) {
    let withdrawn = eventfd(u32::from(is_withdrawn), EventfdFlags::CLOEXEC).unwrap();
    greet_as(link, giver, &withdrawn, false);
}

/// Sends the hello of a giver; `serves_on`: it does not drain.
fn greet_as(link: &OwnedFd, giver: &OwnedFd, withdrawn: &OwnedFd, serves_on: bool) {
    let hello = encode(&FromGiver::Hello { version: VERSION, takes: Vec::new(), serves_on }, b"");
    say(link, &hello, &[giver.as_fd(), withdrawn.as_fd()]);
}

/// Drains, with this socket to a taker.
fn drain(hub: &Arc<Hub>, giver: OwnedFd) {
    hub.life().count_fates();
    hub.hand_over(vec![giver]);
    hub.begin_drain();
}

fn own() -> OwnedFd {
    Pidfd::own().unwrap().into()
}

fn dead() -> OwnedFd {
    let mut child = Command::new("true").spawn().unwrap();
    let pidfd = Pidfd::open(child.id().cast_signed()).unwrap().expect("not waited for");
    child.wait().unwrap();
    pidfd.into()
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
        let (taker, hub) = (pair(), worker());
        greet(&taker.0, &own(), false);
        say(&taker.0, packet, fds);
        taker::take(taker.1, Arc::clone(&hub), hub.room().clone()).await;
        assert_eq!((hub.life().connections(), hub.life().taken_over()), (0, 0), "{what}");
        assert_eq!(hub.room().free(), ROOM, "{what}");
    }
    drop(writer);
    assert!(is_closed(reader), "nobody keeps a descriptor");
}

#[tokio::test]
async fn a_taker_keeps_of_a_lost_giver_only_what_nobody_else_has() {
    for (giver, is_withdrawn, is_kept) in [(dead(), false, true), (dead(), true, false), (own(), false, false)] {
        let ((own_end, taker), hub) = (pair(), worker());
        let (mut client, accepted) = connection().await;
        let taking = tokio::spawn(taker::take(taker, Arc::clone(&hub), hub.room().clone()));
        let link = link::Link::new(own_end.try_clone().unwrap()).unwrap();
        assert!(link.receive(&mut [0; 100]).await.unwrap().0 > 0, "hello");
        // On one thread, all of this is there before the taker looks.
        greet(&own_end, &giver, is_withdrawn);
        say(&own_end, &give(0, vec![carried(0)]), &[accepted.as_fd()]);
        drop((own_end, link, accepted));
        taking.await.unwrap();
        assert_eq!(hub.life().taken_over(), u64::from(is_kept), "{is_withdrawn}");
        if is_kept {
            assert!(!asks(&mut client).await.1);
        } else {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it had one copy, and has let it go");
        }
    }
}

#[tokio::test]
async fn a_giver_that_is_gone_before_the_taker_comes_has_left_what_it_sent() {
    for (giver, is_kept) in [(dead(), true), (own(), false)] {
        let ((own_end, taker), hub) = (pair(), worker());
        let (mut client, accepted) = connection().await;
        greet(&own_end, &giver, false);
        say(&own_end, &give(0, vec![carried(0)]), &[accepted.as_fd()]);
        drop((own_end, accepted));
        // The hello finds nobody.
        taker::take(taker, Arc::clone(&hub), hub.room().clone()).await;
        assert_eq!(hub.life().taken_over(), u64::from(is_kept));
        if is_kept {
            assert!(!asks(&mut client).await.1);
        }
    }
}

#[tokio::test]
async fn a_taker_takes_no_more_than_it_has_room_for() {
    let ((giver, taker), hub) = (pair(), worker());
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&hub), hub.room().clone()));
    greet(&giver, &own(), false);
    let connections = [connection().await, connection().await, connection().await];
    let fds: Vec<BorrowedFd<'_>> = connections.iter().map(|(_, accepted)| accepted.as_fd()).collect();
    for batch in 0..4 {
        say(&giver, &give(batch, vec![carried(0); fds.len()]), &fds);
    }
    let giver = link::Link::new(giver).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let mut counts = Vec::new();
    for number in 0..5 {
        let (length, _) = giver.receive(&mut buffer).await.unwrap();
        match decode(&buffer[..length]).unwrap().0 {
            FromTaker::Hello { version, .. } => assert_eq!((version, number), (VERSION, 0)),
            FromTaker::Took { count, .. } => counts.push(count),
        }
    }
    assert_eq!(counts, [3, 3, 2, 0]);
    assert_eq!(hub.room().free(), 0);
    drop(giver);
    taking.await.unwrap();
}

#[tokio::test]
async fn a_giver_keeps_what_a_lying_or_lost_taker_says_it_has() {
    let hello = hello();
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
        let ((giver, taker), hub) = (pair(), worker());
        let mut client = served_by(&hub).await;
        assert!(!asks(&mut client).await.1);
        drain(&hub, giver);
        packets.iter().for_each(|packet| say(&taker, packet, &[]));
        if packets.is_empty() {
            drop(taker);
        }
        // The next taker comes before the giver gives up: the client has heard nothing of this.
        let ((giver, next), other) = (pair(), worker());
        hub.hand_over(vec![giver]);
        let taking = tokio::spawn(taker::take(next, Arc::clone(&other), other.room().clone()));
        hub.life().all_closed().await;
        assert_eq!(other.life().connections(), 1, "{what}");
        assert!(!asks(&mut client).await.1, "{what}");
        assert_eq!(hub.life().fates().handed_over, 1, "{what}");
        drop(hub);
        taking.abort();
    }
}

#[tokio::test]
async fn a_taker_that_is_gone_is_followed_by_the_next() {
    let hub = worker();
    let mut client = served_by(&hub).await;
    assert!(!asks(&mut client).await.1);
    // The taker has been replaced, too, before this worker hears of it.
    let (giver, gone) = pair();
    drop(gone);
    drain(&hub, giver);
    assert!(!asks(&mut client).await.1);
    let ((giver, next), other) = (pair(), worker());
    hub.hand_over(vec![giver]);
    let taking = tokio::spawn(taker::take(next, Arc::clone(&other), other.room().clone()));
    hub.life().all_closed().await;
    assert!(!asks(&mut client).await.1);
    assert_eq!((other.life().taken_over(), hub.life().fates().handed_over), (1, 1));
    taking.abort();
}

#[tokio::test]
async fn a_client_hears_of_the_end_if_no_worker_takes_its_connection() {
    let ((giver, taker), hub) = (pair(), worker());
    let mut client = served_by(&hub).await;
    assert!(!asks(&mut client).await.1);
    drain(&hub, giver);
    say(&taker, &hello(), &[]);
    let taker = link::Link::new(taker).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    // The taker has no room.
    loop {
        let (length, fds) = taker.receive(&mut buffer).await.unwrap();
        if let FromGiver::Give { batch, connections } = decode(&buffer[..length]).unwrap().0 {
            assert_eq!((connections.len(), fds.len()), (1, 1));
            taker.send(&took(batch, 0), &[]).unwrap();
            break;
        }
    }
    let mut giving = hub.drain().queue().subscribe();
    giving.wait_for(Option::is_none).await.unwrap();
    assert!(asks(&mut client).await.1);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().closed, 1);
}

#[tokio::test]
async fn nobody_waits_for_a_socket_that_is_full() {
    let ((giver, taker), hub) = (pair(), worker());
    let mut clients = Vec::new();
    for _ in 0..ROOM {
        clients.push(served_by(&hub).await);
    }
    for client in &mut clients {
        assert!(!asks(client).await.1);
    }
    let full = giver.try_clone().unwrap();
    say(&taker, &hello(), &[]);
    drain(&hub, giver);
    while descriptors::send(&full, &[0; 1024], &[]).is_ok() {}
    // Idle connections are offered, in vain. A client that asks meanwhile is answered, without `Connection: close`.
    for client in &mut clients {
        assert!(!asks(client).await.1);
    }
    drop(full);
    let taker = link::Link::new(taker).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let mut given = 0;
    while given < ROOM {
        let (length, fds) = taker.receive(&mut buffer).await.unwrap();
        if let Ok((FromGiver::Give { batch, .. }, _)) = decode(&buffer[..length]) {
            taker.send(&took(batch, fds.len()), &[]).unwrap();
            given += fds.len();
        }
    }
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, ROOM as u64);
}
