//! Listeners of a worker: inherited, or bound when the worker runs alone.
//!
//! A listener is an [`Acceptor`] with its name from the configuration, its address for people, and the facts that its connections share:
//! whether they speak TLS, say. Which transports there are is the acceptor's business; when and how many connections are accepted is that
//! of `accept`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gin_shared::inherit::Inherited;
use gin_shared::listen::Address;

use crate::connections::listener_facts::ListenerFacts;
use crate::connections::transport::{Acceptor, Stream, takes_connections};
use crate::{StartError, config};

/// A named listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Name in the configuration.
    pub(crate) name: String,
    /// Address, for people.
    pub(crate) address: String,
    acceptor: Acceptor,
    facts: Arc<ListenerFacts>,
}

impl Listener {
    /// Binds `server.host` and `server.port`.
    pub(crate) fn bind(config: &config::Server) -> Result<Self, StartError> {
        let text = format!("{}:{}", config.host, config.port);
        let failed = |error| StartError::Listen { address: text.clone(), error };
        let invalid = |error| failed(io::Error::new(io::ErrorKind::InvalidInput, error));
        let Address::Tcp(address) = Address::from_host_port(&config.host, config.port).map_err(invalid)? else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        Acceptor::bind(address).and_then(|acceptor| Self::named("http".to_owned(), acceptor)).map_err(failed)
    }

    /// Adopts a listener that was inherited.
    pub(crate) fn adopt(inherited: Inherited) -> io::Result<Self> {
        let Inherited { name, fd } = inherited;
        let acceptor = Acceptor::adopt(fd, &name)?;
        Self::named(name, acceptor)
    }

    fn named(name: String, acceptor: Acceptor) -> io::Result<Self> {
        let facts = Arc::new(ListenerFacts::named(name.as_str()));
        Ok(Self { address: acceptor.address()?, name, acceptor, facts })
    }

    /// Facts that all of its connections share.
    pub(crate) fn facts(&self) -> &Arc<ListenerFacts> {
        &self.facts
    }

    /// Sets what its connections begin with.
    pub(crate) fn set_facts(&mut self, facts: ListenerFacts) {
        self.facts = Arc::new(facts);
    }

    /// True if its connections begin with a handshake of TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.facts.tls.is_some()
    }

    /// Has TCP look after connections from which nothing comes, those of this listener from now on.
    pub(crate) fn keep_alive(&self, silence: Duration) {
        if let Err(error) = self.acceptor.keep_alive(silence) {
            tracing::warn!(name = self.name, "timeouts.tcp_keepalive: {error}; clients that vanish are noticed late");
        }
    }

    /// True for a Unix socket, over which clients have no address.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.acceptor, Acceptor::Unix(_))
    }

    /// True if a connection waits to be accepted.
    pub(crate) fn has_waiting(&self) -> bool {
        self.acceptor.has_waiting()
    }

    /// Accepts the next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.acceptor.accept().await
    }
}

/// True if an inherited descriptor is one that this library accepts connections from.
pub(crate) fn is_stream(inherited: &Inherited) -> bool {
    takes_connections(&inherited.fd)
}
