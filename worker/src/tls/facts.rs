//! Facts that a handshake has settled, and the arguments of handlers that tell them.

#![allow(dead_code, reason = "not every part of it is used yet")]

use std::sync::Arc;

/// Facts that a handshake has settled.
#[derive(Debug, Clone)]
pub struct TlsFacts(());

/// The handshake of a request's connection.
#[derive(Debug, Clone)]
pub struct Tls(Arc<TlsFacts>);

/// The certificate that a client has shown.
#[derive(Debug, Clone)]
pub struct ClientCertificate(());

/// The name in a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientName(pub String);
