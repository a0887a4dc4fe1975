//! A name for each request, to find it by in logs: `X-Request-Id`.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::api::Argument;
use crate::current_request;
use crate::live::Snapshot;
use crate::request_id::RequestId;

/// The name that a middleware has given to the request with these extensions.
pub(super) fn of(extensions: &Extensions) -> Option<&RequestId> {
    extensions.get::<Snapshot>().and_then(|snapshot| snapshot.1.as_ref()).or_else(|| extensions.get())
}

impl Argument for RequestId {}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    /// An empty one, if another server than this library's serves the router.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(of(&parts.extensions).cloned().or_else(current_request::id).unwrap_or_else(Self::empty))
    }
}

/// Takes the name that the client or a proxy has given, else makes one; the answer has it, too. It is the one that the log has.
pub async fn request_id(mut request: Request, next: Next) -> Response {
    let known = of(request.extensions()).cloned().or_else(current_request::id);
    let id = known.unwrap_or_else(|| RequestId::given_or_new(&request));
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(RequestId::HEADER, id.into_value());
    response
}
