//! Givers and takers of connections over TLS: what the other side says, or does not say, must never leave keys in two hands.
//!
//! The keys here are none: nothing opens them but the last owner, who then closes the connection.

use std::time::Instant;

use bytes::Bytes;
use gin_shared::handover::{CarriedTls, Pending};

use super::*;
use crate::connections::connection::{ConnectionInfo, IdleConnection, Kept, KeptParts, Opening};
use crate::connections::context::Entrances;
use crate::connections::machine::HandoverHold;
use crate::connections::progress::Progress;
use crate::connections::transport::RawStream;
use crate::tls::{Keys, TlsContext, TlsFacts, test_pair};

const WORD: &str = "tls-s2n-1";
const KEYS: [u8; 126] = [7; 126];

fn carried_tls(keys: usize) -> CarriedTls {
    let (server_name, protocol) = (Some("localhost".to_owned()), Some("http/1.1".to_owned()));
    CarriedTls { keys, version: "1.3".to_owned(), server_name, protocol, client: None, resumed: false }
}

fn carried_keyed(keys: usize) -> Carried {
    let protocol = Protocol::Http1 { doing: Doing::Idle };
    Carried { version: VERSION, protocol, requests: 1, tls: Some(carried_tls(keys)), ..carried(0) }
}

fn give_keyed(connection: Carried, tail: &[u8]) -> Vec<u8> {
    encode(&FromGiver::Give { batch: 0, connections: vec![connection] }, tail)
}

/// An idle connection over TLS of this worker, and its client.
async fn keyed(hub: &Arc<Hub>) -> (TcpStream, IdleConnection) {
    let (client, accepted) = connection().await;
    let mut place = hub.room().take_over().unwrap();
    place.own();
    let now = Instant::now();
    let info = ConnectionInfo {
        listener: Arc::new(ListenerFacts::named("https")),
        opened: now,
        peer: None,
        tls: Some(Arc::new(TlsFacts::of_carried(&carried_tls(0)).unwrap())),
        stage: Opening::Done,
        is_taken_over: false,
        hold: HandoverHold::None,
    };
    let progress = Progress { doing: Doing::Idle, since: now, requests: 1 };
    let kept = Kept::of(KeptParts { keys: Some(Keys::received(&KEYS).unwrap()), ..KeptParts::default() });
    let raw = RawStream::adopt(accepted.into_std().unwrap().into()).unwrap();
    (client, IdleConnection { raw, place, info, progress, ahead: Bytes::new(), kept })
}

/// A worker that drains, with a connection over TLS that is queued for this socket, and the client.
async fn drains(giver: OwnedFd) -> (Arc<Hub>, TcpStream) {
    let hub = worker();
    let (client, connection) = keyed(&hub).await;
    drain(&hub, giver);
    assert!(hub.drain().offer(connection).is_none(), "the queue is open");
    (hub, client)
}

/// An offer, as the taker has received it.
struct Offer {
    batch: u64,
    connections: Vec<Carried>,
    tail: Vec<u8>,
    /// The giver's pidfd and eventfd, which came with its hello.
    giver: Vec<OwnedFd>,
    /// The sockets of the connections.
    _fds: Vec<OwnedFd>,
}

async fn offered(taker: &link::Link) -> Offer {
    let (mut buffer, mut giver) = (vec![0; PACKET_MAX], Vec::new());
    loop {
        let (length, fds) = taker.receive(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the giver has gone");
        // What fills the socket is no packet.
        let Ok((message, tail)) = decode::<FromGiver>(&buffer[..length]) else { continue };
        match message {
            FromGiver::Hello { .. } => giver = fds,
            FromGiver::Give { batch, connections } => {
                return Offer { batch, connections, tail: tail.to_vec(), giver, _fds: fds };
            }
        }
    }
}

async fn is_closed_for(client: &mut TcpStream) -> bool {
    matches!(client.read(&mut [0]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn keys_go_to_a_taker_that_knows_them() {
    let (giver, taker) = pair();
    say(&taker, &hello_of(&["tls-s2n-9", WORD, "colours"]), &[]);
    let (hub, _client) = drains(giver).await;
    let taker = link::Link::new(taker).unwrap();
    let offer = offered(&taker).await;
    assert_eq!((&offer.tail[..], offer.giver.len()), (&KEYS[..], 2));
    assert_eq!(offer.connections[0].tls, Some(carried_tls(KEYS.len())));
    taker.send_all(&took(offer.batch, 1)).await.unwrap();
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, 1);
}

#[tokio::test]
async fn keys_go_to_no_taker_that_does_not_know_them() {
    for words in [&[][..], &["tls-s2n-2", "http2-1"]] {
        let (giver, taker) = pair();
        say(&taker, &hello_of(words), &[]);
        let (hub, mut client) = drains(giver).await;
        // It is served on here, where these keys are found to be none.
        assert!(is_closed_for(&mut client).await);
        hub.life().all_closed().await;
        assert_eq!(hub.life().fates().handed_over, 0, "{words:?}");
        let taker = link::Link::new(taker).unwrap();
        let mut buffer = vec![0; PACKET_MAX];
        let (length, _) = taker.receive(&mut buffer).await.unwrap();
        assert!(matches!(decode(&buffer[..length]).unwrap().0, FromGiver::Hello { .. }));
        assert!(taker.receive_now(&mut buffer).is_err(), "{words:?}: nothing was offered");
    }
}

#[tokio::test]
async fn keys_that_a_taker_may_have_are_not_used_again() {
    let answers: [(&str, Vec<u8>); 5] = [
        ("garbage", b"garbage".to_vec()),
        ("half an answer", took(0, 1)[..9].to_vec()),
        ("too many", took(0, 2)),
        ("another batch", took(7, 1)),
        ("what a giver says", give(0, Vec::new())),
    ];
    for (what, answer) in answers {
        let (giver, taker) = pair();
        say(&taker, &hello_of(&[WORD]), &[]);
        let (hub, mut client) = drains(giver).await;
        let taker = link::Link::new(taker).unwrap();
        let offer = offered(&taker).await;
        taker.send_all(&answer).await.unwrap();
        hub.life().all_closed().await;
        assert_eq!(hub.life().fates().handed_over, 0, "{what}");
        drop(offer);
        assert!(is_closed_for(&mut client).await, "{what}");
    }
}

#[tokio::test]
async fn an_answer_counts_though_nonsense_follows() {
    let (giver, taker) = pair();
    say(&taker, &hello_of(&[WORD]), &[]);
    let (hub, _client) = drains(giver).await;
    let taker = link::Link::new(taker).unwrap();
    let offer = offered(&taker).await;
    taker.send_all(&took(offer.batch, 1)).await.unwrap();
    // The giver may have hung up.
    let _ = taker.send_all(&took(offer.batch, 1)).await;
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, 1);
}

#[tokio::test]
async fn keys_are_not_used_again_if_a_late_taker_could_not_be_told() {
    let (giver, taker) = pair();
    say(&taker, &hello_of(&[WORD]), &[]);
    let (hub, mut client) = drains(giver).await;
    let taker = link::Link::new(taker).unwrap();
    let offer = offered(&taker).await;
    // The eventfd is as full as it can be, so that the giver cannot mark it.
    rustix::io::write(&offer.giver[1], &(u64::MAX - 1).to_ne_bytes()).unwrap();
    drop(taker);
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, 0);
    drop(offer);
    assert!(is_closed_for(&mut client).await);
}

#[tokio::test]
async fn keys_that_a_lost_taker_cannot_have_go_to_the_next() {
    for refuses in [false, true] {
        let (giver, taker) = pair();
        say(&taker, &hello_of(&[WORD]), &[]);
        let (hub, _client) = drains(giver).await;
        let taker = link::Link::new(taker).unwrap();
        let offer = offered(&taker).await;
        if refuses {
            taker.send_all(&took(offer.batch, 0)).await.unwrap();
        }
        drop((taker, offer));
        let (giver, next) = pair();
        say(&next, &hello_of(&[WORD]), &[]);
        hub.hand_over(vec![giver]);
        let next = link::Link::new(next).unwrap();
        let offer = offered(&next).await;
        assert_eq!(offer.tail, KEYS, "{refuses}");
        next.send_all(&took(offer.batch, 1)).await.unwrap();
        hub.life().all_closed().await;
        assert_eq!(hub.life().fates().handed_over, 1);
    }
}

#[tokio::test]
async fn keys_whose_taker_is_gone_before_they_are_sent_go_to_the_next() {
    let (giver, taker) = pair();
    say(&taker, &hello_of(&[WORD]), &[]);
    let (hub, _client) = drains(giver).await;
    // On one thread: the giver has offered nothing yet.
    drop(taker);
    let (giver, next) = pair();
    say(&next, &hello_of(&[WORD]), &[]);
    hub.hand_over(vec![giver]);
    let next = link::Link::new(next).unwrap();
    let offer = offered(&next).await;
    assert_eq!(offer.tail, KEYS);
    next.send_all(&took(offer.batch, 1)).await.unwrap();
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, 1);
}

#[tokio::test]
async fn keys_outlive_a_send_that_fails() {
    let (giver, taker) = pair();
    let full = giver.try_clone().unwrap();
    say(&taker, &hello_of(&[WORD]), &[]);
    let hub = worker();
    let (_client, connection) = keyed(&hub).await;
    drain(&hub, giver);
    while descriptors::send(&full, &[0; 1024], &[]).is_ok() {}
    assert!(hub.drain().offer(connection).is_none());
    drop(full);
    let taker = link::Link::new(taker).unwrap();
    let offer = offered(&taker).await;
    assert_eq!(offer.tail, KEYS);
    taker.send_all(&took(offer.batch, 1)).await.unwrap();
    hub.life().all_closed().await;
    assert_eq!(hub.life().fates().handed_over, 1);
}

#[tokio::test]
async fn a_taker_keeps_keys_of_a_dead_giver_only_if_it_would_have_been_told() {
    let never = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let marked = || eventfd(1, EventfdFlags::CLOEXEC).unwrap();
    let hellos = [
        ("both", Some(dead()), Some(never()), 1),
        ("taken back", Some(dead()), Some(marked()), 0),
        ("no eventfd", Some(dead()), None, 0),
        ("alive", Some(own()), Some(never()), 0),
        ("no pidfd", None, None, 0),
    ];
    for (what, giver, withdrawn, kept) in hellos {
        let ((own_end, taker), hub) = (pair(), worker());
        let (_client, accepted) = connection().await;
        let hello = encode(&FromGiver::Hello { version: VERSION, takes: Vec::new(), serves_on: false }, b"");
        let fds: Vec<BorrowedFd<'_>> = [&giver, &withdrawn].into_iter().flatten().map(AsFd::as_fd).collect();
        say(&own_end, &hello, &fds);
        say(&own_end, &give_keyed(carried_keyed(KEYS.len()), &KEYS), &[accepted.as_fd()]);
        drop((own_end, accepted));
        taker::take(taker, Arc::clone(&hub), hub.room().clone()).await;
        assert_eq!(hub.life().taken_over(), kept, "{what}");
    }
}

#[tokio::test]
async fn a_taker_refuses_keys_that_are_none() {
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (_client, accepted) = connection().await;
    let (tcp, unix) = (accepted.as_fd(), unix.as_fd());
    let whole = || carried_keyed(KEYS.len());
    let version = CarriedTls { version: "2.0".to_owned(), ..carried_tls(KEYS.len()) };
    let http2 = Carried { protocol: Protocol::Http2 { length: 3 }, ..carried(0) };
    let socket = |length| Carried { protocol: Protocol::WebSocket { name: "chat".to_owned(), length }, ..whole() };
    let lies: [(&str, Carried, &[u8], BorrowedFd<'_>); 10] = [
        ("none", carried_keyed(0), b"", tcp),
        ("too long", carried_keyed(Keys::MAX + 1), &[0; Keys::MAX + 1], tcp),
        ("keys that have not come", whole(), &KEYS[1..], tcp),
        ("before the handshake", Carried { pending: Some(Pending::Handshake), ..whole() }, &KEYS, tcp),
        ("a version that nobody knows", Carried { tls: Some(version), ..whole() }, &KEYS, tcp),
        ("over a Unix socket", whole(), &KEYS, unix),
        ("more than can be", Carried { ahead: usize::MAX, ..whole() }, &KEYS, tcp),
        ("a state that is none", http2, b"\x09xx", tcp),
        ("a session that has not come", socket(KEYS.len() + 1), &KEYS, tcp),
        ("a session, and the keys behind it not whole", socket(1), &KEYS, tcp),
    ];
    for (what, connection, tail, fd) in lies {
        let (taker, hub) = (pair(), worker());
        greet(&taker.0, &own(), false);
        say(&taker.0, &give_keyed(connection, tail), &[fd]);
        taker::take(taker.1, Arc::clone(&hub), hub.room().clone()).await;
        assert_eq!((hub.life().connections(), hub.life().taken_over()), (0, 0), "{what}");
        assert_eq!(hub.room().free(), ROOM, "{what}");
    }
}

#[tokio::test]
async fn of_a_batch_a_taker_has_those_alone_whose_descriptors_came() {
    let ((giver, taker), hub) = (pair(), worker());
    let (_client, accepted) = connection().await;
    let taking = tokio::spawn(taker::take(taker, Arc::clone(&hub), hub.room().clone()));
    greet(&giver, &own(), false);
    // The kernel leaves descriptors out for a process that may open no more files.
    let connections = vec![carried_keyed(KEYS.len()); 3];
    say(&giver, &encode(&FromGiver::Give { batch: 0, connections }, &KEYS.repeat(3)), &[accepted.as_fd()]);
    let giver = link::Link::new(giver).unwrap();
    let mut buffer = vec![0; PACKET_MAX];
    let count = loop {
        let (length, _) = giver.receive(&mut buffer).await.unwrap();
        if let FromTaker::Took { count, .. } = decode(&buffer[..length]).unwrap().0 {
            break count;
        }
    };
    assert_eq!((count, hub.life().taken_over()), (1, 1));
    drop(giver);
    taking.await.unwrap();
}

/// A worker that has no listener of the name `http`, but one that speaks TLS.
fn worker_with_tls() -> Arc<Hub> {
    let listeners = vec![test_pair::listener(test_pair::settings(&["server"]))];
    let material = test_pair::material(1, vec![test_pair::pair("server", "server")]);
    let tls = TlsContext::make(&listeners, &material).unwrap();
    let router = Router::new().route("/", get(async || "served"));
    let life = Life::default();
    life.reach(Phase::Serving);
    let entrances = Entrances::new(listeners, Some(Arc::new(tls)));
    let sessions = Arc::new(KnownSessions::default());
    Hub::start_behind(entrances, &crate::Config::default(), life, router, sessions, ROOM).unwrap()
}

/// Has a worker take this connection, of which nothing has come, from a giver that is dead. Returns its client.
async fn taken_by(hub: &Arc<Hub>, bare: Carried) -> TcpStream {
    let (own_end, taker) = pair();
    let (client, accepted) = connection().await;
    greet(&own_end, &dead(), false);
    say(&own_end, &give_keyed(bare, b""), &[accepted.as_fd()]);
    drop((own_end, accepted));
    taker::take(taker, Arc::clone(hub), hub.room().clone()).await;
    assert_eq!(hub.life().taken_over(), 1);
    client
}

#[tokio::test]
async fn a_client_does_not_come_in_with_less_protection_where_its_listener_is_gone() {
    let bare = |pending| Carried { pending: Some(pending), ..carried(0) };
    let behind_proxy = |handshake_follows| Carried { handshake_follows, ..bare(Pending::Proxy) };
    let with_certificate = |bare| Carried { needs_certificate: true, ..bare };
    // Is it kept by a worker with another listener that speaks TLS, and by one without?
    for (connection, beside_tls, without) in [
        (bare(Pending::Handshake), true, false),
        (with_certificate(bare(Pending::Handshake)), false, false),
        (behind_proxy(Some(true)), true, false),
        (with_certificate(behind_proxy(Some(true))), false, false),
        (behind_proxy(Some(false)), true, true),
        // An earlier build does not tell what follows the header.
        (behind_proxy(None), false, false),
    ] {
        for (hub, is_kept) in [(worker_with_tls(), beside_tls), (worker(), without)] {
            let mut client = taken_by(&hub, connection.clone()).await;
            assert_eq!(hub.life().connections(), usize::from(is_kept), "{connection:?}");
            if !is_kept {
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it is closed");
            }
        }
    }
}

#[tokio::test]
async fn cleartext_is_served_behind_the_header_of_a_listener_without_tls_alone() {
    for (handshake_follows, is_served) in [(false, true), (true, false)] {
        let bare = Carried { pending: Some(Pending::Proxy), ..carried(0) };
        let bare = Carried { handshake_follows: Some(handshake_follows), ..bare };
        let hub = worker_with_tls();
        let mut client = taken_by(&hub, bare).await;
        let request = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // It may be closed with bytes of the client's in it.
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(answer.ends_with(b"served"), is_served, "{}", String::from_utf8_lossy(&answer));
    }
}
