//! A request that traces, the list of those that are alive, or both follow.

use std::collections::HashSet;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, HeaderMap, HeaderName};
use axum::response::Response;

use super::doing::Doing;
use super::requests::{Watch, What};
use super::{Ids, Observed, Observer};
use crate::Connection;
use crate::live::Snapshot;
use crate::middleware::client_ip;
use crate::request_id::{Name, RequestId};
use crate::route_name;
use crate::traces::{Facts, RequestSpan};

static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request that is followed.
#[derive(Debug)]
pub(crate) struct Watched {
    span: Option<RequestSpan>,
    watch: Option<Watch>,
}

impl Observer for &'static Observed {
    type Watched = Watched;
    type Told = Option<Ids>;

    fn begin(self, request: &mut Request, began: Instant) -> Watched {
        let span = self.traces.map(|tracer| {
            RequestSpan::begin(tracer, request, began, || Peer::of(request).is_trusted, || facts(request))
        });
        let watch = self.requests.map(|requests| {
            let (method, route) = (request.method().clone(), route(request.extensions()));
            let id = id(request).unwrap_or_else(|| RequestId::given_or_new(request));
            requests.enter(What::Request { method, route, id })
        });
        if let Some(watch) = &watch {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = watch.body(body, Doing::Body as u8);
        }
        Watched { span, watch }
    }

    fn within<T>(watched: &mut Watched, f: impl FnOnce() -> T) -> T {
        match (&mut watched.span, &watched.watch) {
            (Some(span), Some(watch)) => span.within(|| watch.within(f)),
            (Some(span), None) => span.within(f),
            (None, Some(watch)) => watch.within(f),
            (None, None) => f(),
        }
    }

    fn told(watched: &Watched) -> Option<Ids> {
        watched.span.as_ref().and_then(RequestSpan::ids)
    }

    fn ids(told: Option<Ids>) -> Option<Ids> {
        told
    }

    fn answered(watched: &mut Watched, response: &Response) {
        if let Some(span) = &mut watched.span {
            span.answered(response.status());
        }
        watched.watch = None;
    }
}

/// The other end of a request's connection.
struct Peer {
    is_tls: bool,
    /// True if its word about clients counts: it is among `server.trusted_proxies`, or on this machine, at a Unix socket.
    is_trusted: bool,
}

impl Peer {
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let Some(connection) = extensions.get::<Connection>() else { return Self { is_tls: false, is_trusted: false } };
        let is_tls = connection.info().tls.is_some();
        let Some(address) = connection.peer().map(|peer| peer.ip().to_canonical()) else {
            return Self { is_tls, is_trusted: true };
        };
        let trusted = extensions.get::<Snapshot>().map(|snapshot| &snapshot.0.config.server.trusted_proxies);
        let is_trusted = trusted.is_some_and(|all| all.iter().any(|network| network.contains(&address)));
        Self { is_tls, is_trusted }
    }
}

fn facts(request: &Request) -> Facts {
    let peer = Peer::of(request);
    let client = client_ip::of(request.extensions(), request.headers());
    let is_tls = peer.is_tls || peer.is_trusted && proxy_speaks_tls(request.headers());
    Facts { client, is_tls, id: id(request) }
}

/// True if the nearest proxy says so.
fn proxy_speaks_tls(headers: &HeaderMap) -> bool {
    let told = headers.get_all(&FORWARDED_PROTO).iter().next_back().and_then(|told| told.to_str().ok());
    let last = told.and_then(|told| told.rsplit(',').next());
    last.is_some_and(|last| last.trim().eq_ignore_ascii_case("https"))
}

/// The name that the request has already.
fn id(request: &Request) -> Option<RequestId> {
    let extensions = request.extensions();
    let named = extensions.get::<Snapshot>().and_then(|snapshot| snapshot.1.as_ref());
    named.map(Name::id).or_else(|| extensions.get().cloned())
}

/// The request's route, as it was registered. A text of each stays for good: there are as many as routes.
fn route(extensions: &Extensions) -> &'static str {
    static KNOWN: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);
    let Some(route) = extensions.get::<MatchedPath>() else { return "-" };
    let route = route_name::of(route.as_str());
    if let Some(known) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(route) {
        return known;
    }
    let kept: &'static str = Box::leak(route.into());
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(kept);
    kept
}
