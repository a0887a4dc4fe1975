//! The end of building: one router of all that was registered, with everything that stands around it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::Server;
use super::joining::{Joined, Part, checked, joined};
use super::mounts::{self, Mounting};
use super::observing::Begun;
use super::redirecting::redirecting;
use crate::config::{Config, Mode};
#[cfg(feature = "profile")]
use crate::debug::{self, Debug};
use crate::graceful::Hook;
use crate::live::{Live, Settings, Snapshot};
use crate::metrics;
#[cfg(feature = "redis")]
use crate::middleware::Remote;
use crate::middleware::{FailuresLayer, Standard, StandardLayer, memory_pressure, names, refusal, tried};
use crate::observed::{Observing, Unobserved};
use crate::parts::Parts;
use crate::router::{Redirects, Registry, Route, Routes};
use crate::shared_memory::Buckets;
use crate::system::{self, About};
use crate::traces::Tracer;
use crate::websocket::KnownSessions;
use crate::worker::Worker;
use crate::{Error, StartError};

/// Time of the last hook: of sending the spans that wait. What has no answer by then is lost.
const FLUSH: Duration = Duration::from_millis(1900);
/// Time for the hook itself.
const FLUSH_HOOK: Duration = Duration::from_secs(2);

/// Memory that a master has given its worker.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) shared_memory: Option<OwnedFd>,
    pub(crate) metrics: Option<OwnedFd>,
}

/// The finished router, with the list of its routes.
pub(crate) struct Finished {
    pub(crate) router: Router,
    pub(crate) routes: Arc<Routes>,
    pub(crate) about: Arc<About>,
    pub(crate) settings: Settings,
    pub(crate) sessions: KnownSessions,
    pub(crate) parts: Parts,
    /// Endpoints under `/debug/`, if there are any.
    #[cfg(feature = "profile")]
    pub(crate) debug: Option<Arc<Debug>>,
}

impl Server {
    /// `given`: of the one server that is this process. `None`: one that a test, or another server, has.
    pub(crate) fn worker(mut self, given: Option<Given>) -> Result<Worker, StartError> {
        let (config, life, is_bare) = (self.config.clone(), self.life.clone(), self.is_bare);
        let mut hooks = std::mem::take(&mut self.hooks);
        let begun = Begun::new(&config, self.version.as_deref())?;
        let background = begun.follow(std::mem::take(&mut self.background));
        let Begun { observing, exporter } = begun;
        let tracer = observing.tracer();
        let Finished {
            router,
            routes,
            about,
            settings,
            sessions: websockets,
            parts,
            #[cfg(feature = "profile")]
            debug,
        } = self.finish_observed(given, observing)?;
        // The application's own hooks may use the parts.
        hooks.extend(parts.hooks());
        // The last one: what closes has spans, too.
        hooks.extend(tracer.map(flush));
        if config.server.mode == Mode::Debug && !is_bare {
            for line in routes.lines() {
                tracing::info!("{line}");
            }
        }
        Ok(Worker {
            config,
            settings,
            router,
            about,
            hooks,
            background,
            life,
            websockets,
            parts,
            exporter,
            tracer,
            #[cfg(feature = "profile")]
            debug,
        })
    }

    /// Makes the router of a server that nobody observes.
    ///
    /// # Errors
    /// As [`Self::finish_observed`].
    pub(crate) fn finish(self, given: Option<Given>) -> Result<Finished, StartError> {
        self.finish_observed(given, Observing::default())
    }

    /// # Errors
    /// If routes exclude one another (all of them are named), files are missing, a metric of the application has a wrong name, or the
    /// configuration of a part cannot be used.
    fn finish_observed(self, given: Option<Given>, observing: Observing) -> Result<Finished, StartError> {
        let redirects_slashes = self.config.server.redirect_trailing_slash && !self.is_bare;
        let mut own = self;
        let is_process = given.is_some();
        let Given { shared_memory, metrics } = given.unwrap_or_default();
        let registry = registry(metrics, &own.config, is_process)?;
        let mut made = std::mem::take(&mut own.asked).make(&own.config)?;
        let about = About::new(&own.config, own.life.clone(), own.version.clone(), registry, made.parts.clone());
        #[cfg(feature = "profile")]
        let debug = own.debug(&made.parts, observing)?;
        let mounts = std::mem::take(&mut own.mounts);
        let wrong = mounts::excluded(&mounts);
        Mounting { registry: &mut own.registry, parts: &own.done }.add(&mounts);
        let mut parts = std::mem::take(&mut own.done);
        parts.push(Part::new(
            std::mem::take(&mut own.registry),
            std::mem::take(&mut own.pieces),
            Vec::new(),
            &(),
            own.config.traces_handlers(),
        ));
        let Joined { mut router, mut routes, mut redirects, sessions } = joined(parts, wrong)?;
        if !own.is_bare {
            for route in system::public(&own.config, &about) {
                if let Some((known, redirected)) = add(&mut router, route)? {
                    routes.push(known);
                    redirects.push(redirected);
                }
            }
            let fallback =
                Router::new().fallback(any(async || Error::not_found("not found")).layer(redirecting(&own.redirects)));
            router = tried(|| router.clone().merge(fallback)).unwrap_or(router);
        }
        router = own.not_allowed.into_iter().fold(router, |router, add| add(router));
        if !own.is_bare {
            // For paths whose answer nobody has chosen.
            router = router.method_not_allowed_fallback(method_not_allowed);
        }
        // Around all routes and the fallback. Nothing tells of these paths: neither `/routes` nor a redirect.
        #[cfg(feature = "profile")]
        if let Some(debug) = debug.as_ref().filter(|_| !own.is_bare) {
            router = debug::public(router, &about, debug);
        }
        if redirects_slashes {
            // Set once: `finish` takes the server.
            let _ = own.redirects.set(redirects);
        }
        let mut outer = if own.is_bare { Vec::new() } else { names(&own.config, registry.is_some()) };
        // What was added first runs first: it is put around last.
        let (around_names, around): (Vec<_>, Vec<_>) = own.around.into_iter().unzip();
        let has_around = !around_names.is_empty();
        outer.extend(around_names);
        let mut router = around.into_iter().rev().fold(router, |router, around| around(router, &()));
        router = made.around(router, &own.config, &routes, own.is_bare);
        #[cfg(feature = "redis")]
        if !own.is_bare {
            router = counted_in_redis(router, &own.config, &made.parts);
        }
        let routes = Arc::new(Routes::joined(&routes).within(&outer));
        let buckets = Arc::new(buckets(shared_memory, &own.config, own.is_bare));
        if own.is_bare && own.config.limits.memory.is_some() {
            router = router.layer(from_fn(memory_pressure::refuse));
        }
        let on_error = own.on_error;
        if let Some(on_error) = on_error.clone().filter(|_| own.is_bare) {
            router = router.layer(from_fn(move |request: Request, next: Next| {
                let on_error = Arc::clone(&on_error);
                let language = refusal::language(request.headers());
                async move { refusal::answered(next.run(request).await, Some(&on_error), language) }
            }));
        }
        let live = Live::open(own.config, mounts, buckets, made.parts.clone())?.traced(observing.tracer());
        let settings: Settings = Arc::new(ArcSwap::from_pointee(live));
        if own.is_bare {
            let needs_snapshot = routes.iter().len() > 0 || has_around;
            router = bare(router, needs_snapshot.then_some(&settings), observing);
        } else {
            let parts = Standard { settings: Arc::clone(&settings), metrics: about.metrics, on_error };
            router = match observing.0 {
                None => made.within(router, StandardLayer::new(Unobserved, parts)),
                Some(observed) => made.within(router, StandardLayer::new(observed, parts)),
            };
        }
        // Set once: it was made here.
        let _ = about.routes.set(Arc::clone(&routes));
        Ok(Finished {
            router,
            routes,
            about,
            settings,
            sessions,
            parts: made.parts,
            #[cfg(feature = "profile")]
            debug,
        })
    }

    /// Makes the endpoints under `/debug/`, if they are switched on.
    ///
    /// # Errors
    /// If their token cannot be read.
    #[cfg(feature = "profile")]
    fn debug(&self, parts: &Parts, observing: Observing) -> Result<Option<Arc<Debug>>, StartError> {
        if !self.config.profiling.is_on {
            return Ok(None);
        }
        let (requests, tracer) = (observing.requests(), observing.tracer());
        Debug::new(&self.config, &self.life, parts.clone(), requests, tracer).map(Some)
    }
}

/// Adds a route of this library, unless the application answers its path, in whatever way. Returns what is known of the route.
///
/// # Errors
/// If it is none.
fn add(router: &mut Router, route: Route<()>) -> Result<Option<(Arc<Routes>, Redirects)>, StartError> {
    let mut registry = Registry::default();
    registry.route(route);
    let built = registry.build(&(), false);
    checked(&built.wrong)?;
    let Ok(with) = tried(|| router.clone().merge(built.router)) else { return Ok(None) };
    *router = with;
    Ok(Some((built.routes, built.redirects)))
}

/// Puts around the routes of a bare server the little that is around them. Middleware of this library that the application has put around
/// its routes needs the snapshot of the settings.
fn bare(mut router: Router, settings: Option<&Settings>, observing: Observing) -> Router {
    if let Some(settings) = settings.cloned() {
        router = router.layer(from_fn(move |mut request: Request, next: Next| {
            Snapshot::put(&settings.load(), None, &mut request);
            next.run(request)
        }));
    }
    match observing.0 {
        None => router.layer(FailuresLayer(Unobserved)),
        Some(observed) => router.layer(FailuresLayer(observed)),
    }
}

/// Sends what waits, and ends the sending: the last hook of a worker. The sender logs what is lost.
fn flush(tracer: &'static Tracer) -> Hook {
    Hook::new("traces", FLUSH_HOOK, move || async move {
        let _lost = tracer.sink().flush(FLUSH).await;
        Ok(())
    })
}

/// The registry of a server, unless `features.metrics` is off. The application's own metrics are the process's: they follow its one server.
///
/// # Errors
/// If a metric of the application has a name that it cannot have.
fn registry(
    given: Option<OwnedFd>,
    config: &Config,
    is_process: bool,
) -> Result<Option<&'static metrics::Registry>, StartError> {
    let namespace = &config.monitoring.namespace;
    metrics::check(namespace).map_err(StartError::Metrics)?;
    if !cfg!(feature = "metrics") || !config.features.metrics {
        return Ok(None);
    }
    let registry = metrics::Registry::new(namespace, config.metrics.series, given);
    if is_process {
        metrics::attach(registry);
    }
    Ok(Some(registry))
}

/// Buckets of the rate limit: those that all workers share, if there are any.
fn buckets(memory: Option<OwnedFd>, config: &Config, is_bare: bool) -> Buckets {
    // A bare server asks for no buckets.
    let count = if is_bare { 0 } else { config.rate_limit.clients as usize };
    memory.map_or_else(
        || Buckets::own(count),
        |fd| {
            Buckets::shared(fd).unwrap_or_else(|error| {
                tracing::warn!("rate limits count in this worker alone: {error}");
                Buckets::own(count)
            })
        },
    )
}

/// Puts the rate limit of all hosts around the routes, if the configuration asks for it.
#[cfg(feature = "redis")]
fn counted_in_redis(router: Router, config: &Config, parts: &Parts) -> Router {
    if config.rate_limit.store != crate::config::RateLimitStore::Redis {
        return router;
    }
    let Some(redis) = parts.lent::<crate::redis::Redis>() else { return router };
    let remote = Remote::new(redis.clone(), &config.monitoring.namespace);
    router.layer(from_fn(move |request: Request, next: Next| remote.clone().around(request, next)))
}

async fn method_not_allowed(method: Method) -> Response {
    Error::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here")).into_response()
}
