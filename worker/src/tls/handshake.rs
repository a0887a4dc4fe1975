//! The outcome of a handshake: the facts that handlers and the log are told, or the reason of its failure.
//!
//! s2n forgets these facts when a connection is taken apart, so they are noted here once, and travel beside the keys.

use s2n_tls::connection::Connection;
use s2n_tls::enums::Version;
use s2n_tls::error::Error;

use super::facts::{ClientCertificate, TlsFacts, TlsVersion, protocol};

/// A handshake that has failed. It is the client's affair, and goes to the log at DEBUG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HandshakeError(&'static str);

impl From<Error> for HandshakeError {
    /// By the name that s2n has for it (`S2N_ERR_...`): its other texts have paths of the machine that has compiled it.
    fn from(error: Error) -> Self {
        Self(error.name())
    }
}

/// Facts of a handshake that is over.
///
/// # Errors
/// If the client has shown a certificate that cannot be read.
pub(super) fn settled(connection: &Connection) -> Result<TlsFacts, HandshakeError> {
    let version = match connection.actual_protocol_version()? {
        Version::TLS13 => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let protocol = connection.application_protocol().map(|name| protocol(&String::from_utf8_lossy(name)));
    let client = if connection.client_cert_used() { Some(Box::new(client(connection)?)) } else { None };
    let server_name = connection.server_name().map(Box::from);
    Ok(TlsFacts { version, server_name, protocol, client, resumed: connection.resumed() })
}

/// The certificate that the client has shown, whose chain s2n has verified.
fn client(connection: &Connection) -> Result<ClientCertificate, HandshakeError> {
    const UNREADABLE: HandshakeError = HandshakeError("the client's certificate cannot be read");
    let chain = connection.peer_cert_chain()?;
    let first = chain.iter().next().ok_or(UNREADABLE)??;
    ClientCertificate::of_der(first.der()?).map_err(|_| UNREADABLE)
}
