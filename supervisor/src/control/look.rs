//! `GET`: what is, and what was.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gin_shared::exit;
use serde::Serialize;
use tokio::sync::oneshot;

use super::error;
use crate::inbox::{Handle, Message};

/// `GET /v1/status`
pub(super) async fn status(State(handle): State<Handle>) -> Response {
    ask(&handle, Message::Status).await
}

/// `GET /v1/history`
pub(super) async fn history(State(handle): State<Handle>) -> Response {
    ask(&handle, Message::History).await
}

/// `GET /v1/certificates`
pub(super) async fn certificates(State(handle): State<Handle>) -> Response {
    ask(&handle, Message::ListCertificates).await
}

async fn ask<T: Serialize>(handle: &Handle, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Response {
    match answer(handle, message).await {
        Some(answer) => Json(answer).into_response(),
        None => leaving(),
    }
}

/// The loop's answer; `None` if it has ended.
pub(super) async fn answer<T>(handle: &Handle, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    handle.inbox.send(message(sender)).await.ok()?;
    answer.await.ok()
}

fn leaving() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, exit::NO_SUPERVISOR, "the supervisor is leaving")
}
