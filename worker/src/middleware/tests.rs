//! What stands around every request.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tower::ServiceExt;

use super::when;
use crate::config::{Config, Limits, Timeouts};
use crate::{Group, RequestId, Route, Server};

async fn breaks() -> &'static str {
    panic!("as told")
}

async fn ask(server: Server, request: Request) -> Response {
    server.finish(None).unwrap().router.oneshot(request).await.unwrap()
}

fn get(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

fn server() -> Server {
    let timeouts = Timeouts { request: Some(Duration::from_millis(50)), ..Timeouts::default() };
    let config = Config::<()> { timeouts, limits: Limits { body: 10, ..Limits::default() }, ..Config::default() };
    Server::new(&config)
        .get("/id", |id: RequestId| async move { id.as_str().to_owned() })
        .get("/breaks", breaks)
        .get("/hangs", std::future::pending::<()>)
        .post("/body", |body: String| async move { body })
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn each_request_has_a_name_and_each_answer_tells_it() {
    let response = ask(server(), get("/id")).await;
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(id.len() > 20, "{id}");
    assert_eq!(text(response).await, id);
    let given = Request::get("/id").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
    assert_eq!(ask(server(), given).await.headers()["x-request-id"], "mine-1");
    // The answers to what does not exist, too.
    let response = ask(server(), get("/nowhere")).await;
    assert!(response.headers().contains_key("x-request-id") && response.status() == StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_has_one_name_where_nothing_is_around_it_too() {
    let both = |one: RequestId, other: RequestId| async move { format!("{} {}", one.as_str(), other.as_str()) };
    let bare = || -> Server { Server::bare(&Config::<()>::default()).get("/", both) };
    let names = text(ask(bare(), get("/")).await).await;
    let (one, other) = names.split_once(' ').unwrap();
    assert!(one == other && one.len() > 20, "{names}");
    let given = Request::get("/").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
    assert_eq!(text(ask(bare(), given).await).await, "mine-1 mine-1");
    // Asked for twice, it is given once.
    let twice = ask(server().middleware(super::request_id).get("/both", both), get("/both")).await;
    let told = twice.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(text(twice).await, format!("{told} {told}"));
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_route_is_counted_in_the_words_in_which_it_was_registered() {
    let finished = server().get("/shown/:id", || async {}).get("/told/{id}", || async {}).finish(None).unwrap();
    for path in ["/shown/7", "/told/7"] {
        finished.router.clone().oneshot(get(path)).await.unwrap();
    }
    let (_, text) = finished.about.metrics.unwrap().scrape(false, "").await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    for route in ["/shown/:id", "/told/{id}"] {
        assert!(text.contains(&format!("route=\"{route}\",status=\"200\"}} 1")), "{route}: {text}");
    }
}

/// A router whose `/metrics` everybody may see.
#[cfg(feature = "metrics")]
fn scraped() -> axum::Router {
    let mut config = Config::<()>::default();
    config.server.public.push("/metrics".to_owned());
    config.monitoring.buckets = vec![Duration::from_millis(50), Duration::from_secs(5)];
    let server: Server = Server::new(&config).get("/id", async || "it").get("/held", std::future::pending::<()>);
    server.finish(None).unwrap().router
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn what_clients_make_up_is_one_label() {
    let router = scraped();
    for (method, path) in [("BREW", "/nowhere/1"), ("BREW", "/nowhere/2"), ("STEEP", "/nowhere"), ("GET", "/id")] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap();
    }
    let told = text(router.oneshot(get("/metrics")).await.unwrap()).await;
    let made_up = "gin_server_http_requests_total{method=\"OTHER\",route=\"unmatched\",status=\"404\"} 3";
    let known = "gin_server_http_requests_total{method=\"GET\",route=\"/id\",status=\"200\"} 1";
    assert!(told.contains(made_up) && told.contains(known), "{told}");
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn numbers_are_told_in_two_formats_by_the_bounds_that_are_set() {
    let router = scraped();
    router.clone().oneshot(get("/id")).await.unwrap();
    let of = |path: &str, accept: &str| {
        let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
        router.clone().oneshot(request)
    };
    let plain = of("/metrics", "text/html, */*").await.unwrap();
    assert_eq!(plain.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let plain = text(plain).await;
    let open = of("/metrics?by=worker", "application/openmetrics-text; version=1.0.0").await.unwrap();
    assert_eq!(open.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = text(open).await;
    let help = "# TYPE gin_server_http_requests";
    assert!(plain.contains(&format!("{help}_total counter\n")) && !plain.contains("# EOF"), "{plain}");
    assert!(open.contains(&format!("{help} counter\n")) && open.ends_with("# EOF\n"), "{open}");
    let bounds = plain.lines().filter(|line| line.contains("_bucket{") && line.contains("\"/id\"")).count();
    assert_eq!(bounds, 3, "{plain}");
    assert_eq!(of("/metrics?by=whim", "*/*").await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_request_that_waits_is_counted_until_its_client_is_gone() {
    let router = scraped();
    let waiting = |told: &str| {
        let begin = "gin_server_http_requests_in_flight{method=\"GET\",route=\"/held\"} ";
        told.lines().find_map(|line| line.strip_prefix(begin)).map(str::to_owned)
    };
    let mut held = Box::pin(router.clone().oneshot(get("/held")));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(held.as_mut().poll(&mut context).is_pending());
    let told = text(router.clone().oneshot(get("/metrics")).await.unwrap()).await;
    assert_eq!(waiting(&told).as_deref(), Some("1"), "{told}");
    drop(held);
    let told = text(router.oneshot(get("/metrics")).await.unwrap()).await;
    assert_eq!(waiting(&told).as_deref(), Some("0"), "{told}");
}

#[tokio::test]
async fn a_panic_and_an_endless_handler_are_answers() {
    let response = ask(server(), get("/breaks")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-frame-options"], "DENY");
    assert_eq!(text(response).await, "{\"error\":\"internal server error\"}");
    let response = ask(server(), get("/hangs")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("REQUEST_TIMEOUT"));
}

async fn refuse(_: Request, _: Next) -> StatusCode {
    StatusCode::FORBIDDEN
}

#[tokio::test]
async fn a_guard_sees_the_path_that_files_see() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("private")).unwrap();
    std::fs::write(dir.path().join("private/a.txt"), "secret").unwrap();
    std::fs::write(dir.path().join("open.txt"), "open").unwrap();
    let is_private = |request: &Request| request.uri().path().starts_with("/static/private/");
    for (path, status) in [
        ("/static/private/a.txt", 403),
        ("/static/%70rivate/a.txt", 403),
        ("/static/%70%72%69%76%61%74%65/%61.txt", 403),
        ("/static/private%2Fa.txt", 404),
        ("/static/%%37%30rivate/a.txt", 404),
        ("/static/%6fpen.txt", 200),
    ] {
        let config = Config::<()>::default();
        let server = Server::new(&config).files("/static", dir.path()).middleware(when(is_private, refuse));
        assert_eq!(ask(server, get(path)).await.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let post = |body: &str| Request::post("/body").body(Body::from(body.to_owned())).unwrap();
    assert_eq!(text(ask(server(), post("0123456789")).await).await, "0123456789");
    assert_eq!(ask(server(), post("0123456789x")).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "it is read, and that is all")]
struct Wanted {
    page: u32,
}

/// A server that refuses in every way that there is, with requests for each.
fn refusing() -> (Server, Vec<(Request, u16)>) {
    use axum::extract::{Extension, Json, Path, Query};
    let limits = Limits { body: 10, ..Limits::default() };
    let timeouts = Timeouts { request: Some(Duration::from_millis(50)), ..Timeouts::default() };
    let config = Config::<()> { timeouts, limits, ..Config::default() };
    let merged = axum::Router::new().route("/merged", axum::routing::get(async |Path(()): Path<()>| {}));
    let server = Server::new(&config)
        .get("/breaks", breaks)
        .get("/hangs", std::future::pending::<()>)
        .get("/id/:id", async |Path(_): Path<u32>| {})
        .get("/query", async |Query(_): Query<Wanted>| {})
        .get("/extension", async |Extension(()): Extension<()>| {})
        .get("/status", async || StatusCode::FORBIDDEN)
        .get("/text", async || (StatusCode::CONFLICT, "taken"))
        .get("/error", async || Err::<(), _>(crate::Error::conflict("taken").code("TAKEN")))
        .post("/json", async |Json(_): Json<Wanted>| {})
        .post("/bytes", async |_: bytes::Bytes| {})
        .merge(merged);
    let post = |path: &str, kind: &str, body: &str| {
        Request::post(path).header("content-type", kind).body(Body::from(body.to_owned())).unwrap()
    };
    let json = "application/json";
    let requests = vec![
        (get("/none"), 404),
        (post("/status", "", ""), 405),
        (post("/merged", "", ""), 405),
        (get("/id/abc"), 400),
        (get("/query"), 400),
        (get("/extension"), 500),
        (get("/status"), 403),
        (get("/text"), 409),
        (get("/error"), 409),
        (post("/json", json, "{"), 400),
        (post("/json", json, "{}"), 422),
        (post("/json", "text/plain", "{}"), 415),
        (post("/json", json, "{\"page\": 1000}"), 413),
        (post("/bytes", json, "01234567890"), 413),
        (get("/breaks"), 500),
        (get("/hangs"), 503),
    ];
    (server, requests)
}

#[tokio::test]
async fn every_refusal_has_the_same_shape_from_whichever_layer() {
    let (server, requests) = refusing();
    let router = server.finish(None).unwrap().router;
    for (request, status) in requests {
        let asked = format!("{} {}", request.method(), request.uri());
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (status, &"application/json".parse().unwrap()),
            "{asked}"
        );
        let answer: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{asked}: {answer}");
        let known = |name: &String| ["error", "details", "code"].contains(&name.as_str());
        assert!(answer.as_object().unwrap().keys().all(known), "{asked}: {answer}");
    }
}

#[tokio::test]
async fn an_error_handler_sees_every_refusal() {
    let (server, requests) = refusing();
    let own = |report: super::Report| (report.status, [("x-own", "1")], format!("! {}", report.message));
    let router = server.error_handler(own).finish(None).unwrap().router;
    for (request, status) in requests {
        let asked = format!("{} {}", request.method(), request.uri());
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{asked}");
        assert!(response.headers().contains_key("x-own"), "{asked}");
        assert!(text(response).await.starts_with("! "), "{asked}");
    }
}

#[tokio::test]
async fn an_error_handler_knows_the_languages_of_the_client() {
    let own = |report: super::Report| (report.status, report.accept_language.unwrap_or_default());
    let group = Group::new("/group")
        .middleware(super::error_handler(|report: super::Report| {
            (report.status, format!("group {}", report.accept_language.unwrap_or_default()))
        }))
        .route(Route::get("/error", async || Err::<(), _>(crate::Error::conflict("taken"))));
    let server: Server = Server::new(&Config::<()>::default()).group(group).error_handler(own);
    let router = server.finish(None).unwrap().router;
    for (path, told) in [("/nowhere", "en, zh;q=0.5"), ("/group/error", "group en, zh;q=0.5")] {
        let request = Request::get(path).header("accept-language", "en, zh;q=0.5").body(Body::empty()).unwrap();
        assert_eq!(text(router.clone().oneshot(request).await.unwrap()).await, told);
    }
    let request = Request::get("/nowhere").body(Body::empty()).unwrap();
    assert_eq!(text(router.oneshot(request).await.unwrap()).await, "");
}

/// Behind a proxy that is trusted: a request without a connection counts as one over a Unix socket.
fn behind_proxy() -> Config {
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    Config { server: crate::config::Server { trusted_proxies, ..Default::default() }, ..Config::default() }
}

fn over_tls(told: &[&str]) -> Request {
    let request = told.iter().fold(Request::get("/"), |request, told| request.header("x-forwarded-proto", *told));
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn only_a_trusted_proxy_says_that_a_client_speaks_tls() {
    for (config, told, has_hsts) in [
        (behind_proxy(), &["https"][..], true),
        (behind_proxy(), &["HTTPS"][..], true),
        (behind_proxy(), &["http"][..], false),
        (behind_proxy(), &[][..], false),
        // The last word is the nearest proxy's; the others may be the client's.
        (behind_proxy(), &["https", "http"][..], false),
        (behind_proxy(), &["https, http"][..], false),
        (behind_proxy(), &["http", "https"][..], true),
        (Config::default(), &["https"][..], false),
    ] {
        let response = ask(Server::new(&config).get("/", || async {}), over_tls(told)).await;
        assert_eq!(response.headers().contains_key("strict-transport-security"), has_hsts, "{told:?}");
    }
}

#[tokio::test]
async fn headers_that_a_handler_has_set_stay() {
    let own = Server::new(&behind_proxy()).get("/", || async { [("x-frame-options", "SAMEORIGIN")] });
    let response = ask(own, over_tls(&["https"])).await;
    let headers = response.headers();
    assert_eq!(
        (&headers["x-frame-options"], &headers["x-content-type-options"]),
        (&"SAMEORIGIN".parse().unwrap(), &"nosniff".parse().unwrap())
    );
    assert!(headers.contains_key("strict-transport-security"));
    let bare = Server::bare(&Config::<()>::default()).get("/", || async {});
    assert!(ask(bare, get("/")).await.headers().get("x-frame-options").is_none());
}
