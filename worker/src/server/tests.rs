//! State in middleware, and what excludes something else.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;

use super::*;
use crate::Error;
use crate::middleware::when;

#[derive(Clone)]
struct App {
    token: &'static str,
}

/// A part of the state is enough for whoever asks for no more.
impl FromRef<App> for &'static str {
    fn from_ref(app: &App) -> Self {
        app.token
    }
}

async fn auth(State(app): State<App>, headers: HeaderMap, request: Request, next: Next) -> Result<Response> {
    if headers.get("authorization").is_some_and(|given| given == app.token) {
        Ok(next.run(request).await)
    } else {
        Err(Error::unauthorized("missing token"))
    }
}

async fn tells(State(token): State<&'static str>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-token", token.parse().unwrap());
    response
}

fn new<S: Clone + Send + Sync + 'static>() -> Server<S> {
    Server::new(&Config::<()>::default())
}

async fn ask(router: &Router, path: &str, token: &str) -> Response {
    let request = Request::get(path).header("authorization", token).body(Body::empty()).unwrap();
    tower::ServiceExt::oneshot(router.clone(), request).await.unwrap()
}

#[tokio::test]
async fn middleware_takes_the_state_wherever_it_is_added() {
    let is_private = |request: &Request| request.uri().path().starts_with("/private");
    let server = new()
        .middleware(tells)
        .middleware(when(is_private, auth))
        .get("/", async || "open")
        .get("/private", async || "private")
        .group(Group::new("/group").middleware(auth).route(Route::get("/", async || "group")))
        .group(Group::new("/deep").group(Group::new("/er").middleware(auth).route(Route::any("/", async || "deep"))))
        .route(Route::get("/route", async || "route").middleware(auth))
        .with_state(App { token: "secret" });
    let router = server.into_router().unwrap();
    for (path, is_open) in
        [("/", true), ("/private", false), ("/group/", false), ("/deep/er/", false), ("/route", false), ("/none", true)]
    {
        let (with, without) = (ask(&router, path, "secret").await, ask(&router, path, "other").await);
        assert_ne!(with.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(without.status() != StatusCode::UNAUTHORIZED, is_open, "{path}");
        assert!([with, without].iter().all(|answer| answer.headers()["x-token"] == "secret"), "{path}");
    }
}

/// The lines of the error, each with the numbers of the lines of this file that it names.
fn wrong(server: Server) -> Vec<(String, Vec<u32>)> {
    let error = server.finish(None).err().expect("it does not start").to_string();
    let places = |line: &str| {
        let after = line.split("server/tests.rs:").skip(1);
        after.map(|rest| rest.split(':').next().unwrap().parse().unwrap()).collect()
    };
    error.lines().map(|line| (line.to_owned(), places(line))).collect()
}

#[test]
fn routers_that_exclude_routes_or_one_another_are_told_with_all_places() {
    let router = |path: &str| Router::new().route(path, get(async || ()));
    let first = line!() + 2;
    let server = new()
        .get("/a", async || ())
        .merge(router("/a"))
        .merge(router("/b"))
        .merge(router("/b"))
        .nest("/c", router("/{id}"))
        .get("/c/:name", async || ())
        .merge(router("/d"));
    let lines = wrong(server);
    let places: Vec<Vec<u32>> =
        lines.iter().map(|(_, places)| places.iter().map(|line| line - first).collect()).collect();
    assert_eq!(places, [vec![1, 0], vec![3, 2], vec![4, 5]], "{lines:?}");
    let says = [
        "the merged router (GET /a) excludes GET /a, registered at ",
        "(GET /b) excludes the merged router",
        "under /c",
    ];
    for ((line, _), says) in lines.iter().zip(says) {
        assert!(line.contains(says) && !line.contains("Overlapping") && !line.contains("Invalid route"), "{line}");
    }
    // Routes and routers of one state, and of another one.
    let with_state = new().get("/a", async || ()).merge(router("/b")).with_state(());
    assert_eq!(wrong(with_state.get("/b", async || ()).merge(router("/a"))).len(), 2);
}

#[test]
fn a_second_fallback_and_a_path_that_is_none_are_told() {
    let other = Router::new().fallback(async || ());
    let lines = wrong(
        new()
            .fallback(async || ())
            .merge(other)
            .nest("/a/*rest", Router::new().route("/", get(async || ())))
            .nest("b", Router::new()),
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|(_, places)| !places.is_empty()), "{lines:?}");
    assert!(lines.iter().any(|(line, _)| line.contains("(for unknown paths) excludes the fallback")), "{lines:?}");
}

#[tokio::test]
async fn a_router_is_served_below_a_path() {
    let inner = Router::new().route("/{id}", get(async |axum::extract::Path(id): axum::extract::Path<String>| id));
    let router = new().nest("/größe/", inner).into_router().unwrap();
    let response = ask(&router, "/gr%C3%B6%C3%9Fe/7", "").await;
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "7");
}

#[cfg(feature = "static-files")]
#[test]
fn a_second_directory_at_the_same_path_is_told_with_both_places() {
    let dir = tempfile::tempdir().unwrap();
    let lines = wrong(new().files("/a", dir.path()).files("/a/", dir.path()).files("/b", dir.path()));
    assert_eq!((lines.len(), lines[0].1.len()), (1, 2), "{lines:?}");
    let mut config = Config::<()>::default();
    config.files.dir = Some(dir.path().to_owned());
    let prefix = config.files.url_prefix.clone();
    let lines = wrong(Server::new(&config).files(&prefix, dir.path()));
    assert!(lines.len() == 1 && lines[0].0.contains("exclude files of static.dir"), "{lines:?}");
}

#[cfg(feature = "websocket")]
#[test]
fn a_websockets_name_is_its_routes_alone() {
    use crate::websocket::{Socket, WebSockets};
    async fn serve(_: Socket, (): ()) {}
    let server = |names: [&str; 2]| {
        let route = |path: &str, name: &str| Route::websocket(path, WebSockets::new(name), async || (), serve);
        new().group(Group::new("/g").route(route("/a", names[0]))).with_state(()).route(route("/b", names[1]))
    };
    let lines = wrong(server(["echo", "echo"]));
    assert_eq!((lines.len(), lines[0].1.len()), (1, 2), "{lines:?}");
    assert!(lines[0].0.contains("another WebSocket is named \"echo\""), "{lines:?}");
    let finished = server(["echo", "chat"]).finish(None).unwrap();
    assert_eq!(finished.routes.json()["routes"]["GET:/g/a"]["handler"], "serve");
}
