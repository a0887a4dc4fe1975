//! A kind of WebSockets: its name, by which the next worker finds who serves it on, and limits of its own.

use std::sync::Arc;

use crate::config::Origin;
use crate::websocket::limits::OwnLimits;

/// The WebSockets of one route: a name, and limits in place of those of `[websocket]`. A name alone is one, too.
///
/// The name stands for the kind of session. It goes over to the next worker with each connection, and is found there among the routes:
/// a release that changes it sends the clients of the one before away, with close code 1001.
///
/// ```
/// use gin_worker::Route;
/// use gin_worker::config::Origin;
/// use gin_worker::websocket::{Received, Socket, WebSockets};
///
/// async fn open() {}
///
/// async fn echo(mut socket: Socket, _: ()) {
///     while let Received::Message(message) = socket.receive().await {
///         let _ = socket.send(message).await;
///     }
/// }
///
/// let shop = Origin::Exactly("https://shop.example.org".to_owned());
/// let sockets = WebSockets::new("echo").message_max(64 << 10).rate_max(20).allow_origins([shop]);
/// let route = Route::<()>::websocket("/echo", sockets, open, echo);
/// ```
#[derive(Debug, Clone)]
pub struct WebSockets {
    pub(super) name: Arc<str>,
    pub(super) limits: OwnLimits,
}

impl WebSockets {
    /// Gives a kind its name. Each route has one of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), limits: OwnLimits::default() }
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

impl From<&str> for WebSockets {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
