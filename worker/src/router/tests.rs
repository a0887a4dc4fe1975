//! Requests and what a router of ours answers.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{Config, Server};

async fn ask(router: &axum::Router, method: Method, uri: &str) -> Response {
    let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    // As the connection does, before a route is looked for.
    crate::request_path::normalize(&mut request).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

fn built(server: Server) -> axum::Router {
    server.finish(None).unwrap().router
}

fn server() -> Server {
    Server::new(&Config::<()>::default())
}

fn location(response: &Response) -> Option<&str> {
    response.headers().get(header::LOCATION).map(|value| value.to_str().unwrap())
}

async fn id(Path(id): Path<String>) -> String {
    id
}

#[tokio::test]
async fn paths_in_gins_words_and_in_axums_are_served() {
    let router = built(
        server()
            .get("/", || async { "root" })
            .get("/users/:id", id)
            .get("/posts/{id}", id)
            .get("/files/*filepath", id)
            .get("/shown/{*filepath}", id)
            .get("/users/:id/of/*rest", async |Path((id, rest)): Path<(String, String)>| format!("{id} {rest}"))
            .get("/users/new", || async { "new" })
            .any("/any", || async { "any" })
            .post("/users", || async { (StatusCode::CREATED, "made") }),
    );
    for (method, uri, status, body) in [
        (Method::GET, "/", 200, "root"),
        (Method::GET, "/users/7", 200, "7"),
        (Method::GET, "/users/a%20b%2Fc", 200, "a b/c"),
        (Method::GET, "/users/new", 200, "new"),
        (Method::GET, "/posts/x", 200, "x"),
        (Method::GET, "/files/a/b.txt", 200, "/a/b.txt"),
        (Method::GET, "/files/a%20b%2Fc/%64", 200, "/a b/c/d"),
        (Method::GET, "/shown/a/b.txt", 200, "a/b.txt"),
        (Method::GET, "/users/7/of/a/b", 200, "7 /a/b"),
        (Method::HEAD, "/users/7", 200, ""),
        (Method::DELETE, "/any", 200, "any"),
        (Method::POST, "/users", 201, "made"),
        (Method::GET, "/nowhere", 404, "{\"error\":\"not found\"}"),
        (Method::GET, "/users/", 404, "{\"error\":\"not found\"}"),
        (Method::GET, "/users", 405, "{\"error\":\"GET is not allowed here\"}"),
        (Method::PUT, "/users/7", 405, "{\"error\":\"PUT is not allowed here\"}"),
    ] {
        let response = ask(&router, method.clone(), uri).await;
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), (status, body), "{method} {uri}");
    }
    let response = ask(&router, Method::PUT, "/users/7").await;
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn a_path_beyond_ascii_is_found_however_a_client_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "file").unwrap();
    let router = built(
        server()
            .get("/größe", || async { "size" })
            .get("/größe/:id", id)
            .get("/a b/%7euser/", || async { "own" })
            .group(Group::new("/räume").route(Route::get("/*rest", id)))
            .files("/dateien-ä", dir.path()),
    );
    for (uri, status, body) in [
        ("/größe", 200, "size"),
        ("/gr%C3%B6%C3%9Fe", 200, "size"),
        ("/gr%c3%b6%c3%9fe", 200, "size"),
        ("/%67r%C3%B6%C3%9Fe", 200, "size"),
        ("/gr%C3%B6%C3%9Fe/%C3%A4", 200, "ä"),
        ("/r%C3%A4ume/a/b", 200, "/a/b"),
        ("/a%20b/~user/", 200, "own"),
        ("/dateien-%C3%A4/a.txt", 200, "file"),
        ("/gr%C3%B6sse", 404, "{\"error\":\"not found\"}"),
    ] {
        let response = ask(&router, Method::GET, uri).await;
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), (status, body), "{uri}");
    }
    let redirected = ask(&router, Method::GET, "/a%20b/%7Euser").await;
    assert_eq!(location(&redirected), Some("/a%20b/~user/"));
    // They are one path.
    let twice = server().get("/größe", || async {}).get("/gr%C3%B6%C3%9Fe", || async {});
    let error = twice.finish(None).err().unwrap().to_string();
    assert!(error.contains("excludes GET /gr%C3%B6%C3%9Fe, registered at"), "{error}");
}

#[tokio::test]
async fn a_path_that_is_wrong_by_a_slash_is_redirected() {
    let routes = || {
        server()
            .get("/plain", || async {})
            .get("/dir/", || async {})
            .post("/form", || async {})
            .group(Group::new("/api").route(Route::get("/", || async {})))
    };
    let router = built(routes());
    for (method, uri, status, to) in [
        (Method::GET, "/plain/", 301, Some("/plain")),
        (Method::GET, "/plain/?a=1&b=%20", 301, Some("/plain?a=1&b=%20")),
        (Method::HEAD, "/plain/", 307, Some("/plain")),
        (Method::GET, "/dir", 301, Some("/dir/")),
        (Method::POST, "/form/", 307, Some("/form")),
        (Method::GET, "/api", 301, Some("/api/")),
        (Method::GET, "/form/", 404, None),
        (Method::GET, "//plain/", 404, None),
        (Method::GET, "//example.org/plain/", 404, None),
        (Method::GET, "/plain//", 404, None),
    ] {
        let response = ask(&router, method.clone(), uri).await;
        assert_eq!((response.status().as_u16(), location(&response)), (status, to), "{method} {uri}");
    }
    let config = crate::config::Server { redirect_trailing_slash: false, ..Default::default() };
    let router = Server::new(&Config::<()> { server: config, ..Default::default() }).get("/plain", || async {});
    assert_eq!(ask(&built(router), Method::GET, "/plain/").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_request_carries_stays_where_a_parameter_gets_its_slash() {
    use axum::extract::{Extension, MatchedPath};
    #[derive(Clone)]
    struct User(&'static str);
    async fn auth(mut request: Request, next: Next) -> Response {
        request.extensions_mut().insert(User("ann"));
        next.run(request).await
    }
    let show = async |Extension(User(user)): Extension<User>, path: MatchedPath, request: Request| {
        format!("{user} {} {}", path.as_str(), request.uri().path())
    };
    let router = built(server().middleware(auth).any("/files/*filepath", show));
    let response = ask(&router, Method::GET, "/files/a/b").await;
    assert_eq!(text(response).await, "ann /files/{*filepath} /files/a/b");
}

#[test]
fn a_closure_is_known_by_its_place_unless_it_has_a_name() {
    let finished =
        server().get("/a", || async {}).route(Route::get("/b", || async {}).named("greeting")).finish(None).unwrap();
    let json = finished.routes.json();
    assert_eq!(json["routes"]["GET:/b"]["handler"], "greeting");
    assert!(json["routes"]["GET:/a"]["handler"].is_string());
}

/// Notes who ran, from the outside in.
async fn note(name: &'static str, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let before = response.headers().get("ran").map(|ran| format!(" {}", ran.to_str().unwrap())).unwrap_or_default();
    response.headers_mut().insert("ran", format!("{name}{before}").parse().unwrap());
    response
}

async fn outer(request: Request, next: Next) -> Response {
    note("outer", request, next).await
}

async fn middle(request: Request, next: Next) -> Response {
    note("middle", request, next).await
}

async fn inner(request: Request, next: Next) -> Response {
    note("inner", request, next).await
}

async fn whole(request: Request, next: Next) -> Response {
    note("whole", request, next).await
}

async fn unreached() -> &'static str {
    panic!("somebody has answered already")
}

async fn refuses() -> crate::Error {
    crate::Error::unauthorized("missing token")
}

fn grouped() -> Server {
    let deep =
        Group::new("/deep/").middleware(inner).tag("deep").route(Route::get("/x/:id", id).middleware(whole).tag("x"));
    let api = Group::new("/api/v1")
        .middleware(outer)
        .middleware(middle)
        .tag("api")
        .group(deep)
        .route(Route::get("/y", || async {}).describe("Why"))
        .route(Route::post("/y", || async {}));
    server().middleware(whole).group(api).get("/plain", || async {})
}

#[tokio::test]
async fn middleware_runs_in_the_order_in_which_it_was_added_and_around_unknown_paths_too() {
    let router = built(grouped());
    for (uri, status, ran) in [
        ("/api/v1/deep/x/7", 200, "whole outer middle inner whole"),
        ("/api/v1/y", 200, "whole outer middle"),
        ("/plain", 200, "whole"),
        ("/nowhere", 404, "whole"),
    ] {
        let response = ask(&router, Method::GET, uri).await;
        assert_eq!((response.status().as_u16(), response.headers()["ran"].to_str().unwrap()), (status, ran), "{uri}");
    }
    // Whoever answers instead of `next` keeps the rest from running (c.Abort).
    let aborts = async |_: Request, _: Next| refuses().await;
    let router =
        built(server().middleware(outer).group(Group::new("/a").middleware(aborts).route(Route::get("/b", unreached))));
    let response = ask(&router, Method::GET, "/a/b").await;
    assert_eq!((response.status(), response.headers()["ran"].to_str().unwrap()), (StatusCode::UNAUTHORIZED, "outer"));
    assert_eq!(text(response).await, "{\"error\":\"missing token\"}");
}

#[test]
fn what_is_registered_can_be_listed() {
    let finished = grouped().finish(None).unwrap();
    let routes = &finished.routes;
    let json = routes.json();
    assert_eq!(json["total"], 10, "with the six of the system that everybody sees");
    assert_eq!(json["groups"]["/api/v1"], json!({ "prefix": "/api/v1", "routes_count": 2 }));
    let deep = &json["routes"]["GET:/api/v1/deep/x/:id"];
    let ours = ["request_id", "body_limit", "metrics", "access_log", "security_headers", "recover"];
    let chain = ["whole", "outer", "middle", "inner", "whole"];
    assert_eq!(deep["middleware"], json!([&ours[..], &chain[..]].concat()));
    assert_eq!((&deep["tags"], &deep["params"]), (&json!(["api", "deep", "x"]), &json!({ "id": ":id" })));
    assert_eq!((deep["handler"].as_str(), deep["method"].as_str()), (Some("id"), Some("GET")));
    assert_eq!(json["routes"]["GET:/api/v1/y"]["description"], "Why");
    assert!(deep["created_at"].as_str().unwrap().ends_with('Z'));
    assert!(
        routes.lines().iter().any(|line| line.starts_with("GET     /api/v1/deep/x/:id --> id (12 handlers)")),
        "{:?}",
        routes.lines()
    );
    assert_eq!(routes.trees().keys().map(String::as_str).collect::<Vec<_>>(), ["GET", "POST"]);
}

#[test]
fn routes_that_exclude_one_another_are_told_with_both_places() {
    let clash = |one: Route, other: Route| {
        let error = server().route(one).route(other).finish(None).err().map(|error| error.to_string());
        error.inspect(|error| assert_eq!(error.matches("worker/src/router/tests.rs:").count(), 2, "{error}"))
    };
    let get = |path: &str| Route::get(path, || async {});
    assert!(clash(get("/a"), get("/a")).is_some_and(|error| error.contains("GET /a excludes GET /a, registered at")));
    assert!(clash(get("/:id"), get("/{name}")).is_some_and(|error| error.contains("/{id}, registered at")));
    assert!(clash(get("/a"), Route::any("/a", || async {})).is_some());
    assert!(clash(get("/a"), Route::post("/a", || async {})).is_none());
    assert!(clash(get("/:id"), get("/me")).is_none());
    // All that is wrong, at once.
    let error =
        server().get("relative:", || async {}).get("/*", || async {}).get("/a", || async {}).get("/a", || async {});
    assert_eq!(error.finish(None).err().unwrap().to_string().lines().count(), 3);
}

#[tokio::test]
async fn a_state_and_fallbacks_are_the_applications_own() {
    use axum::extract::State;
    let router = Server::new(&Config::<()>::default())
        .get("/", |State(greeting): State<&'static str>| async move { greeting })
        .fallback(|State(greeting): State<&'static str>| async move { (StatusCode::IM_A_TEAPOT, greeting) })
        .method_not_allowed(|| async { "not so" })
        .with_state("hi")
        .get("/later", || async { Json(json!({ "later": true })) });
    let router = built(router);
    assert_eq!(text(ask(&router, Method::GET, "/").await).await, "hi");
    let fallback = ask(&router, Method::GET, "/nowhere").await;
    assert_eq!((fallback.status(), text(fallback).await.as_str()), (StatusCode::IM_A_TEAPOT, "{\"error\":\"hi\"}"));
    assert_eq!(text(ask(&router, Method::POST, "/").await).await, "not so");
    // A path that is wrong by a slash alone does not get there.
    assert_eq!(location(&ask(&router, Method::GET, "/later/").await), Some("/later"));
    let later: Value = serde_json::from_str(&text(ask(&router, Method::GET, "/later").await).await).unwrap();
    assert_eq!(later["later"], true);
}

#[test]
fn routes_of_an_exempt_group_are_exempt() {
    let hooks = Group::new("/hooks").csrf_exempt().group(Group::new("/shop").route(Route::post("/paid", async || "")));
    let server =
        server().group(hooks).route(Route::post("/sent", async || "").csrf_exempt()).post("/order", async || "");
    let routes = server.finish(None).unwrap().routes;
    let exempt: Vec<_> = routes.iter().filter(|route| route.csrf_exempt).map(|route| route.path.as_str()).collect();
    assert_eq!(exempt, ["/sent", "/hooks/shop/paid"]);
    #[cfg(feature = "csrf")]
    assert!(routes.csrf_exempt().contains(&(Some(Method::POST), "/hooks/shop/paid".to_owned())));
}
