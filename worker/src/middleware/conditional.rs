//! Middleware for some requests alone.

use std::pin::Pin;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What [`when`] gives.
pub type Conditional = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Runs `f` around those requests that `is_meant` says, and around no others.
///
/// The path of a request is in its normal form here, and files are found by the same path: a client that encodes a letter of it
/// (`/%70rivate/`) does not get around a guard. Characters other than letters, digits and `-._~` are compared as they are encoded: `%20`,
/// `%C3%A9`.
///
/// ```
/// use gin_worker::axum::{extract::Request, middleware::Next, response::Response};
/// use gin_worker::{Config, Error, Result, Server, middleware::when};
///
/// async fn auth(request: Request, next: Next) -> Result<Response> {
///     match request.headers().contains_key("authorization") {
///         true => Ok(next.run(request).await),
///         false => Err(Error::unauthorized("missing token")),
///     }
/// }
///
/// let is_private = |request: &Request| request.uri().path().starts_with("/private/");
/// let server: Server = Server::new(&Config::<()>::default()).middleware(when(is_private, auth));
/// ```
pub fn when<P, F, R>(is_meant: P, f: F) -> impl Fn(Request, Next) -> Conditional + Clone + Send + Sync + 'static
where
    P: Fn(&Request) -> bool + Clone + Send + Sync + 'static,
    F: Fn(Request, Next) -> R + Clone + Send + Sync + 'static,
    R: Future<Output: IntoResponse> + Send + 'static,
{
    move |request: Request, next: Next| {
        if is_meant(&request) {
            let answer = f(request, next);
            Box::pin(async move { answer.await.into_response() })
        } else {
            Box::pin(next.run(request))
        }
    }
}
