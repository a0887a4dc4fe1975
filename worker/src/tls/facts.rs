//! Facts that a handshake has settled, and the arguments of handlers that tell them.
//!
//! They are of our own handshake: nothing is taken from a header. Behind a proxy that speaks TLS for us there are none.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use gin_shared::tls::certificate::{Facts, common_name};
use gin_shared::tls::der::DerError;

use crate::error::{Error, Result};

/// The most names of a client certificate that are kept: they travel with the connection.
const NAMES_MAX: usize = 16;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl TlsVersion {
    /// "1.2" or "1.3".
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    /// The version of this word.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        [Self::Tls12, Self::Tls13].into_iter().find(|version| version.word() == word)
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Facts that a handshake has settled. They last as long as the connection, also in the next worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    pub(crate) version: TlsVersion,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) protocol: Option<Cow<'static, str>>,
    pub(crate) client: Option<Box<ClientCertificate>>,
    pub(crate) resumed: bool,
}

/// A protocol by its name. One that is served takes no memory of each connection.
pub(super) fn protocol(name: &str) -> Cow<'static, str> {
    match name {
        "h2" => Cow::Borrowed("h2"),
        "http/1.1" => Cow::Borrowed("http/1.1"),
        other => Cow::Owned(other.to_owned()),
    }
}

impl TlsFacts {
    /// The version of TLS.
    #[must_use]
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The host that the client has named before the certificate was chosen (SNI). `None`: it named none.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The protocol that was agreed on (ALPN): "h2" or "http/1.1". `None`: the client named none.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// True if HTTP/2 was agreed on.
    pub(crate) fn settles_http2(&self) -> bool {
        self.protocol() == Some("h2")
    }

    /// The certificate that the client has shown. Its authority was verified, and that it had not ended.
    #[must_use]
    pub fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_deref()
    }

    /// True if an earlier session was resumed, without a handshake in full.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }
}

/// The handshake of the request's connection. Over cleartext the answer is 500, and the log tells why; `Option<Tls>` is `None` there.
///
/// ```
/// use gin_worker::Tls;
///
/// async fn version(tls: Option<Tls>) -> String {
///     tls.map_or_else(|| "cleartext".to_owned(), |tls| format!("TLS {} for {:?}", tls.version(), tls.server_name()))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Tls(pub(crate) Arc<TlsFacts>);

impl std::ops::Deref for Tls {
    type Target = TlsFacts;

    fn deref(&self) -> &TlsFacts {
        &self.0
    }
}

/// The certificate that the client has shown (mutual TLS): of a listener with `client_auth`. Without one the answer is 403 with the code
/// `CLIENT_CERTIFICATE`; `Option<ClientCertificate>` is `None` then.
///
/// ```
/// use gin_worker::ClientCertificate;
///
/// async fn who(certificate: ClientCertificate) -> String {
///     format!("{}, until {:?}", certificate.subject, certificate.ends)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// Its holder, as RFC 4514 writes it: `CN=client-7,O=shop`.
    pub subject: String,
    /// Names that it is for: hosts, addresses, e-mail addresses, URIs; 16 at most.
    pub names: Vec<String>,
    /// The authority that has signed it, as RFC 4514 writes it.
    pub issuer: String,
    /// Serial number, in hexadecimal digits.
    pub serial: String,
    /// The moment at which it ends.
    pub ends: SystemTime,
}

impl ClientCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn of_der(bytes: &[u8]) -> Result<Self, DerError> {
        Facts::of_der(bytes).map(Self::of)
    }

    /// What of these facts is kept for as long as the connection lasts.
    pub(crate) fn of(facts: Facts) -> Self {
        let Facts { subject, mut names, issuer_name, serial, ends, .. } = facts;
        names.truncate(NAMES_MAX);
        Self { subject, names, issuer: issuer_name, serial, ends }
    }

    /// The client in one word: the first host or e-mail address, else the holder's common name. `None`: it has neither.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let is_name = |name: &&String| name.parse::<IpAddr>().is_err() && !name.contains("://");
        self.names.iter().find(is_name).cloned().or_else(|| common_name(&self.subject))
    }
}

/// The client in one word, by its certificate: the first host or e-mail address, else the holder's common name. Without a certificate,
/// or without such a name in it, the answer is 403 with the code `CLIENT_CERTIFICATE`; `Option<ClientName>` is `None` then.
///
/// ```
/// use gin_worker::ClientName;
///
/// async fn greet(ClientName(name): ClientName) -> String {
///     format!("hello, {name}")
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(pub String);

fn of(parts: &Parts) -> Option<&Arc<TlsFacts>> {
    parts.extensions.get()
}

fn certificate(parts: &Parts) -> Option<&ClientCertificate> {
    of(parts).and_then(|facts| facts.client())
}

fn missing() -> Error {
    Error::forbidden("a client certificate is needed").code("CLIENT_CERTIFICATE")
}

impl<S: Sync> FromRequestParts<S> for Tls {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let cause = "the handler takes Tls, and the connection is cleartext; take Option<Tls>, or serve the route over TLS alone";
        of(parts).cloned().map(Self).ok_or_else(|| Error::internal(cause))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Tls {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(of(parts).cloned().map(Self))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientCertificate {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        certificate(parts).cloned().ok_or_else(missing)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientCertificate {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(certificate(parts).cloned())
    }
}

impl<S: Sync> FromRequestParts<S> for ClientName {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        certificate(parts).and_then(ClientCertificate::name).map(Self).ok_or_else(missing)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(certificate(parts).and_then(ClientCertificate::name).map(Self))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use axum::http::Request;

    use super::*;

    fn client(subject: &str, names: &[&str]) -> ClientCertificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ClientCertificate {
            subject: subject.to_owned(),
            names,
            issuer: "CN=ca".to_owned(),
            serial: "01".to_owned(),
            ends: UNIX_EPOCH,
        }
    }

    fn parts(facts: Option<TlsFacts>) -> Parts {
        let mut request = Request::new(());
        if let Some(facts) = facts {
            request.extensions_mut().insert(Arc::new(facts));
        }
        request.into_parts().0
    }

    fn facts(client: Option<ClientCertificate>) -> TlsFacts {
        TlsFacts {
            version: TlsVersion::Tls13,
            server_name: Some("shop.test".into()),
            protocol: Some("h2".into()),
            client: client.map(Box::new),
            resumed: false,
        }
    }

    #[test]
    fn a_client_is_named_by_its_first_host_or_address_of_mail() {
        for (subject, names, name) in [
            ("CN=client-7", &["client7.test"][..], Some("client7.test")),
            ("CN=client-7", &["10.0.0.1", "spiffe://a/b", "a@b.test"][..], Some("a@b.test")),
            ("O=a,CN=client-7", &["::1"][..], Some("client-7")),
            ("O=a", &[][..], None),
        ] {
            assert_eq!(client(subject, names).name().as_deref(), name, "{subject} {names:?}");
        }
    }

    #[test]
    fn the_tests_client_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tls/client.pem");
        let text = std::fs::read_to_string(path).unwrap();
        let blocks = gin_shared::tls::pem::blocks(&text).unwrap();
        let client = ClientCertificate::of_der(blocks[0].contents.bytes()).unwrap();
        assert_eq!(client.name().as_deref(), Some("client7.test"));
        assert_eq!(common_name(&client.subject).as_deref(), Some("client-7"));
        let many = Facts { names: vec!["a".to_owned(); 100], ..Facts::of_der(blocks[0].contents.bytes()).unwrap() };
        assert_eq!(ClientCertificate::of(many).names.len(), NAMES_MAX);
    }

    #[test]
    fn protocols_that_are_served_take_no_memory() {
        for (name, is_known) in [("h2", true), ("http/1.1", true), ("h3", false)] {
            let protocol = protocol(name);
            assert_eq!((&*protocol, matches!(protocol, Cow::Borrowed(_))), (name, is_known));
        }
    }

    #[tokio::test]
    async fn handlers_get_what_the_handshake_hsettled_by() {
        let mut mutual = parts(Some(facts(Some(client("CN=client-7", &[])))));
        let tls = <Tls as FromRequestParts<()>>::from_request_parts(&mut mutual, &()).await.unwrap();
        assert_eq!((tls.version().word(), tls.server_name(), tls.protocol()), ("1.3", Some("shop.test"), Some("h2")));
        let name = <ClientName as FromRequestParts<()>>::from_request_parts(&mut mutual, &()).await.unwrap();
        assert_eq!(name, ClientName("client-7".to_owned()));
        let shown = <ClientCertificate as FromRequestParts<()>>::from_request_parts(&mut mutual, &()).await.unwrap();
        assert_eq!(Some(&shown), tls.client());
    }

    #[tokio::test]
    async fn without_a_certificate_a_client_is_refused_and_without_tls_the_handler_is_wrong() {
        let mut without = parts(Some(facts(None)));
        let error = <ClientName as FromRequestParts<()>>::from_request_parts(&mut without, &()).await.unwrap_err();
        assert_eq!(error.status(), 403);
        let error =
            <ClientCertificate as FromRequestParts<()>>::from_request_parts(&mut without, &()).await.unwrap_err();
        assert_eq!(error.status(), 403);
        let none = <ClientName as OptionalFromRequestParts<()>>::from_request_parts(&mut without, &()).await;
        assert_eq!(none, Ok(None));
        let mut cleartext = parts(None);
        let error = <Tls as FromRequestParts<()>>::from_request_parts(&mut cleartext, &()).await.unwrap_err();
        assert_eq!(error.status(), 500);
        let none = <Tls as OptionalFromRequestParts<()>>::from_request_parts(&mut cleartext, &()).await;
        assert!(matches!(none, Ok(None)));
    }
}
