use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName};
use axum::routing::get;
use ipnet::IpNet;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use s2n_tls::config::Builder;
use s2n_tls_tokio::TlsConnector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;
use crate::connections::context::Entrances;
use crate::connections::hub::Hub;
use crate::connections::listener_facts::ListenerFacts;
use crate::graceful::{Life, Phase};
use crate::tls::TlsContext;
use crate::tls::test_pair::{CLIENTS, Client, client, listener, material, pair, settings};
use crate::websocket::KnownSessions;

async fn served(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> (HeaderMap, &'static str) {
    let peer = peer.to_string().parse().unwrap();
    (HeaderMap::from_iter([(HeaderName::from_static("peer"), peer)]), "served")
}

/// A worker with one listener that speaks TLS.
fn worker(config: &Config) -> (Arc<Hub>, Arc<ListenerFacts>) {
    worker_of(listener(settings(&["server"])), config)
}

fn worker_of(facts: Arc<ListenerFacts>, config: &Config) -> (Arc<Hub>, Arc<ListenerFacts>) {
    let listeners = vec![Arc::clone(&facts)];
    let tls = TlsContext::make(&listeners, &material(1, vec![pair("server", "server")])).unwrap();
    let entrances = Entrances::new(listeners, Some(Arc::new(tls)));
    let router = Router::new().route("/", get(served));
    let life = Life::default();
    life.reach(Phase::Serving);
    let sessions = Arc::new(KnownSessions::default());
    (Hub::start_behind(entrances, config, life, router, sessions, 8).unwrap(), facts)
}

/// A client's socket, whose other end the worker has accepted.
async fn accepted((hub, facts): &(Arc<Hub>, Arc<ListenerFacts>)) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let place = hub.room().place(hub.room().slot().await, None).unwrap();
    let connection = ActiveConnection::accepted(Stream::Tcp(stream), Some(peer), place, Arc::clone(facts));
    Arc::clone(hub).serve(connection);
    socket
}

async fn shaken(socket: TcpStream, policy: &str) -> Client {
    connects(client(policy), socket).await
}

async fn connects(client: Builder, socket: TcpStream) -> Client {
    TlsConnector::new(client.build().unwrap()).connect("localhost", socket).await.unwrap()
}

/// A client that offers these protocols.
async fn offers(protocols: &[&str], worker: &(Arc<Hub>, Arc<ListenerFacts>)) -> Client {
    let mut client = client(CLIENTS[1]);
    client.set_application_protocol_preference(protocols).unwrap();
    connects(client, accepted(worker).await).await
}

async fn asks(client: &mut Client) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "closed");
    }
    String::from_utf8(answer).unwrap()
}

async fn is_parked(hub: &Hub) {
    // Nothing says when a connection is parked.
    while hub.parked() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_parked_before_its_handshake_and_between_requests() {
    for policy in CLIENTS {
        let worker = worker(&Config::default());
        let socket = accepted(&worker).await;
        is_parked(&worker.0).await;
        let mut client = shaken(socket, policy).await;
        for _ in 0..2 {
            assert!(asks(&mut client).await.starts_with("HTTP/1.1 200"));
            is_parked(&worker.0).await;
        }
        client.shutdown().await.unwrap();
        assert!(client.read(&mut [0; 1]).await.map_or(true, |count| count == 0), "{policy}");
    }
}

#[tokio::test]
async fn head_and_body_of_an_answer_are_one_record() {
    for policy in CLIENTS {
        let worker = worker(&Config::default());
        let mut client = shaken(accepted(&worker).await, policy).await;
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            // A read gives one record.
            let mut record = [0; 4096];
            let length = client.read(&mut record).await.unwrap();
            let record = String::from_utf8_lossy(&record[..length]);
            assert!(record.starts_with("HTTP/1.1 200") && record.ends_with("served"), "{policy}: {record}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends_after_a_while() {
    let mut config = Config::default();
    config.timeouts.read = Duration::from_millis(20);
    let worker = worker(&config);
    let mut socket = accepted(&worker).await;
    socket.write_all(&[0x16]).await.unwrap();
    let ended = socket.read(&mut [0; 1]).await;
    assert!(ended.map_or(true, |count| count == 0));
    worker.0.begin_drain();
    worker.0.life().all_closed().await;
}

#[tokio::test]
async fn half_a_record_that_does_not_go_on_holds_up_no_drain() {
    let mut config = Config::default();
    config.timeouts.read = Duration::from_millis(300);
    for policy in CLIENTS {
        let [old, next] = [worker(&config), worker(&config)];
        let mut client = shaken(accepted(&old).await, policy).await;
        asks(&mut client).await;
        client.get_ref().writable().await.unwrap();
        // The head of a record of 64 bytes, and the first one.
        assert_eq!(client.get_ref().try_write(&[23, 3, 3, 0, 64, 0x5a]).unwrap(), 6);
        // Nothing says when s2n has read it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let (giver, taker) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        next.0.take_over(taker);
        old.0.hand_over(vec![giver]);
        old.0.begin_drain();
        tokio::time::timeout(Duration::from_secs(60), old.0.life().all_closed()).await.expect("the drain hangs");
        assert_eq!(next.0.life().taken_over(), 0, "it could not be taken apart");
        assert!(client.read(&mut [0; 1]).await.map_or(true, |count| count == 0), "{policy}");
    }
}

#[tokio::test]
async fn a_client_that_asks_in_cleartext_is_told_to_speak_tls() {
    let mut config = Config::default();
    config.timeouts.read = Duration::from_secs(3600);
    let worker = worker(&config);
    // What is not read of a request does not destroy its answer.
    let long = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    for said in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "OPTIONS ", long.as_str()] {
        let mut socket = accepted(&worker).await;
        socket.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains("use https://"), "{answer}");
    }
    // Byte by byte.
    let mut socket = accepted(&worker).await;
    socket.set_nodelay(true).unwrap();
    for byte in b"GET " {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    drop(socket);
    // The worker does not go on with these clients.
    worker.0.begin_drain();
    worker.0.life().all_closed().await;
}

#[tokio::test]
async fn a_client_that_speaks_anything_else_is_closed_at_once() {
    let mut config = Config::default();
    config.timeouts.read = Duration::from_secs(3600);
    let worker = worker(&config);
    for said in ["SSH-2.0-OpenSSH\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = accepted(&worker).await;
        socket.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn http2_is_spoken_over_tls_to_whoever_has_agreed_on_it_and_to_nobody_else() {
    let worker = worker(&Config::default());
    let offered: [(&[&str], bool); 3] = [(&["h2", "http/1.1"], true), (&["http/1.1"], false), (&[], false)];
    for (protocols, is_http2) in offered {
        let mut client = offers(protocols, &worker).await;
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut head = [0; 9];
        let has_settings = client.read_exact(&mut head).await.is_ok() && head[3..] == [4, 0, 0, 0, 0, 0];
        assert_eq!(has_settings, is_http2, "{protocols:?}");
    }
    // Who has agreed on HTTP/2 and speaks HTTP/1.1 gets no answer.
    let mut client = offers(&["h2"], &worker).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(client.read(&mut [0; 1]).await.map_or(true, |count| count == 0));
}

#[tokio::test]
async fn a_handshake_is_made_in_a_drain_too() {
    let worker = worker(&Config::default());
    let socket = accepted(&worker).await;
    worker.0.begin_drain();
    let mut client = shaken(socket, CLIENTS[1]).await;
    assert!(asks(&mut client).await.contains("connection: close"));
}

#[tokio::test]
async fn a_header_of_a_proxy_comes_before_the_handshake() {
    let with_tls = Arc::into_inner(listener(settings(&["server"]))).unwrap();
    let network: IpNet = "127.0.0.0/8".parse().unwrap();
    let proxy: Option<Box<[IpNet]>> = Some(Box::new([network]));
    let worker = worker_of(Arc::new(ListenerFacts { proxy, ..with_tls }), &Config::default());
    for policy in CLIENTS {
        let mut socket = accepted(&worker).await;
        socket.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.1 49152 443\r\n").await.unwrap();
        // Between the two it is parked like any other connection of which nothing has come.
        is_parked(&worker.0).await;
        let mut client = shaken(socket, policy).await;
        assert!(asks(&mut client).await.contains("peer: 192.0.2.1:49152\r\n"), "{policy}");
    }
}
