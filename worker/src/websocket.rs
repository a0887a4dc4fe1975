//! WebSockets that outlive the worker: between two messages a connection goes to the next worker, with the session that the
//! application has serialised. They are registered once, in their route: [`Route::websocket`](crate::Route::websocket).
//!
//! ```no_run
//! use gin_worker::axum::extract::State;
//! use gin_worker::websocket::{Message, Received, Socket};
//! use gin_worker::{Config, Result, Route, Server};
//!
//! #[derive(Clone)]
//! struct App {
//!     first: u64,
//! }
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Session {
//!     heard: u64,
//! }
//!
//! /// Begins a session; its arguments are extractors.
//! async fn open(State(app): State<App>) -> Session {
//!     Session { heard: app.first }
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
//! Server::new(&Config::<()>::load()?)
//!     .route(Route::websocket("/count", "count", open, count))
//!     .with_state(App { first: 0 })
//!     .run()
//!     .await
//! # }
//! ```
//!
//! If nobody takes the connection (a stop, or a next worker that does not know the name), the client is sent close code 1001
//! (RFC 6455, section 7.4.1), spread over `timeouts.idle_grace`.
//!
//! A WebSocket that is served by other means (axum's, say) is not handed over: its client gets the close frame when three quarters of
//! `timeouts.shutdown` are over, or, if nobody takes connections, within `timeouts.idle_grace`.

mod frames;
mod handler;
mod kind;
mod limits;
mod message;
mod rate;
mod route;
mod sessions;
mod silence;
mod socket;
mod upgrade;

pub use handler::{IntoSession, Open, Serve, Served};
pub use kind::WebSockets;
pub use message::{Message, Received};
pub(crate) use sessions::KnownSessions;
pub use socket::{SendError, Socket};
