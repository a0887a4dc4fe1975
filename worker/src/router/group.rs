//! A route before it is registered, and groups of them.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{FromFn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, Route as AxumRoute, any, on};
use tower::{Layer, Service};

use super::names::{HandlerName, short_name};
use super::place::Place;
use super::session::RouteSession;
use crate::api::Operation;

/// One route: a method, a path, a handler, and what `/routes` and `gin-ctl routes` show of it.
///
/// A handler is an `async fn` of axum's: its arguments are extractors, its answer is anything that is `IntoResponse`.
///
/// ```
/// use gin_worker::axum::extract::Path;
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Route, Server};
///
/// async fn user(Path(id): Path<u64>) -> String {
///     format!("user {id}")
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let route = Route::get("/users/:id", user).describe("Shows a user").tag("users");
/// let app = TestServer::start(Server::new(&Config::<()>::default()).route(route)).await;
/// app.get("/users/7").send().await.assert_text("user 7");
/// # }
/// ```
pub struct Route<S = ()> {
    pub(super) method: Option<Method>,
    pub(super) path: String,
    pub(super) answers: MethodRouter<S>,
    pub(super) handler: HandlerName,
    /// True for a route of this library's: what it answers does not go by parameters.
    pub(super) is_own: bool,
    /// True if pages of other origins may send it requests with a client's cookies.
    pub(super) is_csrf_exempt: bool,
    pub(super) middleware: Vec<Middleware<S>>,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
    /// The kind of session that it opens, if it opens WebSockets.
    pub(super) session: Option<RouteSession<S>>,
    pub(super) place: Place,
    /// What it reads and answers, if its types tell it.
    pub(super) operation: Option<Operation>,
}

/// One link of a chain, with its name.
pub(super) struct Middleware<S> {
    pub(super) name: String,
    pub(super) apply: Apply<S>,
}

/// The second: whether it answers every method, which to axum is a fallback. The third: the application's state.
type Apply<S> = Arc<dyn Fn(MethodRouter<S>, bool, &S) -> MethodRouter<S> + Send + Sync>;

impl<S> Clone for Middleware<S> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), apply: Arc::clone(&self.apply) }
    }
}

macro_rules! methods {
    ($($name:ident, $method:ident;)*) => {$(
        #[doc = concat!("Answers `", stringify!($method), "` on `path`, in Gin's words (`/users/:id`) or axum's (`/users/{id}`).")]
        #[track_caller]
        pub fn $name<H, T>(path: &str, handler: H) -> Self
        where
            H: Handler<T, S>,
            T: 'static,
        {
            Self::new(Some(Method::$method), path, on(MethodFilter::$method, handler), HandlerName::of::<H>())
        }
    )*};
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    methods! {
        get, GET;
        post, POST;
        put, PUT;
        patch, PATCH;
        delete, DELETE;
        head, HEAD;
        options, OPTIONS;
    }

    /// Answers every method on `path` that has no route of its own.
    #[track_caller]
    pub fn any<H, T>(path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self::new(None, path, any(handler), HandlerName::of::<H>())
    }

    #[track_caller]
    pub(super) fn new(method: Option<Method>, path: &str, answers: MethodRouter<S>, handler: HandlerName) -> Self {
        let (middleware, description, tags) = (Vec::new(), String::new(), Vec::new());
        let place = Place::caller();
        let handler = handler.at(place);
        Self {
            method,
            path: path.to_owned(),
            answers,
            handler,
            is_own: false,
            is_csrf_exempt: false,
            middleware,
            description,
            tags,
            session: None,
            place,
            operation: None,
        }
    }

    /// The same for a path that the application has given elsewhere: there it is told in errors.
    pub(crate) fn placed(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The same for a route that opens WebSockets, which `H` serves.
    pub(crate) fn opens<H>(self, session: RouteSession<S>) -> Self {
        Self { session: Some(session), handler: HandlerName::of::<H>().at(self.place), ..self }
    }

    /// Names the handler in the records, instead of its function or, for a closure, its place.
    ///
    /// ```
    /// use gin_worker::Route;
    ///
    /// let route = Route::<()>::get("/", async || "hello").named("greeting");
    /// ```
    #[must_use]
    pub fn named(mut self, handler: &str) -> Self {
        handler.clone_into(&mut self.handler.told);
        self
    }

    /// The same for a route of this library's.
    pub(crate) fn own(self, handler: &str) -> Self {
        Self { is_own: true, ..self.named(handler) }
    }

    /// Says what the route does, in a sentence for `/routes` and `gin-ctl routes`.
    #[must_use]
    pub fn describe(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// Adds a word to find the route by in `/routes`. A route may have several.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Leaves the route out of `security.enable_csrf`: its handler proves by itself whose request it is, by a signature of the body, say.
    ///
    /// ```
    /// use gin_worker::Route;
    /// # async fn paid() {}
    ///
    /// let route = Route::<()>::post("/webhooks/payment", paid).csrf_exempt();
    /// ```
    #[must_use]
    pub fn csrf_exempt(mut self) -> Self {
        self.is_csrf_exempt = true;
        self
    }

    /// Runs `f` before the handler, inside of what was added before: an `async fn(Request, Next) -> impl IntoResponse`, whose first
    /// arguments may be extractors, `State` among them: the state is the one of [`crate::Server::with_state`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use gin_worker::axum::extract::{Request, State};
    /// use gin_worker::axum::http::HeaderMap;
    /// use gin_worker::axum::middleware::Next;
    /// use gin_worker::axum::response::Response;
    /// use gin_worker::{Config, Error, Group, Result, Route, Server};
    ///
    /// #[derive(Clone)]
    /// struct App {
    ///     token: Arc<str>,
    /// }
    ///
    /// async fn auth(State(app): State<App>, headers: HeaderMap, request: Request, next: Next) -> Result<Response> {
    ///     match headers.get("authorization") {
    ///         Some(given) if given.as_bytes() == app.token.as_bytes() => Ok(next.run(request).await),
    ///         _ => Err(Error::unauthorized("missing token")),
    ///     }
    /// }
    ///
    /// let private = Group::new("/me").middleware(auth).route(Route::get("/", async || "hello"));
    /// let server = Server::new(&Config::<()>::default()).group(private).with_state(App { token: "Bearer x".into() });
    /// ```
    #[must_use]
    pub fn middleware<F, T>(mut self, f: F) -> Self
    where
        F: Clone + Send + Sync + 'static,
        T: 'static,
        FromFn<F, S, AxumRoute, T>: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Response: IntoResponse + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Future: Send + 'static,
    {
        self.middleware.push(Middleware::of_fn(f));
        self
    }

    /// Puts a tower layer around the handler, inside of the middleware that was added before.
    ///
    /// ```
    /// use gin_worker::Route;
    /// use gin_worker::axum::Extension;
    ///
    /// async fn limit(Extension(limit): Extension<u32>) -> String {
    ///     limit.to_string()
    /// }
    ///
    /// let route = Route::<()>::get("/limit", limit).layer(Extension(10_u32));
    /// ```
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<AxumRoute> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.middleware.push(Middleware::of_layer(layer));
        self
    }
}

/// Routes whose paths begin with the same prefix and that share middleware, tags and a description. Groups stand in groups, as deep as
/// needed.
///
/// ```
/// use gin_worker::axum::{extract::Request, middleware::Next, response::Response};
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Error, Group, Result, Route, Server};
///
/// async fn auth(request: Request, next: Next) -> Result<Response> {
///     if request.headers().contains_key("authorization") {
///         Ok(next.run(request).await)
///     } else {
///         Err(Error::unauthorized("missing token"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let api = Group::new("/api")
///     .route(Route::get("/version", async || "1.2"))
///     .group(Group::new("/admin").tag("admin").middleware(auth).route(Route::get("/users", async || "ann")));
/// let app = TestServer::start(Server::new(&Config::<()>::default()).group(api)).await;
/// app.get("/api/version").send().await.assert_text("1.2");
/// app.get("/api/admin/users").send().await.assert_status(401);
/// app.get("/api/admin/users").bearer("token").send().await.assert_text("ann");
/// # }
/// ```
pub struct Group<S = ()> {
    pub(super) prefix: String,
    /// As [`Route::csrf_exempt`], for all of its routes.
    pub(super) is_csrf_exempt: bool,
    pub(super) middleware: Vec<Middleware<S>>,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
    pub(super) routes: Vec<Route<S>>,
    pub(super) groups: Vec<Group<S>>,
}

impl<S: Clone + Send + Sync + 'static> Group<S> {
    /// Makes a group whose paths begin with `prefix`. Prefix and path are joined by one `/`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            is_csrf_exempt: false,
            middleware: Vec::new(),
            description: String::new(),
            tags: Vec::new(),
            routes: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route<S>) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds a group below this one.
    #[must_use]
    pub fn group(mut self, group: Self) -> Self {
        self.groups.push(group);
        self
    }

    /// Says what the group is for, in a sentence.
    #[must_use]
    pub fn describe(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// Adds a word that all routes of the group, and of groups in it, are found by in `/routes`.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    /// Leaves all routes of the group, and of groups in it, out of `security.enable_csrf`. See [`Route::csrf_exempt`].
    #[must_use]
    pub fn csrf_exempt(mut self) -> Self {
        self.is_csrf_exempt = true;
        self
    }

    /// Runs `f` around all routes of the group, and of groups in it, whether they were added before or are added later. See
    /// [`Route::middleware`].
    #[must_use]
    pub fn middleware<F, T>(mut self, f: F) -> Self
    where
        F: Clone + Send + Sync + 'static,
        T: 'static,
        FromFn<F, S, AxumRoute, T>: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Response: IntoResponse + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Future: Send + 'static,
    {
        self.middleware.push(Middleware::of_fn(f));
        self
    }

    /// Puts a tower layer around all routes of the group, and of groups in it. See [`Route::layer`].
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<AxumRoute> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.middleware.push(Middleware::of_layer(layer));
        self
    }
}

impl<S: Clone + Send + Sync + 'static> Middleware<S> {
    fn of_fn<F, T>(f: F) -> Self
    where
        F: Clone + Send + Sync + 'static,
        T: 'static,
        FromFn<F, S, AxumRoute, T>: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Response: IntoResponse + 'static,
        <FromFn<F, S, AxumRoute, T> as Service<Request>>::Future: Send + 'static,
    {
        let apply: Apply<S> = Arc::new(move |answers: MethodRouter<S>, is_any: bool, state: &S| {
            let layer = from_fn_with_state::<F, S, T>(state.clone(), f.clone());
            if is_any { answers.layer(layer) } else { answers.route_layer(layer) }
        });
        Self { name: short_name::<F>(), apply }
    }

    fn of_layer<L>(layer: L) -> Self
    where
        L: Layer<AxumRoute> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        let apply: Apply<S> = Arc::new(move |answers: MethodRouter<S>, is_any: bool, _: &S| {
            let layer = layer.clone();
            if is_any { answers.layer(layer) } else { answers.route_layer(layer) }
        });
        Self { name: short_name::<L>(), apply }
    }
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("prefix", &self.prefix).field("routes", &self.routes).finish_non_exhaustive()
    }
}
