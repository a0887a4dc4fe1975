//! Client certificates: who needs one, what handlers and the log are told of it, also after the connection has gone to another worker.

use harness::{Builder, Client, Https, Supervisor, VERSIONS, supervisor, tls_file};
use serde_json::Value;

use super::{connect, of_each_version, settled};
use crate::handover::until_new;

/// A supervisor whose listener asks for certificates of this authority.
fn asking(mode: &str, auth: &str, authority: &str) -> Builder {
    let authority = tls_file(authority);
    let builder = supervisor().ours("one", mode).https().set("soak = \"0s\"");
    builder.security(&format!("client_ca_file = {authority:?}")).security(&format!("client_auth = {auth:?}"))
}

/// Clients with the certificate of `client-7`, one of each version.
fn known(gin: &Supervisor) -> [Https; 2] {
    VERSIONS.map(|version| Https::with(gin.https_socket(), &[version], Some("client")))
}

/// With TLS 1.3 a client hears of its refusal after the handshake.
fn is_served(https: &Https) -> bool {
    connect(https).and_then(|mut client| client.get("/tls")).is_ok_and(|answer| answer.status == 200)
}

#[test]
fn the_name_in_a_certificate_goes_with_the_connection() {
    let gin = asking("ok", "required", "ca.pem").start();
    for mut client in known(&gin).iter().flat_map(of_each_version) {
        let told = settled(&mut client);
        assert_eq!(told["client"], "client7.test", "{told}");
        for _ in 0..2 {
            gin.restart();
            until_new(&gin, &mut client);
            assert_eq!(settled(&mut client), told);
        }
    }
    gin.stop();
}

#[test]
fn a_client_without_a_certificate_of_the_right_authority_is_refused_where_it_needs_one() {
    for (auth, authority, without, with) in [
        ("required", "ca.pem", false, true),
        ("required", "other.pem", false, false),
        ("optional", "ca.pem", true, true),
        ("none", "ca.pem", true, true),
    ] {
        let gin = asking("ok", auth, authority).start();
        for version in VERSIONS {
            let of = |name: Option<&str>| Https::with(gin.https_socket(), &[version], name);
            assert_eq!(is_served(&of(None)), without, "{auth} {authority}");
            assert_eq!(is_served(&of(Some("client"))), with, "{auth} {authority}");
        }
        gin.stop();
    }
}

#[test]
fn who_may_come_without_a_certificate_has_no_name() {
    let gin = asking("ok", "optional", "ca.pem").start();
    let mut client = Client::connect(&gin.https()).unwrap();
    assert_eq!(settled(&mut client)["client"], Value::Null);
    gin.restart();
    until_new(&gin, &mut client);
    assert_eq!(settled(&mut client)["client"], Value::Null);
    drop(client);
    gin.stop();
}

#[test]
fn the_access_log_has_the_version_and_the_name() {
    let gin = asking("logged", "required", "ca.pem").start();
    for (https, version) in known(&gin).iter().zip(["1.2", "1.3"]) {
        let mut client = connect(https).unwrap();
        assert_eq!(client.get("/").unwrap().status, 200);
        let lines = || {
            let log = gin.log();
            let of_json = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            of_json.filter(|line| line["tls"] == version && line["client_name"] == "client7.test").count()
        };
        harness::on_change(&gin.dir().join("log"), "the log has the request", lines, |count| *count == 1);
        gin.restart();
        until_new(&gin, &mut client);
        // Each answer of the new worker is one more.
        harness::on_change(&gin.dir().join("log"), "the log has the later ones", lines, |count| *count >= 2);
    }
    gin.stop();
}
