//! Middleware for some requests alone.

use std::convert::Infallible;
use std::pin::Pin;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::{FromFn, Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::{Layer, Service};

/// What [`when`] gives.
pub type Conditional = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Extractor of the whole state of the application, of whatever type: for middleware that is written for any application. Where the type
/// is known, axum's `State` says the same.
#[derive(Debug, Clone, Copy)]
pub struct WholeState<S>(pub S);

impl<S: Clone + Send + Sync> FromRequestParts<S> for WholeState<S> {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self(state.clone()))
    }
}

/// Runs `f` around those requests that `is_meant` says, and around no others. As any middleware, `f` may take extractors, `State` among
/// them.
///
/// The path of a request is in its normal form here, and files are found by the same path: a client that encodes a letter of it
/// (`/%70rivate/`) does not get around a guard. Characters other than letters, digits and `-._~` are compared as they are encoded: `%20`,
/// `%C3%A9`.
///
/// ```
/// use gin_worker::axum::{extract::Request, http::HeaderMap, middleware::Next, response::Response};
/// use gin_worker::{Config, Error, Result, Server, middleware::when};
///
/// async fn auth(headers: HeaderMap, request: Request, next: Next) -> Result<Response> {
///     match headers.contains_key("authorization") {
///         true => Ok(next.run(request).await),
///         false => Err(Error::unauthorized("missing token")),
///     }
/// }
///
/// let is_private = |request: &Request| request.uri().path().starts_with("/private/");
/// let server: Server = Server::new(&Config::<()>::default()).middleware(when(is_private, auth));
/// ```
pub fn when<S, P, F, T>(
    is_meant: P,
    f: F,
) -> impl Fn(WholeState<S>, Request, Next) -> Conditional + Clone + Send + Sync + 'static
where
    S: Clone + Send + Sync + 'static,
    P: Fn(&Request) -> bool + Clone + Send + Sync + 'static,
    F: Clone + Send + Sync + 'static,
    T: 'static,
    FromFn<F, S, Next, T>: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    move |WholeState(state): WholeState<S>, request: Request, next: Next| -> Conditional {
        if is_meant(&request) {
            let answer = from_fn_with_state::<F, S, T>(state, f.clone()).layer(next).call(request);
            Box::pin(async move { answer.await.into_response() })
        } else {
            Box::pin(next.run(request))
        }
    }
}
