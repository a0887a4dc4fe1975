//! Layer around all routes of a server with sessions: it gives each request its [`Session`], and writes what has changed before the
//! answer goes out.
//!
//! A request that does not take its session costs two allocations here. Nothing of it is looked at.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::Sessions;
use super::session::{Session, Slot};

/// Puts sessions around a service.
#[derive(Debug, Clone)]
pub(crate) struct SessionsLayer(pub(super) Sessions);

impl<S> Layer<S> for SessionsLayer {
    type Service = WithSessions<S>;

    fn layer(&self, inner: S) -> WithSessions<S> {
        WithSessions { sessions: self.0.clone(), inner }
    }
}

/// A service with sessions.
#[derive(Debug, Clone)]
pub(crate) struct WithSessions<S> {
    sessions: Sessions,
    inner: S,
}

impl<S: Service<Request, Response = Response, Error = Infallible>> Service<Request> for WithSessions<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Answering<S::Future> {
        let session = Session::new(self.sessions.clone());
        request.extensions_mut().insert(Slot(session.clone()));
        Answering { inner: self.inner.call(request), session: Some(session), finishing: None }
    }
}

pin_project_lite::pin_project! {
    /// An answer on its way.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: F,
        // Until the answer is there.
        session: Option<Session>,
        // The answer, while its session is written.
        finishing: Option<BoxFuture<'static, Response>>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(mut session) = this.session.take() {
            let response = match this.inner.poll(cx) {
                Poll::Ready(Ok(response)) => response,
                Poll::Ready(Err(never)) => match never {},
                Poll::Pending => {
                    *this.session = Some(session);
                    return Poll::Pending;
                }
            };
            if session.is_settled() {
                return Poll::Ready(Ok(response));
            }
            *this.finishing = Some(Box::pin(session.finish(response)));
        }
        match this.finishing {
            Some(finishing) => finishing.as_mut().poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}
