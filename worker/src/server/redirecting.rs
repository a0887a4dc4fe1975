//! Gin's redirect of slashes, around the answer to unknown paths.
//!
//! The routes are known only when all are gathered, so they are set later.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk, Ready, ready};
use tower::{Layer, Service};

use crate::router::Redirects;

/// Layer that looks for a route with, or without, a slash at the end before a path counts as unknown.
#[derive(Debug, Clone)]
pub(super) struct Redirecting(Arc<OnceLock<Vec<Redirects>>>);

pub(super) fn redirecting(redirects: &Arc<OnceLock<Vec<Redirects>>>) -> Redirecting {
    Redirecting(Arc::clone(redirects))
}

impl<S> Layer<S> for Redirecting {
    type Service = RedirectOr<S>;

    fn layer(&self, inner: S) -> RedirectOr<S> {
        RedirectOr { redirects: Arc::clone(&self.0), inner }
    }
}

/// Service that redirects, or asks the inner service if there is nothing to redirect to.
#[derive(Debug, Clone)]
pub(super) struct RedirectOr<S> {
    redirects: Arc<OnceLock<Vec<Redirects>>>,
    inner: S,
}

impl<S> Service<Request> for RedirectOr<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, MapOk<S::Future, fn(S::Response) -> Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (method, uri) = (request.method(), request.uri());
        let found = self.redirects.get().into_iter().flatten().find_map(|redirects| redirects.answer(method, uri));
        match found {
            Some(redirect) => Either::Left(ready(Ok(redirect))),
            None => Either::Right(self.inner.call(request).map_ok(IntoResponse::into_response)),
        }
    }
}
