//! In place of `websocket`, without the feature `websocket`.

use std::sync::Arc;

use crate::connections::{ActiveConnection, Context, Sessions, WebSocketSession};

/// No kind of session is known.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions(());

impl KnownSessions {
    /// No route can have one.
    pub(crate) fn add(&mut self, _: Arc<str>, _: Arc<dyn Sessions>) {}
}

impl Sessions for KnownSessions {
    fn resume(&self, connection: ActiveConnection, session: WebSocketSession, _: &Arc<Context>) {
        tracing::error!(
            "cannot take up the session of a WebSocket {:?}: this program was built without the feature \"websocket\" of \
             gin-worker; the connection is closed",
            session.name
        );
        drop(connection);
    }
}
