use gin_shared::config::listen::{ClientAuth, TlsSettings, Versions};
use gin_shared::tls::certificate::Facts;
use gin_shared::tls::material::Authority;
use s2n_tls::callbacks::VerifyHostNameCallback;
use s2n_tls::config::Builder;

use super::*;
use crate::tls::facts::{TlsFacts, TlsVersion};
use crate::tls::test_pair::{
    CLIENTS, Client, authority, client, connect, files, fixture, listener, material, pair, settings,
};

struct AnyName;

impl VerifyHostNameCallback for AnyName {
    fn verify_host_name(&self, _: &str) -> bool {
        true
    }
}

fn both() -> Material {
    material(1, vec![pair("server", "server"), pair("other", "other"), pair("rsa", "rsa")])
}

/// A handshake of this client with a listener of these settings.
async fn handshake(settings: TlsSettings, client: Builder, name: &str) -> Result<(TlsFacts, Client), String> {
    let listener = listener(settings);
    let context = TlsContext::make(&[Arc::clone(&listener)], &both()).unwrap();
    let (server, client) = connect(&context.of(&listener).unwrap(), client, name).await;
    let (_, facts) = server.map_err(|error| error.to_string())?;
    Ok((facts, client.map_err(|error| error.name().to_owned())?))
}

fn names(client: &Client) -> Vec<String> {
    let connection: &s2n_tls::connection::Connection = client.as_ref();
    let chain = connection.peer_cert_chain().unwrap();
    let first = chain.iter().next().unwrap().unwrap();
    Facts::of_der(first.der().unwrap()).unwrap().names
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let shown = [
        ("localhost", "localhost"),
        ("a.wild.test", "*.wild.test"),
        ("exact.wild.test", "exact.wild.test"),
        ("other.test", "other.test"),
        ("nobody.test", "localhost"),
    ];
    for (asked, name) in shown {
        let mut client = client(CLIENTS[1]);
        client.set_verify_host_callback(AnyName).unwrap();
        let (facts, client) = handshake(settings(&["server", "other"]), client, asked).await.unwrap();
        assert!(names(&client).contains(&name.to_owned()), "{asked}: {:?}", names(&client));
        assert_eq!(facts.server_name.as_deref(), Some(asked));
    }
}

#[tokio::test]
async fn versions_and_protocols_are_those_of_the_listener() {
    for (policy, version) in CLIENTS.into_iter().zip([TlsVersion::Tls12, TlsVersion::Tls13]) {
        for pair in ["server", "rsa"] {
            let mut client = client(policy);
            client.set_application_protocol_preference(["http/1.1", "h2"]).unwrap();
            let (facts, _) = handshake(settings(&[pair]), client, "localhost").await.unwrap();
            assert_eq!((facts.version, facts.protocol.as_deref(), facts.resumed), (version, Some("h2"), false));
        }
    }
    let only_13 = || TlsSettings { versions: Versions::Only13, ..settings(&["server"]) };
    let (facts, _) = handshake(only_13(), client(CLIENTS[1]), "localhost").await.unwrap();
    assert_eq!((facts.version, facts.protocol), (TlsVersion::Tls13, None));
    handshake(only_13(), client(CLIENTS[0]), "localhost").await.unwrap_err();
}

#[tokio::test]
async fn a_client_certificate_counts_by_its_chain() {
    let with = |auth| TlsSettings { client: Some((authority(), auth)), ..settings(&["server"]) };
    let known = |policy| {
        let mut client = client(policy);
        client.load_pem(fixture("client.pem").as_bytes(), fixture("client.key").as_bytes()).unwrap();
        client
    };
    for policy in CLIENTS {
        for auth in [ClientAuth::Optional, ClientAuth::Required] {
            let (facts, _) = handshake(with(auth), known(policy), "localhost").await.unwrap();
            let shown = facts.client.unwrap();
            assert!(shown.subject.contains("client-7") && shown.names == ["client7.test"], "{shown:?}");
        }
        let (facts, _) = handshake(with(ClientAuth::Optional), client(policy), "localhost").await.unwrap();
        assert!(facts.client.is_none());
        handshake(with(ClientAuth::Required), client(policy), "localhost").await.unwrap_err();
        // Nobody asks for it.
        let (facts, _) = handshake(settings(&["server"]), known(policy), "localhost").await.unwrap();
        assert!(facts.client.is_none());
    }
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_is_refused() {
    let listener = listener(TlsSettings { client: Some((authority(), ClientAuth::Optional)), ..settings(&["server"]) });
    let another = vec![Authority { file: authority(), pem: fixture("other.pem") }];
    let context = TlsContext::make(&[Arc::clone(&listener)], &Material { authorities: another, ..both() }).unwrap();
    let mut client = client(CLIENTS[1]);
    client.load_pem(fixture("client.pem").as_bytes(), fixture("client.key").as_bytes()).unwrap();
    let (server, _) = connect(&context.of(&listener).unwrap(), client, "localhost").await;
    server.unwrap_err();
}

#[test]
fn certificates_are_replaced_all_or_not_at_all() {
    let two = listener(settings(&["server", "other"]));
    let context = TlsContext::make(&[Arc::clone(&two)], &both()).unwrap();
    let before = context.of(&two);
    let refused = |material| context.replace(&material).unwrap_err().to_string();
    let missing = refused(material(2, vec![pair("server", "server")]));
    assert!(missing.starts_with("/tls/other.pem with the key /tls/other.key: "), "{missing}");
    let mismatch = refused(material(3, vec![pair("server", "server"), pair("other", "mismatch")]));
    assert!(mismatch.ends_with("the key is another certificate's"), "{mismatch}");
    assert_eq!((context.number(), context.of(&two)), (1, before));
    context.replace(&Material { number: 4, ..both() }).unwrap();
    assert_eq!(context.number(), 4);
}

#[test]
fn a_start_fails_without_a_pair_or_an_authority() {
    let make = |settings, material| TlsContext::make(&[listener(settings)], &material).unwrap_err();
    assert!(matches!(make(settings(&["expired"]), both()), TlsError::Missing(missing) if missing == files("expired")));
    let mutual = TlsSettings { client: Some(("/tls/no.pem".into(), ClientAuth::Required)), ..settings(&["server"]) };
    assert!(matches!(make(mutual, both()), TlsError::Authority { .. }));
}

#[test]
fn listeners_with_the_same_settings_share_a_configuration() {
    let (one, two) = (listener(settings(&["server"])), listener(settings(&["server"])));
    let other = listener(settings(&["other"]));
    let all = [Arc::clone(&one), Arc::clone(&two), Arc::clone(&other)];
    let context = TlsContext::make(&all, &both()).unwrap();
    assert!(context.of(&one) == context.of(&two) && context.of(&one) != context.of(&other));
    assert!(context.of(&ListenerFacts::named("http")).is_none());
    assert!(TlsContext::none().of(&one).is_none() && TlsContext::none().taken().is_ok());
}
