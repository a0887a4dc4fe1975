//! Errors in a shape of the application's own.

use std::pin::Pin;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Report;

/// What [`error_handler`] gives.
pub type Handled = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Has `f` answer instead, wherever an [`crate::Error`] is the answer: of a handler, of middleware inside of this one, of files, and where
/// there is no such path or method. What stands further out (a rate limit, a timeout, a panic) answers for itself.
///
/// ```
/// use gin_worker::axum::{Json, http::header, response::IntoResponse};
/// use gin_worker::{Config, Server, middleware::{Report, error_handler}};
/// use serde_json::json;
///
/// // RFC 9457
/// fn problem(report: Report) -> impl IntoResponse {
///     let body = json!({ "title": report.message, "status": report.status.as_u16(), "detail": report.details });
///     (report.status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body))
/// }
///
/// let server: Server = Server::new(&Config::<()>::default()).middleware(error_handler(problem));
/// ```
///
/// Headers that the error's answer had (`Allow`, `Retry-After`) are kept, but for those that tell of its body.
pub fn error_handler<F, R>(f: F) -> impl Fn(Request, Next) -> Handled + Clone + Send + Sync + 'static
where
    F: Fn(Report) -> R + Clone + Send + Sync + 'static,
    R: IntoResponse,
{
    move |request: Request, next: Next| {
        let f = f.clone();
        Box::pin(async move {
            let mut before = next.run(request).await;
            let Some(report) = before.extensions_mut().remove::<Report>() else { return before };
            let mut response = f(report).into_response();
            let (old, _) = before.into_parts();
            for (name, value) in &old.headers {
                if !response.headers().contains_key(name) && !name.as_str().starts_with("content-") {
                    response.headers_mut().append(name, value.clone());
                }
            }
            // What the log is to say.
            response.extensions_mut().extend(old.extensions);
            response
        })
    }
}
