//! A library for workers that are replaced without losing a request.
//!
//! Someone with an axum router changes one line:
//!
//! ```no_run
//! # async fn f() -> Result<(), gin_worker::Error> {
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
//! | to serve a router | [`serve`], [`Server`] |
//! | to do something when it ends | [`Server::on_shutdown`] |
//! | to know how many connections there are, or that it drains | [`Server::life`] |
//! | WebSockets that outlive the worker | [`websocket`] |
//! | timeouts and limits | [`Config`] |
//! | what a failed start says | [`Error`] |

pub mod config;
mod error;
pub mod graceful;
mod server;

pub use axum;
pub use config::Config;
pub use error::Error;
pub use gin_shared::inherit::{Identity, identity};
pub use graceful::Life;
pub use server::{Connection, Server, websocket};

/// Serves `router` with the configuration of the surroundings ([`Config::load`]) until it is told to stop.
///
/// # Errors
/// If the configuration is not valid or nothing can be listened to; never because of what a client does.
pub async fn serve(router: axum::Router) -> Result<(), Error> {
    Server::new(&Config::load()?, router).run().await
}
