//! The one thing that is around the routes of a bare server: it names requests, so that the log says which one has failed, and why.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use tower::{Layer, Service};

use super::refusal;
use crate::observed::Observer;
use crate::request_id::Name;
use crate::request_scope::Scope;

/// Puts it around a service. It allocates nothing for a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailuresLayer<O>(pub(crate) O);

impl<S, O: Observer> Layer<S> for FailuresLayer<O> {
    type Service = Failures<S, O>;

    fn layer(&self, inner: S) -> Failures<S, O> {
        Failures { observer: self.0, inner }
    }
}

/// What it is put around.
#[derive(Debug, Clone)]
pub(crate) struct Failures<S, O> {
    observer: O,
    inner: S,
}

impl<S, O> Service<Request> for Failures<S, O>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    O: Observer,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Answering<S::Future, O> {
        let mut watched = self.observer.begin_now(&mut request);
        let mut scope = Scope::of::<O>(&request, Name::of(&request), O::told(&watched));
        let inner = O::within(&mut watched, || scope.run(|| self.inner.call(request)));
        Answering { inner: Some(inner), scope, watched }
    }
}

pin_project_lite::pin_project! {
    /// An answer on its way.
    pub(crate) struct Answering<F, O: Observer> {
        // None in the midst of the drop alone.
        #[pin]
        inner: Option<F>,
        scope: Scope,
        watched: O::Watched,
    }

    impl<F, O: Observer> PinnedDrop for Answering<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let (mut inner, scope) = (this.inner, this.scope);
            // If the client has gone, the log and the trace of its request tell what it waited for.
            O::within(this.watched, || scope.run(|| inner.set(None)));
        }
    }
}

impl<F: Future<Output = Result<Response, Infallible>>, O: Observer> Future for Answering<F, O> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else { return Poll::Pending };
        let polled = O::within(this.watched, || this.scope.run(|| inner.poll(cx).map_ok(refusal::told)));
        if let Poll::Ready(Ok(response)) = &polled {
            O::answered(this.watched, response);
        }
        polled
    }
}

#[cfg(test)]
#[cfg(feature = "logging")]
mod tests {
    use std::io;
    use std::panic::AssertUnwindSafe;

    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::Next;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use futures_util::FutureExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use crate::logging::captured::Lines;
    use crate::middleware::{recover, tell_panics};
    use crate::{Config, Error, RequestId, Result, ResultExt, Server};

    #[derive(Debug, thiserror::Error)]
    #[error("cannot load order")]
    struct LoadOrder(#[source] io::Error);

    fn load() -> Result<(), LoadOrder> {
        Err(LoadOrder(io::Error::other("connection refused")))
    }

    async fn fails() -> Result {
        load().internal()
    }

    async fn breaks() {
        panic!("as told")
    }

    async fn conceals(request: axum::extract::Request, next: Next) -> axum::response::Response {
        let status = next.run(request).await.status();
        (status, "ask again later").into_response()
    }

    async fn names(id: RequestId) -> Result {
        Err(Error::new(StatusCode::BAD_GATEWAY, id.as_str()))
    }

    /// A server with a failure of each kind.
    fn failing(server: Server) -> Server {
        let router = Router::new()
            .route("/merged", get(fails))
            .route("/text", get(async || (StatusCode::BAD_GATEWAY, "the printer is on fire\n")))
            .route("/status", get(async || StatusCode::NOT_IMPLEMENTED))
            .route("/concealed", get(fails).layer(axum::middleware::from_fn(conceals)))
            .route("/breaks", get(breaks))
            .route("/recovered", get(breaks).layer(axum::middleware::from_fn(recover)))
            .route("/names", get(names))
            .route("/refused", get(async || Error::not_found("none").caused_by("by design")))
            .route("/fine", get(async || "fine"));
        server.get("/fails", fails).merge(router)
    }

    fn servers() -> [Server; 3] {
        let config = Config::<()>::default();
        [Server::new(&config), Server::bare(&config), Server::bare(&config).error_handler(|_| StatusCode::IM_A_TEAPOT)]
    }

    /// Lines at WARN and above of one request.
    async fn lines_of(server: Server, path: &str, name: Option<&str>) -> Vec<Value> {
        tell_panics();
        let lines = Lines::default();
        let own = lines.clone();
        let log = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(tracing::Level::WARN);
        let _log = tracing::subscriber::set_default(log.with_writer(move || own.clone()).finish());
        let mut request = axum::extract::Request::get(path);
        if let Some(name) = name {
            request = request.header("x-request-id", name);
        }
        let router = failing(server).finish(None).unwrap().router;
        // Without `recover` a bare server lets a panic through.
        let _ = AssertUnwindSafe(router.oneshot(request.body(Body::empty()).unwrap())).catch_unwind().await;
        let text = lines.text();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn every_server_says_why_a_request_failed_and_once() {
        for (path, message) in [
            ("/fails", "cannot load order: connection refused"),
            ("/merged", "cannot load order: connection refused"),
            ("/concealed", "cannot load order: connection refused"),
            ("/text", "the printer is on fire"),
            ("/status", "not implemented"),
            ("/breaks", "panic: as told"),
            ("/recovered", "panic: as told"),
        ] {
            for (number, server) in servers().into_iter().enumerate() {
                let lines = lines_of(server, path, Some("mine-1")).await;
                assert_eq!(lines.len(), 1, "{path}, server {number}: {lines:#?}");
                for (field, value) in [
                    ("level", "ERROR"),
                    ("message", message),
                    ("request_id", "mine-1"),
                    ("method", "GET"),
                    ("path", path),
                ] {
                    assert_eq!(lines[0][field], value, "{path}, server {number}: {lines:#?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_failure_is_no_error() {
        for path in ["/fine", "/refused", "/nowhere"] {
            for server in servers() {
                assert_eq!(lines_of(server, path, None).await, Vec::<Value>::new(), "{path}");
            }
        }
    }

    #[tokio::test]
    async fn a_request_has_one_name_for_its_handler_and_the_log() {
        for server in servers() {
            let line = lines_of(server, "/names", None).await.remove(0);
            assert_eq!(line["request_id"], line["message"]);
            assert!(line["request_id"].as_str().is_some_and(|id| id.len() > 20), "{line}");
        }
    }
}
