//! Asks a router in its own process, for `tests/bench/instructions`: without sockets and other threads, so that the same requests are the
//! same instructions.
//!
//! usage: `bench-router off|json COUNT`; with `json`, each request has its line on standard output

use std::hint::black_box;
use std::path::Path;

use axum::body::Body;
use axum::extract::Request;
use axum::{Json, Router};
use gin_worker::{Config, Server, logging};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

async fn hello() -> Json<Value> {
    Json(json!({ "message": "hello" }))
}

fn request() -> Result<Request, http::Error> {
    // With an id of its own, none is made of chance. None of the other headers is of a length that changes.
    Request::get("/hello").header("host", "example.org").header("x-request-id", "4bf92f3577b34da6").body(Body::empty())
}

/// callgrind counts from the beginning of this function to its end. No other function has its name in its own, as a closure in it would.
#[inline(never)]
fn counted_by_callgrind(runtime: &Runtime, router: &Router, count: usize) -> Result<usize, axum::BoxError> {
    black_box(asked(runtime, router, count))
}

/// The bytes of so many answers.
#[inline(never)]
fn asked(runtime: &Runtime, router: &Router, count: usize) -> Result<usize, axum::BoxError> {
    runtime.block_on(async {
        let mut bytes = 0;
        for _ in 0..count {
            let response = router.clone().oneshot(request()?).await?;
            bytes += axum::body::to_bytes(response.into_body(), usize::MAX).await?.len();
        }
        Ok::<usize, axum::BoxError>(bytes)
    })
}

fn main() -> Result<(), axum::BoxError> {
    let mut args = std::env::args().skip(1);
    let (logs, count) = (args.next().unwrap_or_default(), args.next().unwrap_or_default().parse::<usize>()?);
    // Not what the environment says, nor a file of the directory.
    let config =
        Config::<()>::from_text(Path::new("bench.toml"), "[logging]\noutput = \"stdout\"\nformat = \"json\"\n")?;
    let _guard = match logs.as_str() {
        "off" => None,
        "json" => Some(logging::start(&config.logging)?),
        other => return Err(format!("off or json, and not {other:?}").into()),
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let router = {
        let _entered = runtime.enter();
        Server::new(&config).get("/hello", hello).into_router()?
    };
    let bytes = counted_by_callgrind(&runtime, &router, count)?;
    eprintln!("{count} answers, {bytes} bytes");
    Ok(())
}
