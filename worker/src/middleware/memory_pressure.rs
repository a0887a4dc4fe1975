//! An end to new work when memory is short: what is under way can be finished.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::{Connection, Error, pressure};

/// The answer to a request that is new work, if memory is short. On a connection that another worker has handed over nothing is new work:
/// there is nobody to whom its client could turn.
pub(super) fn refusal(request: &Request) -> Option<Response> {
    if !pressure::is_near() {
        return None;
    }
    let is_handed = request.extensions().get::<Connection>().is_some_and(Connection::is_taken_over);
    (!is_handed).then(answer)
}

/// The same as a layer, for a server that has nothing else around its routes.
pub(crate) async fn refuse(request: Request, next: Next) -> Response {
    match refusal(&request) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

fn answer() -> Response {
    let error = Error::new(StatusCode::SERVICE_UNAVAILABLE, "this server is short of memory; try again").code("MEMORY");
    let mut response = error.into_refusal();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
