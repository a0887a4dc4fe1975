//! HTTPS: a connection over TLS goes to the next worker as a cleartext one does, and its client cannot tell.

mod attacks;
mod deaths;
mod mutual;
mod others;
mod secrets;
mod tickets;

use std::io::Write;
use std::net::TcpStream;

use harness::{
    Address, Asker, Builder, Client, Connection, Endpoint, Failure, Https, Load, PATIENCE, Secure, Supervisor, Talk,
    VERSIONS, certificate, supervisor, times, tls_file,
};
use serde_json::Value;

use crate::handover::{
    a_head_is_sent_byte_by_byte, asks, assert_kept, nothing_closes, until_new, what_is_under_way_ends,
};

/// One worker that speaks TLS, too.
pub fn with_https() -> Builder {
    supervisor().ours("one", "ok").https().set("soak = \"0s\"")
}

/// The listener that speaks TLS, for a client of each version.
fn clients(gin: &Supervisor) -> [Https; 2] {
    VERSIONS.map(|version| Https::with(gin.https_socket(), &[version], None))
}

/// Its addresses for clients of HTTP/1.1.
pub fn addresses(gin: &Supervisor) -> [Address; 2] {
    clients(gin).map(Address::from)
}

/// The places where HTTP is spoken: in cleartext, and over either version of TLS.
pub fn everywhere(gin: &Supervisor) -> [Address; 3] {
    let [older, newer] = addresses(gin);
    [gin.tcp(), older, newer]
}

fn connect(https: &Https) -> Result<Client, Failure> {
    Client::connect(&https.clone().into())
}

/// A client of HTTP/1.1, and one of HTTP/2.
fn of_each_version(https: &Https) -> [Connection; 2] {
    let address = Address::from(https.clone());
    [Endpoint::from(address.clone()), Endpoint::http2(address)].map(|endpoint| Connection::open(&endpoint).unwrap())
}

/// What the worker knows of the handshake, without its own PID.
fn settled(client: &mut impl Asker) -> Value {
    let mut told = client.fetch("/tls").unwrap().json();
    told.as_object_mut().unwrap().remove("pid");
    told
}

#[test]
fn restarts_close_no_connection_over_tls_and_no_websocket() {
    let gin = with_https().workers(2).start();
    let addresses = addresses(&gin);
    let load = Load::new().mixed(&addresses[0], 16, 16).mixed(&addresses[1], 16, 16);
    let mut talks: Vec<Talk> = (0..64).map(|number| Talk::open(&addresses[number % 2]).unwrap()).collect();
    for _ in 0..times(10, 100) {
        load.flows(200);
        gin.restart();
        for talk in &mut talks {
            asks(talk);
        }
    }
    load.flows(200);
    assert_kept(load, &gin);
    for talk in &mut talks {
        until_new(&gin, talk);
    }
    drop(talks);
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["step=drained"]);
    gin.assert_sound();
    gin.stop();
}

#[test]
fn connections_that_rest_go_over_whether_they_have_spoken_shaken_hands_or_neither() {
    let gin = with_https().section("[limits]\nconnections = 12000").start();
    let [older, newer] = clients(&gin);
    let count = times(100, 1000);
    let all = [&older, &newer].into_iter().cycle().take(2 * count);
    let mut clients: Vec<Client> = all.map(|https| connect(https).unwrap()).collect();
    // As browsers open them ahead: nothing of theirs has come, not even a handshake.
    let ahead: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(gin.https_socket()).unwrap()).collect();
    // The first half has shaken hands alone.
    for client in &mut clients[count..] {
        asks(client);
    }
    // Who is answered on a connection made later knows that all before it were accepted.
    let mut last = connect(&newer).unwrap();
    asks(&mut last);
    clients.push(last);
    for _ in 0..3 {
        let said = gin.ctl(&["restart", "--wait-drained"]);
        said.assert(0, &[&format!("step=drained handed_over={} finished=0 closed=0 cut=0", 3 * count + 1)]);
        assert!(clients.iter().all(|client| !client.is_closed()));
    }
    let late = ahead.into_iter().zip([&older, &newer].into_iter().cycle()).map(|(socket, https)| {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client::secured(Secure::finish(https.handshake(), socket)).unwrap()
    });
    clients.extend(late);
    let workers = gin.workers();
    for client in &mut clients {
        let pid = asks(client);
        assert!(i32::try_from(pid).is_ok_and(|pid| workers.contains(&pid)), "{pid} of {workers:?}");
    }
    drop(clients);
    gin.stop();
}

#[test]
fn a_handshake_that_has_begun_is_ended_over_a_restart() {
    for version in VERSIONS {
        let gin = with_https().start();
        let https = Https::with(gin.https_socket(), &[version], None);
        let mut connection = https.handshake();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        let (begun, rest) = hello.split_at(hello.len() / 2);
        let mut socket = TcpStream::connect(https.socket()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(begun).unwrap();
        // Accepted later, so this one is accepted, too.
        asks(&mut connect(&https).unwrap());
        gin.restart();
        socket.write_all(rest).unwrap();
        let mut client = Client::secured(Secure::finish(connection, socket)).unwrap();
        asks(&mut client);
        until_new(&gin, &mut client);
        drop(client);
        gin.stop();
    }
}

#[test]
fn what_a_handshake_has_settled_goes_with_its_connection() {
    let gin = with_https().start();
    for (https, version) in clients(&gin).iter().zip(["1.2", "1.3"]) {
        for (mut client, protocol) in of_each_version(https).into_iter().zip(["http/1.1", "h2"]) {
            let told = settled(&mut client);
            for (key, value) in [("version", version), ("server_name", "localhost"), ("protocol", protocol)] {
                assert_eq!(told[key], value, "{told}");
            }
            assert!(told["resumed"] == false && told["client"].is_null(), "{told}");
            for _ in 0..2 {
                gin.restart();
                until_new(&gin, &mut client);
                assert_eq!(settled(&mut client), told);
            }
        }
    }
    // Cleartext has none of it.
    let told = gin.get("/tls").json();
    assert!(told["version"].is_null() && told["resumed"].is_null(), "{told}");
    gin.stop();
}

#[test]
fn a_certificate_is_chosen_by_the_host_that_a_client_names() {
    let [cert, key] = ["other.pem", "other.key"].map(tls_file);
    let gin =
        with_https().security(&format!("certificates = [{{ cert_file = {cert:?}, key_file = {key:?} }}]")).start();
    for https in clients(&gin) {
        for (host, name) in [
            ("localhost", "server"),
            ("other.test", "other"),
            ("a.wild.test", "server"),
            // An exact name goes before a wildcard.
            ("exact.wild.test", "other"),
            // A client that asks for an address names no host: it is shown the first one.
            ("127.0.0.1", "server"),
        ] {
            let mut client = connect(&https.clone().host(host)).unwrap_or_else(|failure| panic!("{host}: {failure:?}"));
            assert_eq!(client.tls().shown(), certificate(name), "{host}");
            asks(&mut client);
        }
    }
    gin.stop();
}

#[test]
fn every_tcp_listener_speaks_tls_where_the_configuration_says_so_and_only_newer_versions_if_it_does() {
    let gin = with_https().and_unix().security("enable_https = true\ntls_versions = [\"1.3\"]").start();
    let Address::Tcp(usual) = gin.tcp() else { panic!("TCP") };
    let [older, newer] = clients(&gin);
    for address in [usual, gin.https_socket()] {
        asks(&mut connect(&newer.clone().moved_to(address)).unwrap());
        connect(&older.clone().moved_to(address)).unwrap_err();
    }
    // Nobody reads along on a Unix socket.
    asks(&mut Client::connect(&gin.unix()).unwrap());
    gin.stop();
}

#[test]
fn cleartext_is_redirected_and_browsers_hear_that_they_are_to_keep_to_tls() {
    let redirect = "[[supervisor.listen]]\nname = \"http\"\naddress = \"127.0.0.1:0\"\nredirect = \"https:8443\"\n";
    let gin = supervisor().ours("one", "service").without_listener().https().section(redirect).start();
    let mut client = Client::connect(&gin.tcp()).unwrap();
    let answer = client.get("/a?b=c").unwrap();
    assert_eq!((answer.status, answer.headers["location"].as_str()), (308, "https://x:8443/a?b=c"));
    assert!(!answer.headers.contains_key("strict-transport-security"));
    for address in addresses(&gin) {
        let answer = Client::connect(&address).unwrap().get("/").unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000; includeSubDomains");
    }
    gin.stop();
}

#[test]
fn a_head_sent_byte_by_byte_over_tls_and_three_restarts_is_answered() {
    let gin = with_https().start();
    let addresses = addresses(&gin);
    a_head_is_sent_byte_by_byte(gin, addresses);
}

#[test]
fn what_is_under_way_over_tls_ends_where_it_began_and_its_connection_goes_on() {
    for number in 0..VERSIONS.len() {
        let gin = with_https().start();
        let address = addresses(&gin)[number].clone();
        what_is_under_way_ends(gin, &address);
    }
}

#[test]
fn replacement_rollback_upgrade_in_place_and_adoption_close_nothing_over_tls_either() {
    let gin = with_https().workers(2).start();
    let [older, newer] = addresses(&gin);
    let load = Load::new().mixed(&older, 8, 2).mixed(&newer, 8, 2);
    nothing_closes(gin, load);
}
