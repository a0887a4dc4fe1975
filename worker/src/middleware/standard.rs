//! What [`crate::Server::new`] puts around everything, as one: each request takes the settings once, so that none sees half of a
//! change.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::Sleep;
use tower::{Layer, Service};

use super::access_log::{End, Line};
use super::cors::{self, Added, Verdict};
use super::metrics::{Counted, Metrics};
use super::rate_limit::{self, Client, Standing};
use super::refusal::{self, OnError};
use super::security_headers::Hsts;
use super::{client_ip, memory_pressure, recover, security_headers, timeout};
use crate::connections::BodyVerdict;
use crate::current_request;
use crate::live::{Settings, Snapshot};
use crate::observed::Observer;
use crate::request_id::{Name, RequestId};
use crate::request_path;
use crate::request_scope::Scope;
use crate::shared_memory::{Buckets, monotonic};
use crate::{Config, Connection, Error};

/// Paths at which orchestrators and load balancers probe: no rate limit counts them.
const PROBES: [&str; 3] = ["/health", "/livez", "/readyz"];

/// What it needs.
#[derive(Debug)]
pub(crate) struct Standard {
    pub(crate) settings: Settings,
    pub(crate) metrics: Option<&'static Metrics>,
    /// The application's answer to refusals.
    pub(crate) on_error: Option<Arc<OnError>>,
}

/// Puts it around a service. One of its own rather than a function of axum's: it is around every request there is, and this way it
/// allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct StandardLayer<O> {
    observer: O,
    standard: &'static Standard,
}

impl<O: Observer> StandardLayer<O> {
    /// It is as old as the process will be: never freed, so nobody need count who uses it.
    pub(crate) fn new(observer: O, standard: Standard) -> Self {
        Self { observer, standard: Box::leak(Box::new(standard)) }
    }
}

impl<S, O: Observer> Layer<S> for StandardLayer<O> {
    type Service = Around<S, O>;

    fn layer(&self, inner: S) -> Around<S, O> {
        Around { observer: self.observer, standard: self.standard, inner }
    }
}

/// What it is put around.
#[derive(Debug, Clone)]
pub(crate) struct Around<S, O> {
    observer: O,
    standard: &'static Standard,
    inner: S,
}

impl<S, O> Service<Request> for Around<S, O>
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
        let began = Instant::now();
        // Our own connections have done it already; another server may serve this router, too.
        let connection = request.extensions().get::<Connection>();
        let is_ours = connection.is_some();
        let is_own_tls = connection.is_some_and(|connection| connection.info().tls.is_some());
        let is_too_long = !is_ours && request_path::normalize(&mut request).is_err();
        let live = self.standard.settings.load();
        let (settings, name) = (&live.config, Name::of(&request));
        if settings.limits.body != AXUMS_BODY_MAX {
            DefaultBodyLimit::max(usize::try_from(settings.limits.body).unwrap_or(usize::MAX)).apply(&mut request);
        }
        let counted =
            self.standard.metrics.map(|metrics| Counted::begin(metrics, request.method(), request.extensions(), began));
        // Who is to be believed about the client's address.
        Snapshot::put(&live, Some(name.clone()), &mut request);
        let mut watched = self.observer.begin(&mut request, began);
        let line = Line::begin(&request, began);
        let on_error = self.standard.on_error.as_deref();
        let language = on_error.and_then(|_| refusal::language(request.headers()));
        let is_tls = is_own_tls
            || !settings.server.trusted_proxies.is_empty()
                && client_ip::proxy_speaks_tls(request.extensions(), request.headers());
        let hsts = is_tls.then(|| Hsts::of(&settings.security));
        let (verdict, standing) = judge(&live.buckets, settings, &request);
        let refusal = standing.as_ref().and_then(Standing::refusal);
        let (added, ready) = match verdict {
            Verdict::Answer(response) => (Added::default(), Some(response)),
            Verdict::GoOn(added) => {
                (added, refusal.or_else(|| memory_pressure::refusal(&request).filter(|_| !is_probe(&request))))
            }
        };
        let verdict = request.extensions().get::<BodyVerdict>().cloned();
        let ready = if is_too_long { Some(too_long()) } else { ready };
        let limit = settings.timeouts.request.filter(|_| ready.is_none());
        let mut scope = Scope::of::<O>(&request, name, O::told(&watched));
        let (mut inner, mut ready) = (None, ready.map(Box::new));
        // A service may panic before it gives its future, too. The future is large: it is put where it stays.
        if ready.is_none()
            && caught::<O, _>(&mut scope, &mut watched, || inner = Some(self.inner.call(request))).is_err()
        {
            ready = Some(Box::new(recover::answer()));
        }
        let limit = limit.map(|limit| Box::new((limit, Box::pin(tokio::time::sleep(limit)))));
        let sets_headers = settings.security.headers;
        let last = Some(Last { verdict, on_error, language, sets_headers, line, counted, hsts, standing, added });
        Answering { inner, ready, limit, scope, watched, last }
    }
}

/// Runs a part of the application, which may panic. What it leaves half done behind that is its own, as with any thread.
#[inline(always)]
fn caught<O: Observer, T>(
    scope: &mut Scope,
    watched: &mut O::Watched,
    f: impl FnOnce() -> T,
) -> std::thread::Result<T> {
    catch_unwind(AssertUnwindSafe(|| O::within(watched, || scope.run(f))))
}

/// What axum has without a word of ours.
const AXUMS_BODY_MAX: u64 = 2 << 20;

pin_project_lite::pin_project! {
    /// An answer on its way.
    pub(crate) struct Answering<F, O: Observer> {
        #[pin]
        inner: Option<F>,
        ready: Option<Box<Response>>,
        limit: Option<Box<(Duration, Pin<Box<Sleep>>)>>,
        scope: Scope,
        watched: O::Watched,
        last: Option<Last>,
    }

    impl<F, O: Observer> PinnedDrop for Answering<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let (mut inner, scope) = (this.inner, this.scope);
            // If the client has gone, the log and the trace of its request tell what it waited for.
            if inner.is_some() {
                O::within(this.watched, || scope.run(|| inner.set(None)));
            }
        }
    }
}

/// What is done with the answer.
struct Last {
    /// On the request's body, if it has one.
    verdict: Option<BodyVerdict>,
    on_error: Option<&'static OnError>,
    /// For it.
    language: Option<HeaderValue>,
    sets_headers: bool,
    line: Option<Box<Line>>,
    counted: Option<Counted>,
    /// Over TLS.
    hsts: Option<Hsts>,
    standing: Option<Standing>,
    added: Added,
}

impl<F: Future<Output = Result<Response, Infallible>>, O: Observer> Future for Answering<F, O> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = match (this.ready.take(), this.inner.as_mut().as_pin_mut()) {
            (Some(ready), _) => *ready,
            (None, Some(inner)) => match caught::<O, _>(this.scope, this.watched, || inner.poll(cx)) {
                Ok(Poll::Ready(Ok(response))) => response,
                Ok(Poll::Pending) => {
                    let Some(limit) = this.limit else { return Poll::Pending };
                    if limit.1.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    timeout::answer(limit.0)
                }
                Err(_) => recover::answer(),
            },
            (None, None) => return Poll::Pending,
        };
        // A query that the time-out ends is told in the request's trace.
        O::within(this.watched, || this.inner.set(None));
        match this.last.take() {
            Some(last) => {
                let told = O::told(this.watched);
                let response = O::within(this.watched, || this.scope.run(|| last.finish::<O>(response, told)));
                O::answered(this.watched, &response);
                Poll::Ready(Ok(response))
            }
            None => Poll::Pending,
        }
    }
}

impl Last {
    /// Within the scope of the request.
    fn finish<O: Observer>(self, mut response: Response, told: O::Told) -> Response {
        let Self { verdict, on_error, language, sets_headers, line, counted, hsts, standing, added } = self;
        if let Some(verdict) = verdict {
            response = verdict.on(response);
        }
        response = refusal::answered(response, on_error, language);
        if sets_headers {
            security_headers::set(response.headers_mut(), hsts);
        }
        added.put(response.headers_mut());
        if let Some(standing) = standing {
            standing.put(response.headers_mut());
        }
        if let Some(id) = current_request::id() {
            response.headers_mut().insert(RequestId::HEADER, id.into_value());
        }
        if let Some(counted) = counted {
            counted.answered(response.status());
        }
        line.end::<O>(&response, told);
        response
    }
}

/// The answer to a path that is too long in its normal form.
fn too_long() -> Response {
    Error::new(StatusCode::URI_TOO_LONG, "the path is too long").into_response()
}

/// True for a request by which a load balancer or an orchestrator looks whether we are well.
pub(super) fn is_probe(request: &Request) -> bool {
    PROBES.contains(&request.uri().path())
}

/// Judges a request by CORS and by the rate limit. A preflight counts for no limit, or pages could not know that they are limited;
/// nor does a probe of a load balancer or an orchestrator, or it would end a worker that is well.
fn judge(buckets: &Buckets, settings: &Config, request: &Request) -> (Verdict, Option<Standing>) {
    let verdict = cors::before(&settings.cors, request.method(), request.headers());
    if !settings.rate_limit.enable || matches!(verdict, Verdict::Answer(_)) || is_probe(request) {
        return (verdict, None);
    }
    // Redis counts it, in `rate_limit::remote`, which is put around the routes.
    #[cfg(feature = "redis")]
    if settings.rate_limit.store == crate::config::RateLimitStore::Redis {
        return (verdict, None);
    }
    let client = Client::of(request, settings.rate_limit.without_address);
    let standing = client.map(|client| rate_limit::count(buckets, &settings.rate_limit, "", client, monotonic()));
    (verdict, standing)
}

/// What of it is at work, in order, for the routes' records.
pub(crate) fn names(config: &Config, counts: bool) -> Vec<String> {
    let all = [
        ("request_id", true),
        ("body_limit", true),
        ("metrics", counts),
        ("access_log", true),
        ("security_headers", config.security.headers),
        ("cors", config.cors.enable),
        ("rate_limit", config.rate_limit.enable),
        ("recover", true),
        ("timeout", config.timeouts.request.is_some()),
    ];
    all.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::future::Ready;

    use super::*;
    use crate::observed::Unobserved;

    /// The fields of [`Answering`] but the one of its observer.
    #[expect(dead_code, reason = "its size is asked for")]
    struct Unwatched<F> {
        inner: Option<F>,
        ready: Option<Box<Response>>,
        limit: Option<Box<(Duration, Pin<Box<Sleep>>)>>,
        scope: Scope,
        last: Option<Last>,
    }

    #[test]
    fn an_answer_that_nobody_observes_has_no_byte_for_it() {
        type Inner = Ready<Result<Response, Infallible>>;
        assert_eq!(size_of::<Answering<Inner, Unobserved>>(), size_of::<Unwatched<Inner>>());
    }
}
