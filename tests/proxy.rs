//! Connections behind a balancer of TCP: a PROXY header tells the client's address, which then counts everywhere, over restarts, too.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use harness::{Address, Builder, Client, Failure, Scrape, eventually, fixture, free_port, supervisor, times};

/// A listener behind balancers in this network, with these settings besides.
fn behind(builder: Builder, name: &str, network: &str, more: &str) -> Builder {
    builder.set("soak = \"0s\"").section(&format!(
        "[[supervisor.listen]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"{network}\"]\n{more}"
    ))
}

fn line(client: &str) -> String {
    format!("PROXY TCP4 {client} 10.0.0.1 4711 80\r\n")
}

/// A header of version 2 that tells [2001:db8::7]:4711.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    for address in ["2001:db8::7", "2001:db8::1"] {
        header.extend_from_slice(&address.parse::<std::net::Ipv6Addr>().unwrap().octets());
    }
    header.extend_from_slice(&[4711_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat());
    header
}

/// A connection that begins with these bytes.
fn open(address: &Address, header: &[u8]) -> Client {
    let mut client = Client::connect(address).unwrap();
    client.send(header).unwrap();
    client
}

/// The client's address as the worker knows it.
fn peer(client: &mut Client) -> String {
    let answer = client.get("/peer").unwrap();
    assert!(answer.status == 200 && !answer.closes(), "{answer:?}");
    String::from_utf8(answer.body).unwrap()
}

/// Asserts that a connection that begins with these bytes is closed without an answer.
fn assert_refused(address: &Address, bytes: &[u8]) {
    let mut client = Client::connect(address).unwrap();
    // It may be closed before they are out.
    let _ = client.send(bytes);
    match client.until_closed() {
        Ok(heard) => assert_eq!(heard, b""),
        Err(failure) => assert_eq!(failure, Failure::Reset),
    }
}

/// HAProxy, which passes connections on with a header.
struct HaProxy(Child);

impl HaProxy {
    /// Starts it before these listeners of ours, each with a port of its own.
    fn start(dir: &Path, before: &[(u16, SocketAddr)]) -> Self {
        let mut text = "defaults\nmode tcp\ntimeout connect 10s\ntimeout client 300s\ntimeout server 300s\n".to_owned();
        for (port, ours) in before {
            text.push_str(&format!("listen at-{port}\nbind 127.0.0.1:{port}\nserver shop {ours} send-proxy-v2\n"));
        }
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        Self(Command::new("/usr/sbin/haproxy").args(["-db", "-f"]).arg(file).spawn().unwrap())
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tcp(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        other @ (Address::Unix(_) | Address::Https(_)) => panic!("no TCP alone: {other:?}"),
    }
}

#[test]
fn a_client_keeps_the_address_of_its_header_over_restarts() {
    let gin = behind(supervisor().workers(2).ours("one", "ok"), "balanced", "127.0.0.0/8", "").start();
    let address = gin.listener("balanced");
    let (first, second) = ("192.0.2.7:4711", "[2001:db8::7]:4711");
    let mut clients = [(open(&address, line("192.0.2.7").as_bytes()), first), (open(&address, &binary()), second)];
    // Of one no more than the header has come, and of another nothing.
    let mut header_alone = open(&address, line("192.0.2.7").as_bytes());
    let mut silent = Client::connect(&address).unwrap();
    let mut are_known = || clients.iter_mut().for_each(|(client, told)| assert_eq!(peer(client), *told));
    let restarts = times(10, 50);
    for _ in 0..restarts {
        are_known();
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["finished=0 closed=0 cut=0"]);
    }
    are_known();
    assert_eq!(peer(&mut header_alone), first);
    silent.send(&binary()).unwrap();
    assert_eq!(peer(&mut silent), second);
    let json: serde_json::Value = serde_json::from_str(&gin.ctl(&["--json", "status"]).out).unwrap();
    let of_http1 = &json["connections"]["by_protocol"]["http1"]["handed_over"];
    assert_eq!(of_http1.as_u64(), Some(2 * restarts as u64), "{json}");
    gin.until_log("handed over (http1 ");
    drop((clients, header_alone, silent));
    gin.stop();
}

#[test]
fn limits_and_the_log_go_by_the_address_of_the_header() {
    let limits = "[limits]\nconnections_per_client = 2\n[rate_limit]\nenable = true\nrate = 3\nwindow = \"10h\"";
    let gin = behind(supervisor().workers(1), "balanced", "127.0.0.0/8", limits).start();
    let address = gin.listener("balanced");
    let from = |client: &str| open(&address, line(client).as_bytes());
    let asks = |client: &mut Client| client.get("/").unwrap().status;
    let (mut one, mut two) = (from("192.0.2.7"), from("192.0.2.7"));
    assert_eq!((asks(&mut one), asks(&mut two)), (200, 200));
    assert_refused(&address, line("192.0.2.7").as_bytes());
    let mut other = from("192.0.2.8");
    assert_eq!(asks(&mut other), 200);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["handed_over=3 "]);
    assert_refused(&address, line("192.0.2.7").as_bytes());
    assert_eq!((asks(&mut one), asks(&mut two), asks(&mut other)), (200, 429, 200));
    gin.until_log("192.0.2.7");
    gin.until_log("192.0.2.8");
    drop((one, two, other));
    gin.stop();
}

#[test]
fn connections_without_a_header_of_the_balancers_are_closed_and_counted() {
    let with_two = behind(supervisor().workers(1), "balanced", "127.0.0.0/8", "");
    let elsewhere =
        "[[supervisor.listen]]\nname = \"elsewhere\"\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"192.0.2.0/24\"]";
    let gin = with_two.section(elsewhere).start();
    let (header, request) = (line("192.0.2.7"), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for bytes in [header.as_str(), request, ""] {
        assert_refused(&gin.listener("elsewhere"), bytes.as_bytes());
    }
    for bytes in [request, "PROXY TCP4 192.0.2.7\r\n"] {
        assert_refused(&gin.listener("balanced"), bytes.as_bytes());
    }
    let scrape = Scrape::of(&Address::Unix(gin.socket()), "/v1/metrics").unwrap();
    let refused = |reason| scrape.value("gin_server_proxy_refused_total", &[("reason", reason)]);
    assert_eq!((refused("untrusted"), refused("invalid"), refused("late")), (3.0, 2.0, 0.0));
    // Other listeners ask for none.
    assert_eq!(gin.get("/").status, 200);
    gin.stop();
}

#[test]
fn clients_behind_haproxy_are_known_over_restarts_and_over_tls() {
    let pair = ["server.pem", "server.key"].map(|file| fixture("tls").join(file));
    let with_tls = format!("tls = {{ cert_file = {:?}, key_file = {:?} }}", pair[0], pair[1]);
    let builder = behind(supervisor().workers(2).ours("one", "ok"), "balanced", "127.0.0.0/8", "");
    let second =
        "[[supervisor.listen]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.0/8\"]";
    let gin = builder.section(&format!("{second}\n{with_tls}")).start();
    let (port, secure) = (free_port(), free_port());
    let before = [(port, tcp(&gin.listener("balanced"))), (secure, tcp(&gin.listener("secure")))];
    let haproxy = HaProxy::start(gin.dir(), &before);
    let address = Address::from(format!("127.0.0.1:{port}").as_str());
    // HAProxy does not say when it listens.
    let mut client = eventually("HAProxy listens", || Client::connect(&address), Result::is_ok).unwrap();
    let known = format!("127.0.0.1:{}", client.port().expect("over TCP"));
    let authority = fixture("tls").join("ca.pem");
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", " 127.0.0.1:%{local_port}", "--cacert"]).arg(&authority);
        let output = curl.arg(format!("https://localhost:{secure}/peer")).args(["--resolve"]);
        let output = output.arg(format!("localhost:{secure}:127.0.0.1")).output().unwrap();
        let told = str::from_utf8(&output.stdout).unwrap();
        let (peer, own) = told.split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!(peer, own, "{output:?}");
    };
    for _ in 0..times(10, 50) {
        assert_eq!(peer(&mut client), known);
        curl();
        gin.ctl(&["restart", "--wait-drained"]).assert(0, &["cut=0"]);
    }
    assert_eq!(peer(&mut client), known);
    curl();
    drop((client, haproxy));
    gin.stop();
}
