//! An end to handlers that take too long.

use std::future::Future;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use crate::Error;
use crate::live::Snapshot;

/// Answers 503 when the handler has not answered within `timeouts.request`, and drops it where it waits. What it has begun elsewhere
/// (a spawned task, a blocking call) goes on. An answer whose head is out goes on, too.
pub async fn timeout(request: Request, next: Next) -> Response {
    let limit = request.extensions().get::<Snapshot>().and_then(|snapshot| snapshot.0.config.timeouts.request);
    within(limit, next.run(request)).await
}

async fn within(limit: Option<Duration>, answer: impl Future<Output = Response>) -> Response {
    let Some(limit) = limit else { return answer.await };
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| self::answer(limit))
}

/// What a client hears of it.
pub(super) fn answer(limit: Duration) -> Response {
    let error = Error::new(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {limit:?}"));
    error.code("REQUEST_TIMEOUT").into_refusal()
}
