//! The parameter of `/files/*filepath` with the `/` before it, as Gin gives it: "/a/b.txt". axum's words, `/files/{*filepath}`, give
//! "a/b.txt".
//!
//! Only axum's router can set parameters. So a router of this one route reads the path once more, with a second `/` where the parameter
//! begins, and what it has read takes the place of what was read before.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::Extensions;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use tower::ServiceExt;

use super::path::RoutePath;

/// Reads the parameters of one route.
struct CatchAll {
    router: Router,
    /// Slashes of a path up to where the parameter begins.
    slashes: usize,
}

/// What a request's parameters were put into.
#[derive(Clone)]
struct Captured(Extensions);

/// Gives the handlers of a route the parameter with its `/`, if the path is `written` so.
pub(super) fn in_gins_words<S: Clone + Send + Sync + 'static>(
    path: &RoutePath,
    written: &str,
    answers: MethodRouter<S>,
    is_any: bool,
) -> MethodRouter<S> {
    let Some((before, name)) = path.catch_all() else { return answers };
    if !before.ends_with('/') || !written.ends_with(&format!("/*{name}")) {
        return answers;
    }
    let router = Router::new().route(path.as_str(), any(capture));
    let own = Arc::new(CatchAll { router, slashes: before.matches('/').count() });
    let layer = from_fn(move |mut request: Request, next: Next| {
        let own = Arc::clone(&own);
        async move {
            if let Some(read) = own.read(request.uri().path()).await {
                request.extensions_mut().extend(read);
            }
            next.run(request).await
        }
    });
    if is_any { answers.layer(layer) } else { answers.route_layer(layer) }
}

async fn capture(request: Request) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Captured(request.into_parts().0.extensions));
    response
}

impl CatchAll {
    /// The parameters of a path, and nothing else.
    async fn read(&self, path: &str) -> Option<Extensions> {
        let (at, _) = path.match_indices('/').nth(self.slashes - 1)?;
        let (before, rest) = path.split_at(at);
        let request = Request::builder().uri(format!("{before}/{rest}")).body(Body::empty()).ok()?;
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        let Captured(mut read) = response.extensions_mut().remove()?;
        // The route's own is there already.
        read.remove::<MatchedPath>();
        Some(read)
    }
}
