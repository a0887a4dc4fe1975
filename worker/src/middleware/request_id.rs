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
use crate::observed::Unobserved;
use crate::request_id::{Name, RequestId};
use crate::request_scope::Scope;

/// The name that a middleware has given to the request with these extensions.
pub(super) fn of(extensions: &Extensions) -> Option<Name> {
    let own = || extensions.get::<RequestId>().cloned().map(Name::Known);
    extensions.get::<Snapshot>().and_then(|snapshot| snapshot.1.clone()).or_else(own)
}

impl Argument for RequestId {}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    /// One is made, if nobody has given the request a name.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if let Some(known) = of(&parts.extensions).map(|name| name.id()).or_else(current_request::id) {
            return Ok(known);
        }
        let own = Name::in_headers(&parts.headers).id();
        parts.extensions.insert(own.clone());
        Ok(own)
    }
}

/// Takes the name that the request has, or that the client or a proxy has given, else makes one. The answer has it, too, and so has
/// each line of the log that the handler writes.
pub async fn request_id(mut request: Request, next: Next) -> Response {
    let known = of(request.extensions()).map(|name| name.id()).or_else(current_request::id);
    let id = known.unwrap_or_else(|| RequestId::given_or_new(&request));
    request.extensions_mut().insert(id.clone());
    let scope = Scope::of::<Unobserved>(&request, Name::Known(id.clone()), ());
    let mut response = scope.around(next.run(request)).await;
    response.headers_mut().insert(RequestId::HEADER, id.into_value());
    response
}
