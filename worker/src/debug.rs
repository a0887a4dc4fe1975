//! Profiles and figures under `/debug/`: on the private listener, elsewhere with a token.
//!
//! | path | answers | file |
//! |---|---|---|
//! | `/debug/pprof/` | a page that lists the others | `page` |
//! | `/debug/pprof/profile?seconds=30&hz=99` | time on the CPU | `profile` |
//! | `/debug/pprof/heap` | memory, with the feature `profile-heap` | `profile` |
//! | `/debug/pprof/goroutine` | requests and tasks that are alive | `alive` |
//! | `/debug/pprof/block` | polls that have blocked their thread | `block` |
//! | `/debug/vars` | figures of this worker, as JSON | `vars` |
//!
//! Profiles are for `go tool pprof`; `?flame` asks for a picture, `?debug=1` for a text. On a public listener they are no routes: a request
//! with the token (`gate`) is answered before the router looks at it, and all others go on to the router. So whoever has no token gets the
//! answer of an unknown path, whatever he asks, and whatever the application answers there.

mod alive;
mod block;
mod form;
mod gate;
mod page;
mod profile;
#[cfg(test)]
mod tests;
mod vars;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::future::BoxFuture;

use crate::config::Secret;
use crate::observed::requests::Requests;
use crate::parts::Parts;
use crate::profile::Cpu;
use crate::system::About;
use crate::traces::Tracer;
use crate::{Config, Error, Life, Result, StartError};
use form::{Form, Shape};

/// Everything that the endpoints know beside [`About`].
#[derive(Debug)]
pub(crate) struct Debug {
    /// Opens them on public listeners. `None`: they are not there.
    token: Option<Secret>,
    /// Of the metrics.
    namespace: String,
    life: Life,
    parts: Parts,
    requests: Option<&'static Requests>,
    tracer: Option<&'static Tracer>,
}

impl Debug {
    /// Reads the token.
    ///
    /// # Errors
    /// If there is no token in the file that is to have it.
    pub(crate) fn new(
        config: &Config,
        life: &Life,
        parts: Parts,
        requests: Option<&'static Requests>,
        tracer: Option<&'static Tracer>,
    ) -> Result<Arc<Self>, StartError> {
        let token = config.profiling.read_token().map_err(StartError::Debug)?;
        let namespace = config.monitoring.namespace.clone();
        Ok(Arc::new(Self { token, namespace, life: life.clone(), parts, requests, tracer }))
    }

    /// True if a request with these headers may see the endpoints on a public listener.
    fn opens(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_some_and(|token| gate::opens(headers, |given| token.is(given)))
    }
}

/// The listener that a request has come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Private,
    Public,
}

/// One of the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Index,
    Cpu,
    Heap,
    Alive,
    Blocked,
    Vars,
}

const PAGES: [(&str, Page); 6] = [
    ("/debug/pprof", Page::Index),
    ("/debug/pprof/profile", Page::Cpu),
    ("/debug/pprof/heap", Page::Heap),
    ("/debug/pprof/goroutine", Page::Alive),
    ("/debug/pprof/block", Page::Blocked),
    ("/debug/vars", Page::Vars),
];

/// Each path, with and without a slash at its end.
fn paths() -> impl Iterator<Item = (String, Page)> {
    PAGES.into_iter().flat_map(|(path, page)| [(path.to_owned(), page), (format!("{path}/"), page)])
}

/// The page at a path of a request.
fn page_at(path: &str) -> Option<Page> {
    let path = path.strip_suffix('/').unwrap_or(path);
    PAGES.into_iter().find_map(|(known, page)| (known == path).then_some(page))
}

/// The endpoints of the private listener. The path of the metrics stays theirs.
pub(crate) fn private(about: &Arc<About>, debug: &Arc<Debug>) -> Router {
    paths().filter(|(path, _)| *path != about.metrics_path).fold(Router::new(), |router, (path, page)| {
        router.route(&path, any(answering(page, Arc::clone(about), Arc::clone(debug))))
    })
}

/// The same router, which answers requests with the token by the endpoints. Without a token in the configuration there are none.
pub(crate) fn public(router: Router, about: &Arc<About>, debug: &Arc<Debug>) -> Router {
    if debug.token.is_none() {
        return router;
    }
    let (about, debug) = (Arc::clone(about), Arc::clone(debug));
    router.layer(from_fn(move |request: Request, next: Next| {
        let page = page_at(request.uri().path());
        let page = page.filter(|_| *request.uri().path() != *about.metrics_path && debug.opens(request.headers()));
        let asked = page.map(|page| (page, Arc::clone(&about), Arc::clone(&debug)));
        async move {
            match asked {
                Some((page, about, debug)) => answer(Door::Public, page, &about, &debug, request).await,
                None => next.run(request).await,
            }
        }
    }))
}

/// A handler of the private listener.
fn answering(
    page: Page,
    about: Arc<About>,
    debug: Arc<Debug>,
) -> impl Fn(Request) -> BoxFuture<'static, Response> + Clone + Send + Sync + 'static {
    move |request: Request| -> BoxFuture<'static, Response> {
        let (about, debug) = (Arc::clone(&about), Arc::clone(&debug));
        Box::pin(async move { answer(Door::Private, page, &about, &debug, request).await })
    }
}

/// Answers a request that may have its answer.
async fn answer(door: Door, page: Page, about: &About, debug: &Debug, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let answer = Asked { door, about, debug, head: &head }.answer(page).await;
    answer.unwrap_or_else(refusal)
}

/// A failure of ours is logged; the rest is told to whoever asks.
fn refusal(error: Error) -> Response {
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR { error.into_response() } else { error.into_refusal() }
}

/// A request that may have its answer.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    door: Door,
    about: &'a About,
    debug: &'a Debug,
    head: &'a Head,
}

impl Asked<'_> {
    async fn answer(self, page: Page) -> Result<Response> {
        let method = &self.head.method;
        if *method != Method::GET && *method != Method::HEAD {
            let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here"));
            return Err(error.header(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let Query(wanted) = Query::<Wanted>::try_from_uri(&self.head.uri)
            .map_err(|error| Error::bad_request(format!("the query cannot be read: {error}")))?;
        let form = |what: &str| Form { title: format!("{}: {what}", self.about.name), shape: wanted.shape() };
        match page {
            Page::Index => Ok(page::answer(&self)),
            Page::Cpu => profile::cpu(&self, wanted.cpu()?, form("time on the CPU")).await,
            Page::Heap => profile::heap(&self, form("memory")).await,
            Page::Alive => alive::answer(&self, form("requests and tasks that are alive")).await,
            Page::Blocked => block::answer(&self, form("polls that have blocked their thread")).await,
            Page::Vars => vars::answer(&self).await,
        }
    }

    fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    /// Handlers by what they answer, as `GET /users/:id`.
    fn handlers(&self) -> HashMap<String, String> {
        let routes = self.about.routes.get().into_iter().flat_map(|routes| routes.iter());
        routes.map(|record| (format!("{} {}", record.method, record.path), record.handler.clone())).collect()
    }
}

/// The handler of a route, by the name under which its requests are told.
fn handler<'a>(handlers: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    let any = || name.split_once(' ').map(|(_, path)| format!("ANY {path}"));
    handlers.get(name).or_else(|| handlers.get(&any()?)).map(String::as_str)
}

/// The query of a request.
#[derive(Debug, Default, serde::Deserialize)]
struct Wanted {
    /// Length of a profile of the CPU. 30 without it.
    seconds: Option<String>,
    /// Samples of a thread in a second of its time. 99 without it.
    hz: Option<String>,
    /// With any value: a picture.
    flame: Option<String>,
    /// With any value but 0: a text.
    debug: Option<String>,
}

impl Wanted {
    fn shape(&self) -> Shape {
        match (&self.flame, self.debug.as_deref()) {
            (Some(_), _) => Shape::Picture,
            (None, None | Some("0" | "")) => Shape::Bytes,
            (None, Some(_)) => Shape::Text,
        }
    }

    /// # Errors
    /// 400 for a number that cannot be.
    fn cpu(&self) -> Result<Cpu> {
        let seconds = number("seconds", self.seconds.as_deref(), 30, 300)?;
        let hz = number("hz", self.hz.as_deref(), 99, 999)?;
        Ok(Cpu { time: Duration::from_secs(u64::from(seconds)), hz })
    }
}

/// A number of the query, from 1 on.
fn number(name: &str, text: Option<&str>, default: u32, most: u32) -> Result<u32> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Error::bad_request(format!("{name}: it must be a number from 1 to {most}, or left out")))
}
