//! What gin-server serves out of the box: a greeting, and how it is.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use gin_worker::{Identity, Life};
use serde_json::{Value, json};

/// What the endpoints know.
pub struct About {
    /// `server.name`
    pub name: String,
    /// Who we are, under a supervisor.
    pub identity: Option<Identity>,
    /// How we are.
    pub life: Life,
    started: Instant,
    start_time: String,
}

impl About {
    /// Of this process, which starts now.
    pub fn new(name: String, identity: Option<Identity>, life: Life) -> Self {
        Self { name, identity, life, started: Instant::now(), start_time: now() }
    }
}

/// The routes.
pub fn router() -> Router<Arc<About>> {
    Router::new()
        .route("/", get(greeting))
        .route("/health", get(health))
        .route("/info", get(info))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
}

async fn greeting(State(about): State<Arc<About>>) -> Json<Value> {
    Json(json!({ "message": "hello from gin", "name": about.name }))
}

async fn health(State(about): State<Arc<About>>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "timestamp": now(),
        "uptime": humantime::format_duration(about.uptime()).to_string(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

async fn info(State(about): State<Arc<About>>) -> Json<Value> {
    let identity = about.identity.as_ref();
    Json(json!({
        "name": about.name,
        "version": env!("CARGO_PKG_VERSION"),
        "start_time": about.start_time,
        "uptime": humantime::format_duration(about.uptime()).to_string(),
        "rust_version": env!("CARGO_PKG_RUST_VERSION"),
        "pid": std::process::id(),
        "instance": identity.map(|identity| &identity.instance),
        "generation": identity.map(|identity| identity.generation),
        "slot": identity.map(|identity| identity.slot),
        "release": identity.and_then(|identity| identity.release.as_ref()),
        "connections": about.life.connections(),
        "taken_over": about.life.taken_over(),
    }))
}

async fn readyz(State(about): State<Arc<About>>) -> (StatusCode, &'static str) {
    if about.life.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "stopping\n") }
}

impl About {
    fn uptime(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.started.elapsed().as_secs())
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
