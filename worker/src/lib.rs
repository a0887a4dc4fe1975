//! A library for workers that are replaced without losing a request.
//!
//! Someone with an axum router changes one line:
//!
//! ```no_run
//! # async fn f() -> gin_worker::Result {
//! use gin_worker::axum::{Router, routing::get};
//!
//! let router = Router::new().route("/", get(|| async { "hello" }));
//! gin_worker::serve(router).await
//! # }
//! ```
//!
//! Under `gin-supervisor` (with `channel = true`) the worker takes the master's listeners, says that it is ready, accepts
//! when it is told to, and drains when its successor serves. Alone it binds `server.host` and `server.port` and drains on
//! SIGTERM or SIGINT.
//!
//! | you want | go to |
//! |---|---|
//! | to come from Gin | [`coming_from_gin`] |
//! | to serve a router | [`serve`], [`Server`] |
//! | to serve files | [`Server::files`], [`files`] |
//! | to log | [`logging`] |
//! | to test one's own service, through restarts, too | [`testing`] |
//! | something to run beside the requests | [`Server::background`] |
//! | routes with names, groups, descriptions | [`Route`], [`Group`], [`router`] |
//! | a request's values, checked | [`binding`] |
//! | something around handlers | [`middleware`] |
//! | to do something when it ends | [`Server::on_shutdown`] |
//! | to know how many connections there are, or that it drains | [`Server::life`] |
//! | WebSockets that outlive the worker | [`websocket`] |
//! | timeouts and limits | [`Config`] |
//! | what a handler answers when something is wrong | [`Error`] |
//! | what a failed start says | [`StartError`] |

mod assets;
pub mod binding;
#[doc = include_str!("coming_from_gin.md")]
pub mod coming_from_gin {}
pub mod config;
mod connections;
mod error;
pub mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod graceful;
mod heap;
mod live;
pub mod logging;
pub mod middleware;
mod pressure;
mod request_id;
mod request_path;
pub mod router;
mod server;
mod shard;
mod shared_memory;
mod system;
pub mod testing;
pub mod websocket;
mod worker;

pub use axum;
pub use config::Config;
pub use connections::Connection;
pub use error::{BoxError, Error, Result, StartError};
pub use garde;
pub use gin_shared::inherit::{Identity, identity};
pub use graceful::Life;
pub use middleware::{ClientIp, RequestId};
pub use router::{Group, Route};
pub use serde_json;
pub use server::Server;

/// Serves `router` with the configuration of its file and the environment ([`Config::load_with`]; the command line is the program's own)
/// until it is told to stop. Nothing is put around it: no middleware, no endpoints of ours.
///
/// # Errors
/// If the configuration is not valid or nothing can be listened to; never because of what a client does.
pub async fn serve(router: axum::Router) -> Result {
    Server::bare(&Config::<()>::load_with(None, config::Overrides::default())?).merge(router).run().await
}
