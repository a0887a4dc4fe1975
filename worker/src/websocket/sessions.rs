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

use crate::connections::{ActiveConnection, Context, Sessions, WebSocketSession};
use crate::websocket::socket::Socket;

/// A kind of session: its name, which the next worker must know, too, and the function that serves it.
pub struct WebSockets<S> {
    pub(super) name: Arc<str>,
    pub(super) serve: Arc<dyn Fn(Socket, S) -> Served + Send + Sync>,
}

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<S> Clone for WebSockets<S> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), serve: Arc::clone(&self.serve) }
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
        Self { name: name.into(), serve: Arc::new(move |socket, session| Box::pin(serve(socket, session))) }
    }
}

/// Every kind of session that a worker knows, by name.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions(HashMap<Arc<str>, Arc<dyn Kind>>);

/// A [`WebSockets`] of any session.
trait Kind: Send + Sync + fmt::Debug {
    /// Goes on with a session that another worker has serialised. Gives the socket back if the session cannot be read.
    fn resume(&self, socket: Socket, session: &[u8]) -> Result<Served, (Box<Socket>, serde_json::Error)>;
}

impl<S: Serialize + DeserializeOwned + Send + 'static> Kind for WebSockets<S> {
    fn resume(&self, socket: Socket, session: &[u8]) -> Result<Served, (Box<Socket>, serde_json::Error)> {
        match serde_json::from_slice(session) {
            Ok(session) => Ok((self.serve)(socket, session)),
            Err(error) => Err((Box::new(socket), error)),
        }
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
            let mut socket = Socket::resumed(connection, Arc::clone(&name), context).await;
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
