//! Facts about a listener that all of its connections share.

use gin_shared::config::listen::Redirect;
use ipnet::IpNet;

use crate::tls::Profile;

/// Facts about a listener, for as long as a connection of it lives.
#[derive(Debug)]
pub(crate) struct ListenerFacts {
    /// Name in the configuration.
    pub(crate) name: Box<str>,
    /// Settings of TLS. `None`: cleartext.
    pub(crate) tls: Option<Profile>,
    /// Networks from which a connection begins with a PROXY header. `None`: no connection does.
    pub(crate) proxy: Option<Box<[IpNet]>>,
    /// The listener to which its requests are redirected.
    pub(crate) redirect: Option<Redirect>,
}

/// Bytes that must come before the first one of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Opening {
    /// A PROXY header, and then the handshake, if the listener speaks TLS.
    Proxy,
    /// The handshake of TLS.
    Handshake,
    /// None: a protocol may begin, or has begun.
    Done,
}

/// Protection that the beginning of a connection has still to bring, as the worker tells that has accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// None: the connection is cleartext, or its handshake is made.
    Settled,
    /// A handshake.
    Handshake,
    /// A handshake in which the client shows a certificate.
    Certificate,
    /// That worker is of an earlier build, which does not tell whether a handshake follows the PROXY header.
    Untold,
}

impl ListenerFacts {
    /// A listener of this name that speaks cleartext.
    pub(crate) fn named(name: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), tls: None, proxy: None, redirect: None }
    }

    /// True if no client is served without a certificate.
    pub(crate) fn requires_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(Profile::requires_certificate)
    }

    /// The beginning of a connection that this listener accepts.
    pub(crate) fn opening(&self) -> Opening {
        match (&self.proxy, &self.tls) {
            (Some(_), _) => Opening::Proxy,
            (None, Some(_)) => Opening::Handshake,
            (None, None) => Opening::Done,
        }
    }
}
