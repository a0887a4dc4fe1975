//! What is put around handlers. [`crate::Server::new`] puts all that is not off by configuration around everything, as one; each part
//! of it can be had alone.
//!
//! | Gin | ours |
//! |---|---|
//! | `gin.Logger()` | [`access_log`] |
//! | `gin.Recovery()` | [`recover()`] |
//! | `c.Next()` | `next.run(request).await`, and then go on |
//! | `c.Abort()` | return without it |
//! | `c.Set`, `c.Get` | `request.extensions_mut().insert(..)`, `Extension` |
//!
//! The first arguments of such a function may be extractors, `State` among them ([`crate::Route::middleware`] has an example).
//!
//! ```
//! use gin_worker::axum::{extract::Request, middleware::Next, response::Response};
//! use gin_worker::{Error, Group, Result, Route};
//!
//! #[derive(Clone)]
//! struct UserId(u64);
//!
//! async fn auth(mut request: Request, next: Next) -> Result<Response> {
//!     if !request.headers().contains_key("authorization") {
//!         return Err(Error::unauthorized("missing token")); // c.Abort
//!     }
//!     request.extensions_mut().insert(UserId(7)); // c.Set
//!     Ok(next.run(request).await) // c.Next
//! }
//!
//! # async fn me() {}
//! let private = Group::<()>::new("/me").middleware(auth).route(Route::get("/", me));
//! ```
//!
//! Some parts alone, around a server that has none:
//!
//! ```
//! use gin_worker::middleware::{access_log, recover, request_id};
//! use gin_worker::{Config, Server};
//!
//! let server: Server = Server::bare(&Config::<()>::default())
//!     .middleware(request_id)
//!     .middleware(access_log)
//!     .middleware(recover)
//!     .get("/", async || "hello");
//! ```

mod access_log;
mod body_limit;
pub(crate) mod client_ip;
#[cfg(feature = "compression")]
mod compression;
mod conditional;
mod cors;
mod error_handler;
mod failures;
pub(crate) mod memory_pressure;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(any(feature = "csrf", feature = "websocket"))]
pub(crate) mod origin;
pub(crate) mod rate_limit;
mod recover;
pub(crate) mod refusal;
mod request_id;
mod security_headers;
mod standard;
#[cfg(test)]
mod tests;
mod timeout;

pub use crate::error::Report;
pub use crate::request_id::RequestId;
#[cfg(not(feature = "metrics"))]
use crate::without::metrics;
pub use access_log::access_log;
pub use body_limit::body_limit;
pub use client_ip::ClientIp;
#[cfg(feature = "compression")]
pub use compression::{Compression, compression};
pub use conditional::{Conditional, WholeState, when};
pub use cors::cors;
pub use error_handler::{Handled, error_handler};
pub(crate) use failures::FailuresLayer;
pub(crate) use metrics::Metrics;
#[cfg(feature = "redis")]
pub(crate) use rate_limit::remote::Remote;
pub use rate_limit::{Limited, rate_limit};
pub use recover::recover;
pub(crate) use recover::{tell_panics, tried};
pub use request_id::request_id;
pub use security_headers::security_headers;
pub(crate) use standard::{Standard, StandardLayer, names};
pub use timeout::timeout;
