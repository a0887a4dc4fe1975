//! The builder: a server before it runs, with its routes, middleware and hooks.
//!
//! [`Server`] gathers what the application says; `finish` makes one router of it, once. What then lives is a [`Worker`]: nothing
//! here listens, accepts or drains.

mod finish;
mod joining;
mod migrating;
mod mounts;
mod observing;
mod parts;
mod redirecting;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{FromFn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{Route as AxumRoute, any};
use tower::{Layer, Service};

use crate::config::Config;
use crate::graceful::{Background, Hook, Life};
use crate::middleware::refusal::OnError;
use crate::middleware::{Report, tell_panics};
use crate::mount::Mount;
use crate::router::{Group, Place, Redirects, Registry, Route, short_name};
use crate::{BoxError, Result, StartError, logging};
pub(crate) use finish::Given;
use gin_shared::inherit;
use joining::{Part, Pieces};
use parts::Asked;
use redirecting::redirecting;

/// Routes, and how they are served.
///
/// ```no_run
/// use gin_worker::{Config, Group, Route, Server, StartError};
/// # async fn list() {}
///
/// #[tokio::main]
/// async fn main() -> Result<(), StartError> {
///     let config = Config::<()>::load()?;
///     Server::new(&config)
///         .get("/", || async { "hello" })
///         .group(Group::new("/api/v1").route(Route::get("/users", list).describe("List users")))
///         .run()
///         .await
/// }
/// ```
pub struct Server<S = ()> {
    config: Config,
    /// True if none of this library's own middleware and endpoints are put around the routes.
    is_bare: bool,
    registry: Registry<S>,
    /// Routes of axum's own routers, of which nothing is known, and the fallback.
    pieces: Pieces<S>,
    around: Vec<(String, Around<S>)>,
    mounts: Vec<Mount>,
    /// Changes for all routes, so made at the end.
    not_allowed: Vec<Late<S>>,
    /// The application's answer to refusals.
    on_error: Option<Arc<OnError>>,
    redirects: Arc<OnceLock<Vec<Redirects>>>,
    /// Routers that were built when their state was given.
    done: Vec<Part>,
    hooks: Vec<Hook>,
    background: Vec<Background>,
    life: Life,
    /// Version of the application.
    version: Option<String>,
    asked: Asked,
}

type Around<S> = Box<dyn FnOnce(Router, &S) -> Router + Send>;
type Late<S> = Box<dyn FnOnce(Router<S>) -> Router<S> + Send>;

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.config).field("life", &self.life).finish_non_exhaustive()
    }
}

macro_rules! methods {
    ($($name:ident)*) => {$(
        #[doc = concat!("As [`Route::", stringify!($name), "`], for a route without a name or a description.")]
        #[must_use]
        #[track_caller]
        pub fn $name<H: Handler<T, S>, T: 'static>(self, path: &str, handler: H) -> Self {
            self.route(Route::$name(path, handler))
        }
    )*};
}

impl<S: Clone + Send + Sync + 'static> Server<S> {
    /// Makes a server with this library's middleware (Gin's `Default`), and the system's endpoints.
    #[must_use]
    #[track_caller]
    pub fn new<A: Clone>(config: &Config<A>) -> Self {
        Self::build(config, false)
    }

    /// Makes a server with nothing around its routes (Gin's `New`), and no endpoints of this library. Why a request failed is logged here,
    /// too.
    #[must_use]
    pub fn bare<A: Clone>(config: &Config<A>) -> Self {
        Self::build(config, true)
    }

    #[track_caller]
    fn build<A: Clone>(config: &Config<A>, is_bare: bool) -> Self {
        Self {
            config: config.settings(),
            is_bare,
            registry: Registry::default(),
            pieces: Pieces::default(),
            around: Vec::new(),
            mounts: if is_bare { Vec::new() } else { Mount::configured(&config.files) },
            not_allowed: Vec::new(),
            on_error: None,
            redirects: Arc::default(),
            done: Vec::new(),
            hooks: Vec::new(),
            background: Vec::new(),
            life: Life::default(),
            version: None,
            asked: Asked::default(),
        }
    }

    methods! { get post put patch delete head options any }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route<S>) -> Self {
        self.registry.route(route);
        self
    }

    /// Adds a group of routes.
    #[must_use]
    pub fn group(mut self, group: Group<S>) -> Self {
        self.registry.group(group);
        self
    }

    /// Adds the routes of an axum router. They are not listed in `/routes`. A route that is there already, also a second fallback, is an
    /// error of the start, which names both places.
    ///
    /// ```
    /// use gin_worker::axum::{Router, routing::get};
    /// use gin_worker::{Config, Server};
    ///
    /// let orders = Router::new().route("/orders/{id}", get(async || "an order"));
    /// let server: Server = Server::new(&Config::<()>::default()).merge(orders);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn merge(mut self, router: Router<S>) -> Self {
        self.pieces.merge(router, Place::caller());
        self
    }

    /// Adds the routes of an axum router below `path`, as [`Self::merge`].
    ///
    /// ```
    /// use gin_worker::axum::{Router, routing::get};
    /// use gin_worker::{Config, Server};
    ///
    /// let orders = Router::new().route("/orders/{id}", get(async || "an order"));
    /// let server: Server = Server::new(&Config::<()>::default()).nest("/api/v1", orders);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn nest(mut self, path: &str, router: Router<S>) -> Self {
        self.pieces.nest(path, router, Place::caller());
        self
    }

    /// Serves the files of a directory under `prefix` (Gin's `Static`), by the settings of `[static]`. Hidden files are refused, and no
    /// path leads out of the directory. Called again, it serves another directory under another prefix, beside `static.dir`; two under
    /// the same prefix are a start error, and so is a directory that is missing.
    ///
    /// Routes go first, whenever they are added. Files at "/" answer each GET that no route does, so [`Self::fallback`] sees none of
    /// them: a single-page application has [`Mount::fallback`].
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    /// # let temporary = tempfile::tempdir()?;
    /// # let (dist, uploads) = (temporary.path(), temporary.path());
    ///
    /// let server: Server = Server::new(&Config::<()>::default())
    ///     .get("/api/health", || async { "well" })
    ///     .files("/", dist)
    ///     .files("/uploads", uploads);
    /// # server.into_router()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "static-files")]
    #[must_use]
    #[track_caller]
    pub fn files(self, prefix: &str, dir: impl Into<PathBuf>) -> Self {
        self.mount(Mount::new(prefix, dir))
    }

    /// The same by settings of its own: see [`Mount`].
    #[cfg(feature = "static-files")]
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Answers `path` with one file (Gin's `StaticFile`). If there is no such file, the server does not start.
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    /// # let temporary = tempfile::tempdir()?;
    /// # let icon = temporary.path().join("icon.png");
    /// # std::fs::write(&icon, "")?;
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).static_file("/favicon.ico", icon);
    /// # server.into_router()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "static-files")]
    #[must_use]
    #[track_caller]
    pub fn static_file(self, path: &str, file: impl Into<PathBuf>) -> Self {
        self.mount(Mount::file(path, file))
    }

    /// Answers requests that no route matches (Gin's `NoRoute`), instead of 404.
    ///
    /// ```
    /// use gin_worker::axum::http::Uri;
    /// use gin_worker::{Config, Error, Server};
    ///
    /// async fn nothing(uri: Uri) -> Error {
    ///     Error::not_found(format!("there is nothing at {}", uri.path()))
    /// }
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).fallback(nothing);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn fallback<H: Handler<T, S>, T: 'static>(mut self, handler: H) -> Self {
        let router = Router::<S>::new().fallback(any(handler).layer(redirecting(&self.redirects)));
        self.pieces.fallback(router, Place::caller());
        self
    }

    /// Answers requests whose path has routes of other methods only (Gin's `NoMethod`), instead of 405. `Allow` is set already.
    #[must_use]
    pub fn method_not_allowed<H: Handler<T, S>, T: 'static>(mut self, handler: H) -> Self {
        self.not_allowed.push(Box::new(move |router| router.method_not_allowed_fallback(handler)));
        self
    }

    /// Has `f` answer every refusal, from whichever layer: an [`crate::Error`] of a handler or of middleware, axum's own rejections, paths
    /// without a route, methods, bodies that are too long or too slow, rate limits, timeouts, panics. Without it a refusal is
    /// `{"error", "details"?, "code"?}`. Two are left alone: the 400 of [`crate::binding::Bind`] and its like, which is text as Gin's is, and a
    /// refusal that a handler gives another content type than text/plain. What is no HTTP at all is refused before.
    ///
    /// ```
    /// use gin_worker::axum::{Json, http::header, response::IntoResponse};
    /// use gin_worker::{Config, Server, middleware::Report};
    /// use gin_worker::serde_json::json;
    ///
    /// // RFC 9457
    /// fn problem(report: Report) -> impl IntoResponse {
    ///     let body = json!({ "title": report.message, "status": report.status.as_u16(), "detail": report.details });
    ///     (report.status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body))
    /// }
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).error_handler(problem);
    /// ```
    ///
    /// Headers of the refusal (`Allow`, `Retry-After`) are kept, but for those that tell of its body. A text for people can be in the
    /// client's language, by [`Report::accept_language`].
    #[must_use]
    pub fn error_handler<F, R>(mut self, f: F) -> Self
    where
        F: Fn(Report) -> R + Send + Sync + 'static,
        R: IntoResponse,
    {
        self.on_error = Some(Arc::new(OnError::new(f)));
        self
    }

    /// Gives handlers, middleware and WebSockets their state: those that were added before.
    ///
    /// ```
    /// use gin_worker::axum::extract::State;
    /// use gin_worker::{Config, Server};
    ///
    /// #[derive(Clone)]
    /// struct App {
    ///     name: &'static str,
    /// }
    ///
    /// async fn hello(State(app): State<App>) -> String {
    ///     format!("hello from {}", app.name)
    /// }
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).get("/", hello).with_state(App { name: "shop" });
    /// ```
    #[must_use]
    pub fn with_state(mut self, state: S) -> Server {
        let traces = self.config.traces_handlers();
        self.done.push(Part::new(self.registry, self.pieces, self.not_allowed, &state, traces));
        let around = self.around.into_iter().map(|(name, around)| (name, bound(around, state.clone()))).collect();
        Server {
            config: self.config,
            is_bare: self.is_bare,
            registry: Registry::default(),
            pieces: Pieces::default(),
            around,
            mounts: self.mounts,
            not_allowed: Vec::new(),
            on_error: self.on_error,
            redirects: self.redirects,
            done: self.done,
            hooks: self.hooks,
            background: self.background,
            life: self.life,
            version: self.version,
            asked: self.asked,
        }
    }

    /// Runs `f` around everything, including the answers to unknown paths, inside of the middleware that was added before. As
    /// [`Route::middleware`]: `f` may take extractors, also `State` if it is added before [`Self::with_state`].
    #[must_use]
    pub fn middleware<F, T>(mut self, f: F) -> Self
    where
        F: Clone + Send + Sync + 'static,
        T: 'static,
        FromFn<F, S, AxumRoute, T>: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Response: IntoResponse + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Future: Send + 'static,
    {
        let around = move |router: Router, state: &S| router.layer(from_fn_with_state::<F, S, T>(state.clone(), f));
        self.around.push((short_name::<F>(), Box::new(around)));
        self
    }

    /// Puts a tower layer around everything, as [`Self::middleware`].
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<AxumRoute> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.around.push((short_name::<L>(), Box::new(move |router: Router, _: &S| router.layer(layer))));
        self
    }

    /// Runs `hook` when all connections are closed: hooks run one after the other, in the order of these calls, each for
    /// `timeout` at most. If a hook fails, panics or takes too long, that is logged and the next one runs.
    ///
    /// ```
    /// use std::time::Duration;
    /// use gin_worker::{BoxError, Config, Server};
    ///
    /// async fn close() -> Result<(), BoxError> {
    ///     // Write what is not written yet, close the pool.
    ///     Ok(())
    /// }
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).on_shutdown("database", Duration::from_secs(5), close);
    /// ```
    #[must_use]
    pub fn on_shutdown<F, R>(mut self, name: &str, timeout: Duration, hook: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hooks.push(Hook::new(name, timeout, hook));
        self
    }

    /// Runs `task` beside the requests, from the start on. The task must end by itself when the worker drains ([`Life::draining`]). A task
    /// that has not ended `timeout` after the last connection is dropped where it waits, and logged, before the hooks run.
    ///
    /// ```
    /// use std::time::Duration;
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).background("mailer", Duration::from_secs(5), |life| async move {
    ///     let mut ticks = tokio::time::interval(Duration::from_secs(60));
    ///     loop {
    ///         tokio::select! { _ = ticks.tick() => { /* send what waits */ }, () = life.draining() => return }
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn background<F, R>(mut self, name: &str, timeout: Duration, task: F) -> Self
    where
        F: FnOnce(Life) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.background.push(Background::new(name, timeout, task));
        self
    }

    /// Sets the application's version, for `/health` and `/info`: `env!("CARGO_PKG_VERSION")`. Without it they show this library's.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// The worker's [`Life`], for handlers: how many connections there are, and whether the worker drains.
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default());
    /// let life = server.life();
    /// let server = server.get("/load", move || async move { format!("{} connections", life.connections()) });
    /// ```
    #[must_use]
    pub fn life(&self) -> Life {
        self.life.clone()
    }

    /// Uses an existing [`Life`], which a handler of the router has already.
    #[must_use]
    pub fn with_life(mut self, life: Life) -> Self {
        self.life = life;
        self
    }
}

impl Server {
    /// Serves until it is told to stop, drains, and runs the hooks. Logs as `[logging]` says, unless the application has a subscriber of
    /// its own.
    ///
    /// Asked to migrate its database (`--migrate status|up|down [N]`, or `gin-ctl migrate`), the program does that instead, and ends.
    ///
    /// # Errors
    /// If the server cannot start. See [`StartError`].
    pub async fn run(self) -> Result<(), StartError> {
        if let Some(order) = migrating::asked()? {
            return self.migrate(order).await;
        }
        let _log = if tracing::dispatcher::has_been_set() {
            None
        } else {
            let traces = self.config.traces_handlers();
            Some(logging::start_with(&self.config.logging, traces).map_err(StartError::Log)?)
        };
        tell_panics();
        for warning in &self.config.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(line) = self.asked.passed_over(&self.config) {
            tracing::info!("{line}");
        }
        let mut inherited = inherit::take().map_err(StartError::Inherit)?;
        let given = Given { shared_memory: inherited.shared_memory.take(), metrics: inherited.metrics.take() };
        let worker = self.worker(Some(given))?;
        worker.run(inherited).await
    }

    /// Makes one axum router of the routes and everything around them: to be served by another server, or asked without a socket.
    /// Hooks, background tasks, logs, traces and the drain are left out.
    ///
    /// # Errors
    /// If routes exclude one another, files are missing, or a database, a cache or sessions are registered, which nobody would open. See
    /// [`StartError`].
    pub fn into_router(self) -> Result<Router, StartError> {
        self.asked.none(&self.config)?;
        self.finish(None).map(|finished| finished.router)
    }
}

/// The same middleware with its state.
fn bound<S: Send + 'static>(around: Around<S>, state: S) -> Around<()> {
    Box::new(move |router: Router, _: &()| around(router, &state))
}
