//! Settings of TLS of one listener: versions, protocols, client certificates. They become an s2n configuration together with certificates
//! (`chains`) and ticket keys (`tickets`).

use std::sync::Arc;

use gin_shared::config::listen::{ClientAuth, ListenSettings, TlsSettings, Versions};
use s2n_tls::callbacks::VerifyHostNameCallback;
use s2n_tls::config::Builder;
use s2n_tls::enums::{ClientAuthType, SerializationVersion};
use s2n_tls::error::Error;
use s2n_tls::security::Policy;

/// Policy of s2n for TLS 1.2 and 1.3: ECDHE and AEAD alone, with X25519MLKEM768. It is dated, so that a new s2n does not change it.
const FROM_12: &str = "20251014";
/// Policy of s2n for TLS 1.3 alone.
const ONLY_13: &str = "CloudFront-TLS-1-3-2025";
/// Longest time, in seconds, for which s2n does not answer a forged record. No cipher of the policies needs it: all are AEAD.
const BLINDING_MAX: u32 = 1;
/// Longest payload of a record (RFC 8446, section 5.1). s2n's own choice of 8,087 bytes makes twice as many records of a long answer.
const RECORD: u16 = 16_384;
/// Bytes that TLS 1.2 may add to a record: its head, and what encryption takes. s2n reckons with so many.
const RECORD_EXTRA: u32 = 5 + 1024;
/// Size of s2n's buffer for sending: [`WRITE`] leaves with one call of `send`.
const SEND_BUFFER: u32 = 2 * (RECORD as u32 + RECORD_EXTRA);
/// Most bytes that one write of a stream takes: two of the longest records.
pub(super) const WRITE: usize = 2 * RECORD as usize;

/// Settings of TLS of one listener. Listeners with the same ones share one s2n configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile(Arc<TlsSettings>);

impl Profile {
    /// The profile of a listener. `None`: it speaks cleartext.
    pub(crate) fn of(settings: &ListenSettings) -> Option<Self> {
        settings.tls.clone().map(Self::new)
    }

    pub(super) fn new(settings: TlsSettings) -> Self {
        Self(Arc::new(settings))
    }

    pub(super) fn settings(&self) -> &TlsSettings {
        &self.0
    }

    /// True if clients get session tickets, and come back by them. Where client certificates count, none do: nobody comes in by the ticket
    /// of another listener.
    pub(super) fn has_tickets(&self) -> bool {
        self.0.tickets && self.0.client.is_none()
    }

    /// True if no client comes in without a certificate.
    pub(crate) fn requires_certificate(&self) -> bool {
        matches!(self.0.client, Some((_, ClientAuth::Required)))
    }

    /// A configuration without certificates and ticket keys. `authority`: the PEM of `client_ca_file`.
    pub(super) fn builder(&self, authority: Option<&str>) -> Result<Builder, Error> {
        let policy = match self.0.versions {
            Versions::From12 => FROM_12,
            Versions::Only13 => ONLY_13,
        };
        let mut builder = base(policy)?;
        builder.set_application_protocol_preference(&self.0.alpn)?;
        builder.enable_session_tickets(self.has_tickets())?;
        if let (Some((_, auth)), Some(authority)) = (&self.0.client, authority) {
            let auth = match auth {
                ClientAuth::Optional => ClientAuthType::Optional,
                ClientAuth::Required => ClientAuthType::Required,
            };
            builder.trust_pem(authority.as_bytes())?.set_client_auth_type(auth)?;
            builder.set_verify_host_callback(AnyName)?;
        }
        Ok(builder)
    }
}

/// A configuration of connections that go on from keys. It has no tickets: s2n would send one after each move, with the same nonce.
pub(super) fn taken() -> Result<Builder, Error> {
    let mut builder = base(FROM_12)?;
    builder.enable_session_tickets(false)?;
    Ok(builder)
}

fn base(policy: &str) -> Result<Builder, Error> {
    let mut builder = Builder::new();
    // The policy first: certificates are checked against it as they are added.
    builder
        .with_system_certs(false)?
        .set_security_policy(&Policy::from_version(policy)?)?
        .set_serialization_version(SerializationVersion::V1)?
        .set_max_fragment_length(RECORD)?
        .set_send_buffer_size(SEND_BUFFER)?
        .set_max_blinding_delay(BLINDING_MAX)?;
    Ok(builder)
}

/// Accepts a client certificate for any name: its chain is verified, and the application reads the name. s2n's own check compares it
/// with the server's name.
#[derive(Debug)]
struct AnyName;

impl VerifyHostNameCallback for AnyName {
    fn verify_host_name(&self, _: &str) -> bool {
        true
    }
}
