//! Someone with an axum router changes one line. See `systemd/recipes/axum`.

use gin_worker::axum::{Json, Router, routing::get};
use serde_json::{Value, json};

async fn who() -> Json<Value> {
    Json(json!({ "pid": std::process::id() }))
}

#[tokio::main]
async fn main() -> Result<(), gin_worker::StartError> {
    let router = Router::new().route("/", get(who));
    // axum::serve(TcpListener::bind("127.0.0.1:8080").await?, router).await
    gin_worker::serve(router).await
}
