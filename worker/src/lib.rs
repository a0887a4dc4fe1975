//! A library for services in Rust that are replaced without losing a request: axum, with what a service needs around it.
//!
//! This page leads from "hello" to a service that survives a restart, and to the test that proves it.
//!
//! # Hello
//!
//! An application with an axum router changes one line, [`serve`] in place of `axum::serve`:
//!
//! ```no_run
//! # async fn f() -> Result<(), gin_worker::StartError> {
//! use gin_worker::axum::{Router, routing::get};
//!
//! let router = Router::new().route("/", get(|| async { "hello" }));
//! gin_worker::serve(router).await
//! # }
//! ```
//!
//! Alone, the program binds `server.host` and `server.port` (127.0.0.1:8080 without a configuration), and drains on SIGTERM or SIGINT:
//! it finishes the requests under way, and ends.
//!
//! # A service
//!
//! [`Server`] adds routes that are described, a state, errors as JSON, logs, limits, `/health` and `/readyz`. A function makes it, so that
//! `main` can run it, and a test can ask it:
//!
//! ```
//! use gin_worker::axum::Json;
//! use gin_worker::axum::extract::{Path, State};
//! use gin_worker::serde_json::{Value, json};
//! use gin_worker::{Config, Error, Group, Result, Route, Server};
//!
//! #[derive(Clone)]
//! struct App {
//!     greeting: &'static str,
//! }
//!
//! async fn greet(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>> {
//!     if name == "nobody" {
//!         return Err(Error::not_found("there is nobody to greet"));
//!     }
//!     Ok(Json(json!({ "message": format!("{}, {name}", app.greeting) })))
//! }
//!
//! fn server(config: &Config) -> Server {
//!     Server::new(config)
//!         .group(Group::new("/api/v1").route(Route::get("/hello/:name", greet).describe("Greets").tag("greeting")))
//!         .with_state(App { greeting: "hello" })
//! }
//!
//! // main: server(&Config::load()?).run().await
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! // A test, with #[tokio::test]:
//! use gin_worker::testing::TestServer;
//!
//! let app = TestServer::start(server(&Config::default())).await;
//! let answer = app.get("/api/v1/hello/gopher").send().await;
//! answer.assert_status(200).assert_json(json!({ "message": "hello, gopher" }));
//! let answer = app.get("/api/v1/hello/nobody").send().await;
//! answer.assert_status(404).assert_json(json!({ "error": "there is nobody to greet" }));
//! # }
//! ```
//!
//! [`testing::TestServer`] serves over a real socket, with everything that stands around the handlers. [`binding`] reads and checks a
//! request's values, [`Server::background`] runs tasks beside the requests, [`Server::on_shutdown`] runs hooks at the end.
//!
//! # A restart that nobody notices
//!
//! Under `gin-supervisor` the program is a worker: the supervisor holds the listeners, starts workers, and starts new ones before the old
//! ones end.
//!
//! ```toml
//! # shop.toml
//! [server]
//! port = 8080
//!
//! [supervisor]
//! command = ["target/release/shop"]
//! workers = 2
//! ```
//!
//! ```text
//! gin-supervisor -c shop.toml
//! cargo build --release && gin-ctl restart
//! ```
//!
//! The worker announces itself, takes the listeners and says that it is ready; it accepts when it is told to, and the old one drains. Idle connections go
//! to the new worker, busy ones when their answer is out, WebSockets between two messages ([`websocket`]). HTTP/2 goes over as HTTP/1.1 does,
//! and so does TLS (feature `tls`), with the connection's keys. A release that does not start
//! changes nothing. Each worker is a process of its own: what several requests share, and what is to outlast a restart, belongs into a
//! database or a file: see [`data`].
//!
//! # The proof
//!
//! [`testing::UnderLoad`] starts the program under a real supervisor, asks it all the time, and restarts it meanwhile. The test fails if a
//! request gets another answer than it expects, or a connection is closed:
//!
//! ```no_run
//! use gin_worker::testing::{Request, UnderLoad};
//!
//! // In tests/restart.rs this is a #[tokio::test], and the program is env!("CARGO_BIN_EXE_shop").
//! async fn a_restart_hurts_nobody() {
//!     UnderLoad::new("target/debug/shop")
//!         .request(Request::get("/api/v1/hello/gopher"))
//!         .request(Request::get("/api/v1/hello/nobody").expects(404))
//!         .restarts(3)
//!         .run()
//!         .await
//!         .assert_nobody_noticed();
//! }
//! ```
//!
//! # Where to go on
//!
//! | you want | go to |
//! |---|---|
//! | to come from Gin | [`coming_from_gin`] |
//! | to serve a router | [`serve`], [`server`](server()), [`Server`] |
//! | to serve files, or a single-page application | [`Server::files`], [`Mount`], [`files`] |
//! | to log | [`logging`] |
//! | to test one's own service, through restarts, too | [`testing`] |
//! | something to run beside the requests | [`Server::background`] |
//! | routes with names, groups, descriptions | [`Route`], [`Group`], [`router`] |
//! | routes whose types `/routes` tells | [`api`] |
//! | a request's values, checked | [`binding`] |
//! | something around handlers | [`middleware`] |
//! | to do something when it ends | [`Server::on_shutdown`] |
//! | to know how many connections there are, or that it drains | [`Server::life`] |
//! | WebSockets that outlive the worker | [`websocket`], [`Route::websocket`] |
//! | metrics of one's own, for Prometheus | [`metrics`] |
//! | traces, by OpenTelemetry's protocol | `gin_worker::traces`, with the feature `otel`; `[monitoring.jaeger]` |
//! | profiles, and what requests wait for | `gin_worker::profile`, with the feature `profile`; `/debug/` |
//! | a database, a cache, sessions | [`data`]; then `gin_worker::database`, `cache`, `sessions`, each with its feature |
//! | logins by tokens, roles and scopes | `gin_worker::auth`, with the feature `auth` |
//! | forms that no foreign page can send | `gin_worker::csrf`, with the feature `csrf` |
//! | files that clients send | `gin_worker::uploads`, with the feature `uploads` |
//! | to change the tables of a database | `gin_worker::migrations`, with the feature `database` |
//! | HTTPS, client certificates | `gin_worker::{Tls, ClientName, ClientCertificate}`, with the feature `tls`; `[security]` of the configuration |
//! | the client's address, behind a balancer, too | [`Connection`], [`ClientIp`]; `proxy_protocol` of a listener, `server.trusted_proxies` |
//! | timeouts and limits | [`Config`] |
//! | a configuration without a file | [`Config::builder`] |
//! | what a handler answers when something is wrong | [`Error`] |
//! | errors of one's own as answers | [`AsStatus`], [`ResultExt`] |
//! | what a failed start says | [`StartError`] |
//!
//! axum 0.8, garde 0.23 and sea-orm 2 are part of this crate's API: where one of them has a new version that breaks, so has this crate. garde's
//! derive needs `garde = "0.23"` in the application's own Cargo.toml, as it names the crate by its path. Rust 1.95 is the oldest that
//! compiles it; CHANGELOG tells of a version that needs a newer one.
//!
//! # Features
//!
//! With its default features this crate brings at most 170 others, without any at most 125. A key of the configuration that asks for
//! what was left out (`static.dir`, say) is an error that names the feature.
//!
//! | feature | default | brings | without it |
//! |---|---|---|---|
//! | `binding` | yes | [`binding`], and `garde` | handlers use axum's own extractors |
//! | `compression` | yes | [`middleware::compression()`]; files and old log files that are compressed | a file goes as it is, or as it lies compressed beside the original |
//! | `logging` | yes | [`logging`]: the log as `[logging]` says | lines go to the application's own subscriber of `tracing`, if there is one |
//! | `metrics` | yes | [`metrics`], `/metrics` | nothing is counted, and `/metrics` is 404 |
//! | `static-files` | yes | [`files`], [`Server::files`], [`Server::mount`], [`Server::static_file`], `[static]` | no files |
//! | `testing` | yes | [`testing`] | nothing in a running service |
//! | `watch` | yes | the configuration's file is read when it changes | it is read on SIGHUP |
//! | `websocket` | yes | [`websocket`] | a WebSocket that an older worker hands over is closed |
//! | `yaml` | yes | a configuration in YAML or JSON | TOML alone |
//! | `database` | no | `gin_worker::database`, `Server::database`, and migrations | `[database]` is checked, and nothing is opened |
//! | `cache` | no | `gin_worker::cache`, `Server::cache` | `[cache]` is checked |
//! | `redis` | no | the cache, sessions, logins and the rate limit in Redis | `[redis]` is checked, and nothing is opened |
//! | `sessions` | no | `gin_worker::sessions`, `Session`, `Server::sessions`; it brings `database` | `[sessions]` is checked |
//! | `auth` | no | `gin_worker::auth`, `Server::auth`: logins by tokens, passwords, roles and scopes; it brings `sessions` | `[auth]` is checked |
//! | `csrf` | no | `gin_worker::csrf`, `security.enable_csrf`: requests of foreign pages are refused | the key is an error |
//! | `uploads` | no | `gin_worker::uploads`, `Server::uploads`: files of clients, written to disk as they come; it brings `static-files` | `[uploads]` is checked |
//! | `otel` | no | `gin_worker::traces`: spans of requests, handlers, queries and calls to a receiver by OTLP, ids of traces in the log | `features.tracing` is a warning |
//! | `profile` | no | `gin_worker::profile`, `/debug/pprof/`, `/debug/vars` | `features.pprof` is a warning |
//! | `profile-heap` | no | profiles of the heap, by jemalloc; it brings `profile` | `/debug/pprof/heap` says how to have them |
//! | `tls` | no | HTTPS; connections over TLS that outlive the worker | a listener that is to speak TLS is an error |
//! | `journald` | no | `logging.output = "journald"` | journald still has what goes to stderr |
//! | `macros` | no | axum's `macros`: `#[axum::debug_handler]`, with `axum = "0.8"` in the application's own Cargo.toml | |
//! | `ws` | no | axum's `ws`: WebSockets that end with the worker, with close code 1001 | |
//!
//! ```toml
//! gin-worker = { version = "0.1", default-features = false, features = ["logging", "binding"] }
//! ```

// What one feature alone uses is dead without it. The build with all of the default ones tells of what nobody uses.
#![cfg_attr(
    not(all(
        feature = "binding",
        feature = "compression",
        feature = "logging",
        feature = "metrics",
        feature = "static-files",
        feature = "testing",
        feature = "watch",
        feature = "websocket",
    )),
    allow(dead_code, unused_imports)
)]

pub mod api;
#[cfg(feature = "static-files")]
mod assets;
#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "binding")]
pub mod binding;
#[cfg(feature = "cache")]
pub mod cache;
#[doc = include_str!("coming_from_gin.md")]
pub mod coming_from_gin {}
pub mod config;
mod connections;
#[cfg(feature = "csrf")]
pub mod csrf;
mod current_request;
#[cfg_attr(all(feature = "cache", feature = "database", feature = "sessions"), doc = include_str!("data.md"))]
#[cfg_attr(
    not(all(feature = "cache", feature = "database", feature = "sessions")),
    doc = "Databases, caches and sessions: this page needs the features `database`, `cache` and `sessions`."
)]
pub mod data {}
#[cfg(feature = "database")]
pub mod database;
#[cfg(feature = "profile")]
mod debug;
mod error;
#[cfg(feature = "static-files")]
pub mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod graceful;
mod heap;
#[cfg(any(feature = "csrf", feature = "sessions"))]
mod kept;
mod live;
#[cfg(feature = "logging")]
pub mod logging;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod middleware;
#[cfg(feature = "database")]
#[doc = include_str!("database/migrations.md")]
pub mod migrations {}
mod mount;
mod observed;
mod parts;
mod pressure;
#[cfg(feature = "profile")]
pub mod profile;
#[cfg(feature = "redis")]
mod redis;
mod request_id;
mod request_path;
mod request_scope;
mod route_name;
pub mod router;
mod server;
#[cfg(feature = "sessions")]
pub mod sessions;
mod shard;
mod shared_memory;
mod system;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "otel")]
pub mod traces;
#[cfg(feature = "uploads")]
pub mod uploads;
#[cfg(feature = "websocket")]
pub mod websocket;
mod without;
mod worker;

pub use axum;
pub use config::Config;
pub use connections::Connection;
pub use error::{AsStatus, BoxError, Error, Result, ResultExt, StartError};
#[cfg(feature = "binding")]
pub use garde;
pub use gin_shared::inherit::{Identity, identity};
pub use graceful::Life;
pub use middleware::{ClientIp, RequestId};
#[cfg(feature = "static-files")]
pub use mount::Mount;
pub use router::{Group, Route};
#[cfg(feature = "database")]
pub use sea_orm;
#[cfg(feature = "database")]
pub use sea_orm_migration;
pub use serde_json;
pub use server::Server;
#[cfg(feature = "sessions")]
pub use sessions::Session;
#[cfg(feature = "tls")]
pub use tls::{ClientCertificate, ClientName, Tls, TlsFacts, TlsVersion};
#[cfg(not(feature = "static-files"))]
use without::assets;
#[cfg(not(feature = "logging"))]
use without::logging;
#[cfg(not(feature = "metrics"))]
use without::metrics;
#[cfg(not(feature = "tls"))]
use without::tls;
#[cfg(not(feature = "otel"))]
use without::traces;
#[cfg(not(feature = "websocket"))]
use without::websocket;

/// Loads the configuration of this library's own settings: [`Config::load`], for a program that has no `[app]`.
///
/// # Errors
/// As [`Config::load`].
pub fn load() -> Result<Config, config::Invalid> {
    Config::load()
}

/// Makes a server with this library's middleware and endpoints: [`Server::new`], for handlers that take no state.
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> Result<(), gin_worker::StartError> {
///     gin_worker::server(&gin_worker::load()?).get("/", async || "hello").run().await
/// }
/// ```
#[must_use]
pub fn server(config: &Config) -> Server {
    Server::new(config)
}

/// The directory of what this service keeps, for files of the application's own. It is made, if it is not there, for the worker's user
/// alone; all workers and all releases of the service share it.
///
/// The first that applies: `$STATE_DIRECTORY` (systemd's `StateDirectory=`), `/var/lib/gin/NAME` for root, `$XDG_STATE_HOME/gin/NAME`,
/// `~/.local/state/gin/NAME`. NAME is the instance's, without a supervisor the program's. Names that begin with `sessions`, `auth`,
/// `csrf` and `uploads`, and the name of the database, are this library's.
///
/// ```no_run
/// let log = gin_worker::state_directory()?.join("orders.log");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// If there is none, or it cannot be made: a sentence that says what to do.
pub fn state_directory() -> Result<std::path::PathBuf, String> {
    parts::state_directory()
}

/// Serves `router` with the configuration of its file and the environment ([`Config::load_with`]; the command line is the program's own)
/// until it is told to stop. Nothing is put around it: no middleware, no endpoints of ours.
///
/// # Errors
/// If the configuration is not valid or nothing can be listened to; never because of what a client does.
pub async fn serve(router: axum::Router) -> Result<(), StartError> {
    Server::bare(&Config::<()>::load_with(None, config::Overrides::default())?).merge(router).run().await
}
