//! WebSockets that outlive the worker: between two messages a connection goes to the next worker, with the session that the
//! application has serialised.
//!
//! ```no_run
//! use gin_worker::websocket::{Message, Received, Socket, WebSocketUpgrade, WebSockets};
//! use gin_worker::axum::{Router, response::Response, routing::get};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Session {
//!     heard: u64,
//! }
//!
//! async fn count(mut socket: Socket, mut session: Session) {
//!     loop {
//!         match socket.receive().await {
//!             Received::Message(_) => {
//!                 session.heard += 1;
//!                 let _ = socket.send(Message::Text(session.heard.to_string())).await;
//!             }
//!             // The next worker calls `count` with it.
//!             Received::Leaving => return socket.leave(&session).await,
//!             Received::Closed => return,
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # async fn f() -> Result<(), gin_worker::StartError> {
//! let counting = WebSockets::new("count", count);
//! let upgrade = counting.clone();
//! let router = Router::new().route(
//!     "/count",
//!     get(async move |socket: WebSocketUpgrade| -> Response { socket.serve(&upgrade, Session { heard: 0 }) }),
//! );
//! gin_worker::Server::new(&gin_worker::Config::<()>::load()?).merge(router).websockets(counting).run().await
//! # }
//! ```
//!
//! If nobody takes the connection (a stop, or a next worker that does not know the name), the client is sent close code 1001
//! (RFC 6455, section 7.4.1), spread over `timeouts.idle_grace`.
//!
//! A WebSocket that is served by other means (axum's, say) is not handed over: its client gets the close frame in a drain.

mod frames;
mod limits;
mod message;
mod origin;
mod rate;
mod sessions;
mod silence;
mod socket;
mod upgrade;

pub use message::{Message, Received};
pub(crate) use sessions::KnownSessions;
pub use sessions::WebSockets;
pub use socket::{SendError, Socket};
pub use upgrade::WebSocketUpgrade;
