//! `GET /v1/workers/{generation}/{slot}/...`: the answers of one worker over its private listener; and the log level of all.

use std::path::PathBuf;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path as Params, RawQuery, State};
use axum::http::response::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gin_shared::control::LogLevel;
use gin_shared::exit;
use gin_shared::generation::{Generation, Slot};
use tokio::sync::oneshot;

use super::act::JsonBody;
use super::{Caller, error, look};
use crate::inbox::{Handle, Message};
use crate::private_client::{self, AskError};
use crate::telemetry;

/// Time for a worker to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// The paths that may be asked: the system's endpoints, and nothing of the application.
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
    let Some(socket) = private_listener(&handle, generation, slot).await else { return absent(generation, slot) };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let asked = format!("/{path}{query}");
    match tokio::time::timeout(PATIENCE, private_client::get(&socket, &asked, ANSWER_MAX)).await {
        Ok(Ok((head, body))) => answer_with(&head, body),
        Ok(Err(why)) => silent(&why),
        Err(_) => late(),
    }
}

/// The path of a worker's private listener, if there is such a worker, and it has one.
pub(super) async fn private_listener(handle: &Handle, generation: u64, slot: u32) -> Option<PathBuf> {
    let message = |sender| Message::Private(Generation(generation), Slot(slot), sender);
    look::answer(handle, message).await.flatten()
}

/// The refusal of who asks for a worker that is not there, or has no private listener.
pub(super) fn absent(generation: u64, slot: u32) -> Response {
    let text = format!("generation {generation} has no worker in slot {slot} that can be asked (private_listener)");
    error(StatusCode::NOT_FOUND, exit::FAILED, text)
}

/// The refusal of who asks for a worker that gives no answer.
pub(super) fn silent(why: &AskError) -> Response {
    error(StatusCode::BAD_GATEWAY, exit::FAILED, format!("the worker does not say: {why}"))
}

/// The refusal of who asks for a worker that takes too long.
pub(super) fn late() -> Response {
    error(StatusCode::GATEWAY_TIMEOUT, exit::TIMED_OUT, "the worker does not answer")
}

/// The worker's answer: its status, its type and its body.
fn answer_with(head: &Parts, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = head.status;
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
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
