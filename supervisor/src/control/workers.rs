//! `GET /v1/workers/{generation}/{slot}/...`: what one worker says of itself over its private listener; and how much all of them log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path as Params, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gin_shared::control::LogLevel;
use gin_shared::exit;
use gin_shared::generation::{Generation, Slot};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::act::JsonBody;
use super::{Caller, error};
use crate::inbox::{Handle, Message};
use crate::telemetry;

/// How long a worker may take for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// What may be asked: what the system says, and nothing of the application.
const PATHS: [&str; 6] = ["health", "livez", "readyz", "info", "metrics", "routes"];

/// `GET /v1/workers/{generation}/{slot}/{path}`
pub(super) async fn worker(
    State(handle): State<Handle>,
    Params((generation, slot, path)): Params<(u64, u32, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    if !PATHS.contains(&path.as_str()) {
        let text = format!("a worker is asked for none but {} here", PATHS.join(", "));
        return error(StatusCode::NOT_FOUND, exit::USAGE, text);
    }
    let (sender, answer) = oneshot::channel();
    let message = Message::Private(Generation(generation), Slot(slot), sender);
    let socket: Option<PathBuf> = match handle.inbox.send(message).await {
        Ok(()) => answer.await.ok().flatten(),
        Err(_) => None,
    };
    let Some(socket) = socket else {
        let text = format!("generation {generation} has no worker in slot {slot} that can be asked (private_listener)");
        return error(StatusCode::NOT_FOUND, exit::FAILED, text);
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    match tokio::time::timeout(PATIENCE, ask(&socket, &format!("/{path}{query}"))).await {
        Ok(Ok(response)) => response,
        Ok(Err(why)) => error(StatusCode::BAD_GATEWAY, exit::FAILED, format!("the worker does not say: {why}")),
        Err(_) => error(StatusCode::GATEWAY_TIMEOUT, exit::TIMED_OUT, "the worker does not answer"),
    }
}

async fn ask(socket: &Path, path: &str) -> Result<Response, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| crate::error_text::without_code(&error))?;
    let http = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let exchange = async {
        let request =
            Request::get(path).header("host", "gin").header("connection", "close").body(Empty::<Bytes>::new());
        let response = sender.send_request(request.map_err(|error| error.to_string())?).await.map_err(http)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = parts.status;
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Ok(response)
    };
    let connection = async {
        // What goes wrong with it, the exchange tells.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! { answer = exchange => answer, () = connection => Err("it has closed the connection".to_owned()) }
}

/// `GET /v1/log-level`
pub(super) async fn log_level() -> Response {
    Json(LogLevel { level: telemetry::level().to_owned(), workers: None }).into_response()
}

/// `POST /v1/log-level`: until the next restart, for workers; until its end, for the supervisor.
pub(super) async fn set_log_level(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(asked): JsonBody<LogLevel>,
) -> Response {
    if !telemetry::LEVELS.contains(&asked.level.as_str()) {
        let text = format!("\"{}\" is no log level; say {}", asked.level, telemetry::LEVELS.join(", "));
        return error(StatusCode::BAD_REQUEST, exit::USAGE, text);
    }
    let (sender, answer) = oneshot::channel();
    let told = handle.inbox.send(Message::LogLevel(asked.level.clone(), sender)).await;
    let workers = match told {
        Ok(()) => answer.await.ok(),
        Err(_) => None,
    };
    let Some(workers) = workers else {
        return error(StatusCode::SERVICE_UNAVAILABLE, exit::NO_SUPERVISOR, "the supervisor is leaving");
    };
    let (level, user) = (&asked.level, &caller.user);
    tracing::info!(
        level,
        user,
        uid = caller.uid,
        pid = caller.pid,
        workers,
        "the log level is {level} now: asked by {user}"
    );
    Json(LogLevel { level: asked.level, workers: Some(workers) }).into_response()
}
