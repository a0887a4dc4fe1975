//! Connections behind a proxy, in one process: the client's address, and what ends a connection without one.

use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;
use crate::connections::context::Entrances;
use crate::connections::hub::Hub;
use crate::connections::listener_facts::ListenerFacts;
use crate::graceful::Phase;
use crate::websocket::KnownSessions;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 49152 80\r\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn address(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    peer.to_string()
}

/// A worker whose listener is behind a proxy in this network, and tells clients their address.
fn worker(network: &str, config: &Config) -> (Arc<Hub>, Arc<ListenerFacts>) {
    let network: IpNet = network.parse().unwrap();
    let facts = Arc::new(ListenerFacts { proxy: Some(Box::new([network])), ..ListenerFacts::named("http") });
    let entrances = Entrances::new(vec![Arc::clone(&facts)], None);
    let router = Router::new().route("/", get(address));
    let life = Life::default();
    life.reach(Phase::Serving);
    let sessions = Arc::new(KnownSessions::default());
    (Hub::start_behind(entrances, config, life, router, sessions, 8).unwrap(), facts)
}

fn local(config: &Config) -> (Arc<Hub>, Arc<ListenerFacts>) {
    worker("127.0.0.0/8", config)
}

/// The proxy's end of a connection that the worker has accepted.
async fn accepted((hub, facts): &(Arc<Hub>, Arc<ListenerFacts>)) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let place = hub.room().place(hub.room().slot().await, None).unwrap();
    Arc::clone(hub).serve(ActiveConnection::accepted(Stream::Tcp(stream), Some(peer), place, Arc::clone(facts)));
    socket
}

/// The address that an answer tells.
async fn told(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        if let Some(body) = body(&answer) {
            return body;
        }
        assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0, "closed");
    }
}

/// The body of an answer, once it is there.
fn body(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    (body.len() == length.parse::<usize>().unwrap()).then(|| body.to_owned())
}

async fn asks(socket: &mut TcpStream) -> String {
    socket.write_all(REQUEST).await.unwrap();
    told(socket).await
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    socket.read(&mut [0; 1]).await.map_or(true, |count| count == 0)
}

async fn is_parked(hub: &Hub) {
    // Nothing says when a connection is parked.
    while hub.parked() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_has_the_address_that_its_header_tells() {
    let worker = local(&Config::default());
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\x0a\0\0\x01\xc0\0\0\x50";
    for (header, client) in [(LINE, "192.0.2.1:49152"), (&binary[..], "192.0.2.2:49152")] {
        let mut socket = accepted(&worker).await;
        // Header and request in one segment.
        socket.write_all(&[header, REQUEST].concat()).await.unwrap();
        assert_eq!(told(&mut socket).await, client);
        // It stays so, also when the connection was parked in between.
        is_parked(&worker.0).await;
        assert_eq!(asks(&mut socket).await, client);
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let worker = local(&Config::default());
    let mut socket = accepted(&worker).await;
    socket.set_nodelay(true).unwrap();
    for byte in LINE {
        socket.write_all(&[*byte]).await.unwrap();
        // The other side has its turn.
        tokio::task::yield_now().await;
    }
    assert_eq!(asks(&mut socket).await, "192.0.2.1:49152");
}

#[tokio::test]
async fn a_proxy_that_asks_for_itself_has_its_own_address() {
    let mut config = Config::default();
    config.limits.connections_per_client = Some(1);
    let worker = local(&config);
    // As many as it likes.
    let mut sockets = Vec::new();
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"] {
        let mut socket = accepted(&worker).await;
        socket.write_all(header).await.unwrap();
        let own = socket.local_addr().unwrap();
        assert_eq!(asks(&mut socket).await, own.to_string());
        sockets.push(socket);
    }
    assert_eq!(worker.0.life().refused(), 0);
}

#[tokio::test]
async fn a_connection_is_parked_before_its_header() {
    let worker = local(&Config::default());
    let mut socket = accepted(&worker).await;
    is_parked(&worker.0).await;
    socket.write_all(LINE).await.unwrap();
    assert_eq!(asks(&mut socket).await, "192.0.2.1:49152");
}

#[tokio::test]
async fn who_may_not_send_a_header_is_closed_at_once() {
    let worker = worker("192.0.2.0/24", &Config::default());
    let mut socket = accepted(&worker).await;
    assert!(is_closed(&mut socket).await);
    worker.0.begin_drain();
    worker.0.life().all_closed().await;
}

#[tokio::test]
async fn a_connection_without_a_header_is_closed() {
    let worker = local(&Config::default());
    for beginning in [REQUEST, b"PROXY TCP4 192.0.2.1\r\n", b"PROXY UNKNOWN\nGET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        let mut socket = accepted(&worker).await;
        socket.write_all(beginning).await.unwrap();
        assert!(is_closed(&mut socket).await, "{beginning:?}");
    }
    // Half of one.
    let mut socket = accepted(&worker).await;
    socket.write_all(&LINE[..20]).await.unwrap();
    socket.shutdown().await.unwrap();
    assert!(is_closed(&mut socket).await);
}

#[tokio::test]
async fn a_header_that_does_not_go_on_ends_after_a_while() {
    let mut config = Config::default();
    config.timeouts.read = Duration::from_millis(20);
    let worker = local(&config);
    let mut socket = accepted(&worker).await;
    socket.write_all(&LINE[..1]).await.unwrap();
    assert!(is_closed(&mut socket).await);
}

#[tokio::test]
async fn a_client_has_as_many_connections_as_it_may_have_behind_a_proxy_too() {
    let mut config = Config::default();
    config.limits.connections_per_client = Some(1);
    let worker = local(&config);
    let mut first = accepted(&worker).await;
    first.write_all(LINE).await.unwrap();
    asks(&mut first).await;
    let mut second = accepted(&worker).await;
    second.write_all(LINE).await.unwrap();
    assert!(is_closed(&mut second).await);
    assert_eq!(worker.0.life().refused(), 1);
    let mut other = accepted(&worker).await;
    other.write_all(b"PROXY TCP6 2001:db8::1 ::2 49152 80\r\n").await.unwrap();
    assert_eq!(asks(&mut other).await, "[2001:db8::1]:49152");
}
