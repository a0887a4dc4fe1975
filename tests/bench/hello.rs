//! What is measured: the same answer by axum alone, by ours bare, and by ours with all that stands around it. See README.md here.
//!
//! usage: `bench-hello axum|bare|default` and, if there are to be more, how many routes; prints where it listens

use std::io::Write;

use axum::routing::get;
use axum::{Json, Router};
use gin_worker::{Config, Server, StartError};
use serde_json::{Value, json};

async fn hello() -> Json<Value> {
    Json(json!({ "message": "hello" }))
}

/// So many more, of every kind.
fn paths(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| match number % 3 {
        0 => format!("/static/section{}/page{number}", number % 17),
        1 => format!("/api/v{}/things{number}/{{id}}", number % 5),
        _ => format!("/api/v{}/users/{{user}}/posts{number}/{{post}}", number % 7),
    })
}

fn say(port: u16) {
    // Who started it reads it, or is gone.
    let _ = writeln!(std::io::stdout(), "127.0.0.1:{port}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_default();
    let routes: usize = args.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let router =
        paths(routes).fold(Router::new().route("/", get(hello)), |router, path| router.route(&path, get(hello)));
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    if kind == "axum" {
        listener.set_nonblocking(true)?;
        say(port);
        return Ok(axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await?);
    }
    drop(listener);
    let mut config = Config::<()>::load()?;
    config.server.port = port;
    let server = match kind.as_str() {
        "bare" => Server::bare(&config).merge(router),
        "default" => Server::new(&config).merge(router),
        other => return Err(StartError::Routes(format!("axum, bare or default, and not {other:?}")).into()),
    };
    say(port);
    Ok(server.run().await?)
}
