//! Ends of connections: their clients hear of them.

use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::raw::{Raw, WAIT, WHOLE};
use super::*;
use crate::connections::http2::frame::Kind;

/// Last stream of a GOAWAY that is followed by another one.
const ALL: u32 = (1 << 31) - 1;

#[tokio::test]
async fn a_parked_client_hears_of_its_end() {
    let mut config = config(true);
    config.timeouts.idle = Duration::from_millis(300);
    let worker = Worker::with(true, &config);
    let mut client = Raw::moved(&worker).await;
    assert_eq!(client.goodbye().await, (1, 0));
    client.ended().await;
}

#[tokio::test]
async fn an_idle_client_that_does_not_rest_hears_of_its_end() {
    let mut config = config(true);
    config.timeouts.idle = Duration::from_millis(300);
    config.timeouts.idle_grace = Duration::from_millis(50);
    let worker = Worker::with(true, &config);
    let mut client = Raw::moved(&worker).await;
    // Half a PING.
    client.send(b"\0\0\x08\x06\0\0\0\0\0abc").await;
    assert_eq!(client.goodbye().await, (ALL, 0));
    client.ended().await;
}

#[tokio::test]
async fn a_stream_that_outlasts_three_quarters_of_a_drain_hears_goodbye_and_ends() {
    let mut config = config(false);
    config.timeouts.shutdown = Duration::from_millis(400);
    let (worker, other) = (Worker::with(false, &config), Worker::start(true));
    let mut client = Raw::moved(&worker).await;
    client.send_frame(Kind::Headers, WHOLE, 3, WAIT).await;
    client.send_frame(Kind::Ping, 0, 0, b"are you?").await;
    client.next_of(Kind::Ping).await;
    let (giver, taker) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    other.hub.take_over(taker);
    let began = Instant::now();
    worker.hub.hand_over(vec![giver]);
    worker.hub.begin_drain();
    assert_eq!(client.goodbye().await, (ALL, 0));
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    worker.release.notify_one();
    assert_eq!(client.answer(3).await, 6);
    client.ended().await;
}

#[tokio::test]
async fn without_takers_clients_hear_goodbye_one_after_the_other() {
    let mut config = config(false);
    config.timeouts.idle_grace = Duration::from_millis(400);
    let worker = Worker::with(false, &config);
    let mut clients = JoinSet::new();
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(Raw::moved(&worker).await);
    }
    worker.hub.begin_drain();
    for mut client in all {
        clients.spawn(async move {
            assert_eq!(client.goodbye().await, (ALL, 0));
            Instant::now()
        });
    }
    let told = clients.join_all().await;
    let (first, last) = (told.iter().min().unwrap(), told.iter().max().unwrap());
    assert!(*last - *first > Duration::from_millis(100), "{:?}", *last - *first);
}

#[tokio::test]
async fn old_connections_end() {
    for moves in BOTH {
        let mut config = config(moves);
        config.timeouts.max_connection_age = Duration::from_millis(200);
        let worker = Worker::with(moves, &config);
        let began = Instant::now();
        let mut client = Raw::moved(&worker).await;
        let (last, code) = client.goodbye().await;
        assert_eq!((last, code), (if moves { 1 } else { ALL }, 0));
        assert!(began.elapsed() >= Duration::from_millis(180), "{:?}", began.elapsed());
        client.ended().await;
    }
}

#[tokio::test]
async fn an_old_connection_of_http1_ends_with_its_next_answer() {
    let mut config = config(true);
    config.timeouts.max_connection_age = Duration::from_millis(200);
    let worker = Worker::with(true, &config);
    let (began, mut wire) = (Instant::now(), worker.wire());
    let mut requests = 0;
    loop {
        wire.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"slow") {
            assert_ne!(within(wire.read_buf(&mut answer)).await.unwrap(), 0, "closed without a word");
        }
        requests += 1;
        if String::from_utf8(answer).unwrap().contains("connection: close") {
            break;
        }
    }
    assert!(requests > 1 && began.elapsed() >= Duration::from_millis(180), "{requests}, {:?}", began.elapsed());
    assert_eq!(within(wire.read(&mut [0])).await.unwrap(), 0);
}
