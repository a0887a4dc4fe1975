//! Kinds of sessions that a worker knows, and the way from a serialised session to its handler.
//!
//! The hub knows this only as [`Sessions`]: it has no idea of WebSockets.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::connections::{ActiveConnection, Context, Sessions, WebSocketSession};
use crate::websocket::handler::Served;
use crate::websocket::kind::WebSockets;
use crate::websocket::limits::OwnLimits;
use crate::websocket::socket::Socket;

/// Goes on with sessions of one kind.
pub(super) struct Kind<Session> {
    sockets: Arc<WebSockets>,
    serve: Arc<dyn Fn(Socket, Session) -> Served + Send + Sync>,
}

impl<Session> Kind<Session> {
    pub(super) fn new(
        sockets: Arc<WebSockets>,
        serve: impl Fn(Socket, Session) -> Served + Send + Sync + 'static,
    ) -> Self {
        Self { sockets, serve: Arc::new(serve) }
    }
}

impl<Session> fmt::Debug for Kind<Session> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

impl<Session: DeserializeOwned + Send + 'static> Sessions for Kind<Session> {
    fn resume(&self, connection: ActiveConnection, session: WebSocketSession, context: &Arc<Context>) {
        let WebSocketSession { name, state } = session;
        let (limits, context) = (self.sockets.limits.or(&context.websocket), Arc::clone(context));
        let serve = Arc::clone(&self.serve);
        tokio::spawn(async move {
            let mut socket = Socket::resumed(connection, Arc::clone(&name), context, limits).await;
            match serde_json::from_slice(&state) {
                Ok(session) => serve(socket, session).await,
                Err(error) => {
                    tracing::error!(
                        "cannot read the session of a WebSocket {name:?}: {error}; the client is sent away"
                    );
                    socket.close_away().await;
                }
            }
        });
    }
}

/// Every kind of session that a worker knows, by name.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions(HashMap<Arc<str>, Arc<dyn Sessions>>);

impl KnownSessions {
    /// Adds a kind, in place of one of the same name.
    pub(crate) fn add(&mut self, name: Arc<str>, kind: Arc<dyn Sessions>) {
        self.0.insert(name, kind);
    }
}

impl Sessions for KnownSessions {
    fn resume(&self, connection: ActiveConnection, session: WebSocketSession, context: &Arc<Context>) {
        if let Some(kind) = self.0.get(&session.name) {
            return kind.resume(connection, session, context);
        }
        let (limits, context) = (OwnLimits::default().or(&context.websocket), Arc::clone(context));
        tokio::spawn(async move {
            let name = session.name;
            let mut socket = Socket::resumed(connection, Arc::clone(&name), context, limits).await;
            tracing::error!(
                "cannot take up the session of a WebSocket {name:?}: no `Route::websocket` has this name; the client is \
                 sent away"
            );
            socket.close_away().await;
        });
    }
}
