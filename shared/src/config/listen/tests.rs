//! Settings of listeners, and errors of a configuration with their places.

use std::path::Path;

use super::*;
use crate::config::tree::{self, Entry, Value};

type Listeners = Vec<(String, ListenSettings)>;

fn entries<'a>(all: &'a [Entry], name: &str) -> &'a [Entry] {
    match all.iter().find(|entry| entry.key == name).map(|entry| &entry.node.value) {
        Some(Value::Table(entries)) => entries,
        _ => &[],
    }
}

/// The listeners, the default, and what is wrong.
fn read_all(text: &str) -> (Listeners, ListenSettings, Vec<String>) {
    let path = Path::new("shop.toml");
    let all = tree::parse(path, text).unwrap();
    let problems = Problems::new(path);
    let security = Section::new("security", entries(&all, "security"), &problems);
    let supervisor = Section::new("supervisor", entries(&all, "supervisor"), &problems);
    let tables = supervisor.tables("listen");
    let listeners = read(&security, tables.as_deref(), &problems);
    let default = if tables.is_some() { default_beside_tables(&security) } else { default_for(&security) };
    (listeners, default, problems.into_vec().iter().map(ToString::to_string).collect())
}

fn good(text: &str) -> (Listeners, ListenSettings) {
    let (listeners, default, problems) = read_all(text);
    assert_eq!(problems, [""; 0], "{text}");
    (listeners, default)
}

fn files(name: &str) -> PairFiles {
    PairFiles { cert: format!("/{name}.pem").into(), key: format!("/{name}.key").into() }
}

const PAIR: &str = "cert_file = \"/a.pem\"\nkey_file = \"/a.key\"\n";
const HTTPS: &str = "[[supervisor.listen]]\nname = \"https\"\naddress = \":443\"\ntls = true\n";

#[test]
fn without_a_word_nothing_speaks_tls() {
    let (listeners, default) = good("[[supervisor.listen]]\naddress = \":80\"\n");
    assert_eq!(listeners, [("http".to_owned(), ListenSettings::default())]);
    assert_eq!(default, ListenSettings::default());
}

#[test]
fn enable_https_is_for_each_tcp_listener_that_says_nothing_else() {
    let text = format!(
        "[security]\nenable_https = true\n{PAIR}\
         [[supervisor.listen]]\nname = \"a\"\naddress = \":443\"\n\
         [[supervisor.listen]]\nname = \"b\"\naddress = \":80\"\nredirect = \"https\"\n\
         [[supervisor.listen]]\nname = \"c\"\naddress = \":81\"\ntls = false\n\
         [[supervisor.listen]]\nname = \"d\"\naddress = \"unix:/run/d\"\n\
         [[supervisor.listen]]\nname = \"e\"\naddress = \"udp:127.0.0.1:53\"\n"
    );
    let (listeners, default) = good(&text);
    let tls: Vec<bool> = listeners.iter().map(|(_, settings)| settings.tls.is_some()).collect();
    assert_eq!(tls, [true, false, false, false, false]);
    assert_eq!(listeners[1].1.redirect, Some(Redirect { port: None }));
    let expected = TlsSettings {
        pairs: vec![files("a")],
        versions: Versions::From12,
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        client: None,
        tickets: true,
    };
    assert_eq!(default.tls.as_ref(), Some(&expected));
    assert_eq!(settings_of("a", &listeners, &default), &default);
    assert_eq!(settings_of("other", &listeners, &default), &default);
    assert_eq!(settings_of("c", &listeners, &default).tls, None);
}

#[test]
fn a_table_says_what_is_different_and_the_rest_is_securitys() {
    let text = format!(
        "[security]\n{PAIR}tls_versions = [\"1.3\"]\nsession_tickets = false\nclient_ca_file = \"/ca.pem\"\n\
         certificates = [{{ cert_file = \"/b.pem\", key_file = \"/b.key\" }}]\n{HTTPS}\
         [[supervisor.listen]]\nname = \"admin\"\naddress = \":444\"\n\
         tls = {{ cert_file = \"/c.pem\", key_file = \"/c.key\", alpn = \"http/1.1\", client_auth = \"required\" }}\n"
    );
    let (listeners, default) = good(&text);
    assert_eq!(default.tls, None);
    let (https, admin) = (listeners[0].1.tls.as_ref().unwrap(), listeners[1].1.tls.as_ref().unwrap());
    assert_eq!((&https.pairs, https.client.as_ref()), (&vec![files("a"), files("b")], None));
    assert_eq!((https.versions, https.tickets), (Versions::Only13, false));
    assert_eq!(admin.pairs, [files("c"), files("b")]);
    assert_eq!(admin.client, Some(("/ca.pem".into(), ClientAuth::Required)));
    assert_eq!((admin.versions, &admin.alpn), (Versions::Only13, &vec!["http/1.1".to_owned()]));
}

#[test]
fn a_table_can_ask_no_client_where_the_others_do() {
    let text = format!(
        "[security]\n{PAIR}client_ca_file = \"/ca.pem\"\nclient_auth = \"optional\"\n{HTTPS}\
         [[supervisor.listen]]\nname = \"open\"\naddress = \":444\"\ntls = {{ client_auth = \"none\" }}\n"
    );
    let (listeners, _) = good(&text);
    assert_eq!(listeners[0].1.tls.as_ref().unwrap().client, Some(("/ca.pem".into(), ClientAuth::Optional)));
    assert_eq!(listeners[1].1.tls.as_ref().unwrap().client, None);
}

#[test]
fn authorities_may_stand_beside_a_word_that_no_client_is_asked() {
    let text = format!("[security]\nenable_https = true\n{PAIR}client_ca_file = \"/ca.pem\"\nclient_auth = \"none\"\n");
    let (_, default) = good(&text);
    assert_eq!(default.tls.unwrap().client, None);
}

#[test]
fn networks_and_redirects_are_read_as_people_write_them() {
    let text = format!(
        "[security]\n{PAIR}{HTTPS}[[supervisor.listen]]\naddress = \":80\"\nredirect = \"https:8443\"\n\
         proxy_protocol = \"10.0.0.0/8, 127.0.0.1, ::1\"\n"
    );
    let (listeners, _) = good(&text);
    let http = &listeners[1].1;
    assert_eq!(http.redirect, Some(Redirect { port: Some(8443) }));
    let networks: Vec<String> = ["10.0.0.0/8", "127.0.0.1/32", "::1/128"].map(str::to_owned).to_vec();
    assert_eq!(http.proxy, Some(networks));
    assert_eq!(parse_redirect("https:443"), Ok(Redirect { port: None }));
    for (text, expected) in [
        ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
        ("::ffff:192.0.2.1", Some("192.0.2.1/32")),
        ("::ffff:0:0/96", Some("0.0.0.0/0")),
        ("::ffff:10.0.0.0/90", None),
        ("::ffff:10.0.0.0/129", None),
        ("10.0.0.0/104", None),
    ] {
        assert_eq!(network(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn each_mistake_is_told_once_with_its_place() {
    let listen = "[[supervisor.listen]]\naddress = \":443\"\n";
    for (text, told) in [
        (
            "[security]\nenable_https = true\n".to_owned(),
            "shop.toml:2: security.cert_file: missing; with enable_https = true it is needed, and key_file",
        ),
        (
            format!("[security]\nenable_https = true\n{listen}"),
            "shop.toml:4: security.cert_file: missing; listener \"http\" speaks TLS; set it and key_file",
        ),
        (
            HTTPS.to_owned(),
            "shop.toml:4: security.cert_file: missing; listener \"https\" speaks TLS; set it and key_file",
        ),
        ("[security]\ncert_file = \"/a.pem\"\n".to_owned(), "shop.toml:2: security.key_file: missing beside cert_file"),
        ("[security]\nkey_file = \"/a.key\"\n".to_owned(), "shop.toml:2: security.cert_file: missing beside key_file"),
        (
            "[security]\nenable_https = true\nkey_file = \"/a.key\"\n".to_owned(),
            "shop.toml:3: security.cert_file: missing beside key_file",
        ),
        (
            format!("[security]\ncert_file = \"/a.pem\"\nkey_file = \"a.key\"\n{HTTPS}"),
            "shop.toml:3: security.key_file: \"a.key\" is not absolute; it would depend on where the supervisor is started",
        ),
        (
            format!("[security]\n{PAIR}{listen}tls = {{ cert_file = \"/b.pem\" }}\n"),
            "shop.toml:6: supervisor.listen.tls.key_file: missing beside cert_file",
        ),
        (
            format!("[security]\n{PAIR}certificates = [{{}}]\n"),
            "shop.toml:4: security.certificates: each needs cert_file and key_file",
        ),
        (
            format!("[security]\n{PAIR}[[supervisor.listen]]\naddress = \"unix:/run/a\"\ntls = true\n"),
            "shop.toml:6: supervisor.listen.tls: only a TCP listener speaks TLS",
        ),
        (
            format!("[security]\n{PAIR}[[supervisor.listen]]\naddress = \"udp::53\"\ntls = {{}}\n"),
            "shop.toml:6: supervisor.listen.tls: only a TCP listener speaks TLS",
        ),
        (
            format!("[security]\n{PAIR}{HTTPS}redirect = \"https\"\n"),
            "shop.toml:8: supervisor.listen.redirect: a listener that speaks TLS redirects nobody to it; take out redirect \
             or tls",
        ),
        (
            format!("{listen}redirect = \"https\"\n"),
            "shop.toml:3: supervisor.listen.redirect: no listener speaks TLS; set tls = true on one, or take this out",
        ),
        (
            format!("[security]\n{PAIR}{HTTPS}{listen}redirect = \"http:80\"\n"),
            "shop.toml:10: supervisor.listen.redirect: \"http:80\" is no redirect; write \"https\" or \"https:8443\"",
        ),
        (
            format!("{listen}proxy_protocol = []\n"),
            "shop.toml:3: supervisor.listen.proxy_protocol: name who may send a PROXY header, or take this out; [] is nobody",
        ),
        (
            format!("{listen}proxy_protocol = \"10.0.0.0/33\"\n"),
            "shop.toml:3: supervisor.listen.proxy_protocol: \"10.0.0.0/33\" is no network; write it as \"10.0.0.0/8\"",
        ),
        (
            "[[supervisor.listen]]\naddress = \"unix:/run/a\"\nproxy_protocol = \"10.0.0.0/8\"\n".to_owned(),
            "shop.toml:3: supervisor.listen.proxy_protocol: only over TCP a client has an address that a proxy could tell",
        ),
        (
            format!("[security]\n{PAIR}tls_versions = [\"1.1\", \"1.2\"]\n"),
            "shop.toml:4: security.tls_versions: write [\"1.2\", \"1.3\"] or [\"1.3\"]",
        ),
        (
            format!("[security]\n{PAIR}alpn = [\"h2\", \"h2\"]\n"),
            "shop.toml:4: security.alpn: write [\"h2\", \"http/1.1\"], or one of the two",
        ),
        (
            format!("[security]\n{PAIR}client_auth = \"required\"\n"),
            "shop.toml:4: security.client_auth: it needs client_ca_file: the authorities that sign client certificates",
        ),
        (
            format!("[security]\nenable_https = true\n{PAIR}client_ca_file = \"/ca.pem\"\n"),
            "shop.toml:5: security.client_ca_file: no client is asked for a certificate; write client_auth = \"required\" \
             or \"optional\" beside it",
        ),
        (
            format!("[security]\n{PAIR}{listen}tls = {{ client_ca_file = \"/ca.pem\" }}\n"),
            "shop.toml:6: supervisor.listen.tls.client_ca_file: no client is asked for a certificate; write client_auth = \
             \"required\" or \"optional\" beside it",
        ),
        (
            format!("[security]\n{PAIR}{listen}tls = {{ cert = \"/b.pem\" }}\n"),
            "shop.toml:6: supervisor.listen.tls.cert: unknown key; did you mean \"cert_file\"?",
        ),
    ] {
        let (_, _, problems) = read_all(&text);
        assert_eq!(problems, [told], "{text}");
    }
}

#[test]
fn the_environment_has_the_same_keys() {
    let (section, keys) = listeners_from_environment();
    assert_eq!((section, keys.len(), keys[0].name), ("supervisor", 1, "listen"));
    let security = security_from_environment();
    assert_eq!(security.len(), SECURITY.len() + OF_MASTER.len());
    assert!(security.iter().all(|(section, keys)| *section == "security" && keys.len() == 1));
    assert!(!security.iter().any(|(_, keys)| keys[0].secret));
}
