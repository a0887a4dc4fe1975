//! Kinds of sessions that a worker knows, and the way from a serialised session to its handler.
//!
//! The hub knows this only as [`Sessions`]: it has no idea of WebSockets.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Origin;
use crate::connections::{ActiveConnection, Context, Sessions, WebSocketSession};
use crate::websocket::limits::OwnLimits;
use crate::websocket::socket::Socket;

/// A kind of session: its name, which the next worker must know, too, and the function that serves it.
pub struct WebSockets<S> {
    pub(super) name: Arc<str>,
    pub(super) serve: Arc<dyn Fn(Socket, S) -> Served + Send + Sync>,
    pub(super) limits: OwnLimits,
}

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<S> Clone for WebSockets<S> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), serve: Arc::clone(&self.serve), limits: self.limits.clone() }
    }
}

impl<S> fmt::Debug for WebSockets<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSockets").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Serialize + DeserializeOwned + Send + 'static> WebSockets<S> {
    /// Serves sessions of this name by `serve`.
    pub fn new<F, R>(name: &str, serve: F) -> Self
    where
        F: Fn(Socket, S) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let serve = Arc::new(move |socket, session| -> Served { Box::pin(serve(socket, session)) });
        Self { name: name.into(), serve, limits: OwnLimits::default() }
    }

    /// Longest message, in bytes, in place of `websocket.message`. A longer one ends the connection, with code 1009.
    #[must_use]
    pub fn message_max(mut self, bytes: u64) -> Self {
        self.limits.message = Some(bytes);
        self
    }

    /// Longest frame, in bytes, in place of `websocket.frame`. A longer one ends the connection, with code 1009.
    #[must_use]
    pub fn frame_max(mut self, bytes: u64) -> Self {
        self.limits.frame = Some(bytes);
        self
    }

    /// Most frames a second (1 at least), in place of `websocket.rate`. More wait in the socket: the client is slowed down, and loses
    /// nothing.
    #[must_use]
    pub fn rate_max(mut self, frames: u32) -> Self {
        self.limits.rate = Some(frames.max(1));
        self
    }

    /// Whose pages may open one beside those of the host itself, in place of `websocket.allow_origins`.
    #[must_use]
    pub fn allow_origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.limits.allow_origins = Some(origins.into_iter().collect());
        self
    }
}

/// Every kind of session that a worker knows, by name.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions(HashMap<Arc<str>, Arc<dyn Kind>>);

/// A [`WebSockets`] of any session.
trait Kind: Send + Sync + fmt::Debug {
    /// Goes on with a session that another worker has serialised. Gives the socket back if the session cannot be read.
    fn resume(&self, socket: Socket, session: &[u8]) -> Result<Served, (Box<Socket>, serde_json::Error)>;
    /// Limits that it has for itself.
    fn limits(&self) -> &OwnLimits;
}

impl<S: Serialize + DeserializeOwned + Send + 'static> Kind for WebSockets<S> {
    fn resume(&self, socket: Socket, session: &[u8]) -> Result<Served, (Box<Socket>, serde_json::Error)> {
        match serde_json::from_slice(session) {
            Ok(session) => Ok((self.serve)(socket, session)),
            Err(error) => Err((Box::new(socket), error)),
        }
    }

    fn limits(&self) -> &OwnLimits {
        &self.limits
    }
}

impl KnownSessions {
    /// Adds a kind, in place of one of the same name.
    pub(crate) fn add<S: Serialize + DeserializeOwned + Send + 'static>(&mut self, sockets: WebSockets<S>) {
        self.0.insert(Arc::clone(&sockets.name), Arc::new(sockets));
    }
}

impl Sessions for KnownSessions {
    fn resume(&self, connection: ActiveConnection, session: WebSocketSession, context: &Arc<Context>) {
        let WebSocketSession { name, state } = session;
        let (kind, context) = (self.0.get(&name).cloned(), Arc::clone(context));
        tokio::spawn(async move {
            let own = kind.as_ref().map(|kind| kind.limits().clone()).unwrap_or_default();
            let limits = own.or(&context.websocket);
            let mut socket = Socket::resumed(connection, Arc::clone(&name), context, limits).await;
            match kind {
                Some(kind) => match kind.resume(socket, &state) {
                    Ok(served) => served.await,
                    Err((mut socket, error)) => {
                        tracing::error!(
                            "cannot read the session of a WebSocket {name:?}: {error}; the client is sent away"
                        );
                        socket.close_away().await;
                    }
                },
                None => {
                    tracing::error!(
                        "cannot take up the session of a WebSocket {name:?}: no `Server::websockets` has this name; \
                         the client is sent away"
                    );
                    socket.close_away().await;
                }
            }
        });
    }
}
