//! Connections over TLS to a receiver of spans.

use std::io;
use std::path::Path;

use futures_util::future::BoxFuture;
use gin_otlp::{Connect, Endpoint, Protocol, Stream, open_socket};
use s2n_tls::config::{Builder, Config};
use s2n_tls::error::Error;
use s2n_tls::security::Policy;
use s2n_tls_tokio::TlsConnector;

use crate::StartError;

/// Policy of s2n for TLS 1.2 and 1.3: ECDHE and AEAD alone. It is dated, so that a new s2n does not change it.
const POLICY: &str = "20251014";
/// Longest time, in seconds, for which s2n withholds an error of the handshake. Its own 30 are longer than an export may take, which would
/// tell of no answer in place of a certificate that nobody trusts.
const BLINDING_MAX: u32 = 1;

/// Connects over TLS.
pub(super) struct Secure {
    connector: TlsConnector,
}

impl Secure {
    /// `authorities`: a file of PEM; without it the system's authorities count.
    pub(super) fn new(authorities: Option<&Path>, protocol: Protocol) -> Result<Self, StartError> {
        let pem = authorities
            .map(|path| {
                let wrong =
                    |error: io::Error| format!("monitoring.jaeger.ca_file: cannot read {}: {error}", path.display());
                std::fs::read(path).map_err(|error| StartError::Traces(wrong(error)))
            })
            .transpose()?;
        let config = config(pem.as_deref(), protocol).map_err(|error| {
            let authorities = authorities.map_or("of the system".into(), |path| path.display().to_string());
            StartError::Traces(format!("monitoring.jaeger: TLS with the authorities {authorities}: {error}"))
        })?;
        Ok(Self { connector: TlsConnector::new(config) })
    }
}

fn config(authorities: Option<&[u8]>, protocol: Protocol) -> Result<Config, Error> {
    let mut builder = Builder::new();
    builder.set_security_policy(&Policy::from_version(POLICY)?)?;
    builder.set_max_blinding_delay(BLINDING_MAX)?;
    builder.set_application_protocol_preference(match protocol {
        Protocol::Grpc => ["h2"],
        Protocol::Http => ["http/1.1"],
    })?;
    if let Some(pem) = authorities {
        builder.with_system_certs(false)?;
        builder.trust_pem(pem)?;
    }
    builder.build()
}

impl Connect for Secure {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let socket = open_socket(endpoint).await?;
            let stream = self.connector.connect(&endpoint.host, socket).await.map_err(io::Error::other)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
