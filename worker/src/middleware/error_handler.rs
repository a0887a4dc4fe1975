//! Errors in a shape of the application's own.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::{self, OnError};
use crate::error::Report;

/// What [`error_handler`] gives.
pub type Handled = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Has `f` answer instead, wherever something inside of this middleware refuses: an [`crate::Error`] of a handler or of middleware, axum's
/// own rejections, files, and where there is no such path or method. For a group or a route; [`crate::Server::error_handler`] does so for
/// all refusals, those of what stands further out (a rate limit, a timeout, a panic), too.
///
/// ```
/// use gin_worker::axum::{Json, http::header, response::IntoResponse};
/// use gin_worker::{Group, middleware::{Report, error_handler}};
/// use serde_json::json;
///
/// // RFC 9457
/// fn problem(report: Report) -> impl IntoResponse {
///     let body = json!({ "title": report.message, "status": report.status.as_u16(), "detail": report.details });
///     (report.status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body))
/// }
///
/// let api = Group::<()>::new("/api").middleware(error_handler(problem));
/// ```
///
/// Headers that the error's answer had (`Allow`, `Retry-After`) are kept, but for those that tell of its body.
pub fn error_handler<F, R>(f: F) -> impl Fn(Request, Next) -> Handled + Clone + Send + Sync + 'static
where
    F: Fn(Report) -> R + Clone + Send + Sync + 'static,
    R: IntoResponse,
{
    let on_error = Arc::new(OnError::new(f));
    move |request: Request, next: Next| {
        let on_error = Arc::clone(&on_error);
        let language = refusal::language(request.headers());
        Box::pin(async move { refusal::answered(next.run(request).await, Some(&on_error), language) })
    }
}
