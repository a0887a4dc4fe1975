//! A server and a client of TLS in one process, with the certificates of `tests/fixtures/tls`.

use std::path::PathBuf;
use std::sync::Arc;

use gin_shared::config::listen::{PairFiles, TlsSettings, Versions};
use gin_shared::tls::material::{Authority, Material, Pair, Secret, VERSION};
use s2n_tls::config::{Builder, Config};
use s2n_tls::enums::ClientAuthType;
use s2n_tls::error::Error;
use s2n_tls::security::Policy;
use s2n_tls_tokio::TlsConnector;
use tokio::net::{TcpListener, TcpStream};

use super::facts::TlsFacts;
use super::handshake::HandshakeError;
use super::profile::Profile;
use super::stream::TlsStream;
use crate::connections::ListenerFacts;

/// A client's connection.
pub(crate) type Client = s2n_tls_tokio::TlsStream<TcpStream>;

/// Policy of a client that speaks TLS 1.2 alone, and of one that speaks 1.3, too.
pub(crate) const CLIENTS: [&str; 2] = ["20240501", "20251014"];

/// Contents of a file.
pub(crate) fn fixture(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tls/");
    std::fs::read_to_string(format!("{dir}{name}")).unwrap()
}

pub(crate) fn files(name: &str) -> PairFiles {
    PairFiles { cert: format!("/tls/{name}.pem").into(), key: format!("/tls/{name}.key").into() }
}

/// A pair of these names, as it would be read from files.
pub(crate) fn pair(cert: &str, key: &str) -> Pair {
    let key = Secret::new(fixture(&format!("{key}.key")).into_bytes());
    Pair { files: files(cert), chain: fixture(&format!("{cert}.pem")), key }
}

/// Material of these pairs, with the authority of the tests at `/tls/ca.pem`.
pub(crate) fn material(number: u64, pairs: Vec<Pair>) -> Material {
    let authorities = vec![Authority { file: authority(), pem: fixture("ca.pem") }];
    Material { version: VERSION, number, pairs, authorities, tickets: Vec::new(), ticket_secret: None }
}

pub(crate) fn authority() -> PathBuf {
    "/tls/ca.pem".into()
}

/// Settings of a listener with these pairs.
pub(crate) fn settings(names: &[&str]) -> TlsSettings {
    let pairs = names.iter().map(|name| files(name)).collect();
    let alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
    TlsSettings { pairs, versions: Versions::From12, alpn, client: None, tickets: true }
}

pub(crate) fn listener(settings: TlsSettings) -> Arc<ListenerFacts> {
    Arc::new(ListenerFacts { tls: Some(Profile::new(settings)), ..ListenerFacts::named("https") })
}

/// A client that believes the authority of the tests.
pub(crate) fn client(policy: &str) -> Builder {
    let mut builder = Builder::new();
    builder
        .with_system_certs(false)
        .and_then(|builder| builder.set_security_policy(&Policy::from_version(policy)?))
        .and_then(|builder| builder.trust_pem(fixture("ca.pem").as_bytes()))
        .and_then(|builder| builder.set_client_auth_type(ClientAuthType::Optional))
        .unwrap();
    builder
}

/// Both sides of a handshake with the server of this name.
pub(crate) async fn connect(
    server: &Config,
    client: Builder,
    name: &str,
) -> (Result<(TlsStream, TlsFacts), HandshakeError>, Result<Client, Error>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let connector = TlsConnector::new(client.build().unwrap());
    tokio::join!(TlsStream::accept(accepted, server), connector.connect(name, socket))
}
