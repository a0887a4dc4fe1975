//! Requests of pages over a real socket.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::testing::{MultipartForm, TestRequest, TestResponse, TestServer};
use crate::{Config, Group, Route, Server};

async fn page(token: CsrfToken) -> String {
    token.to_string()
}

/// A configuration with further lines of `[security]`, and further sections.
fn config(more: &str) -> Config {
    let secret = "x".repeat(32);
    let text = format!("[security]\nenable_csrf = true\ncsrf_secret = \"{secret}\"\n{more}");
    Config::from_text(Path::new("shop.toml"), &text).unwrap()
}

/// A server with a page, and with a route that answers its body and counts its calls.
fn server(more: &str, calls: &Arc<AtomicUsize>) -> Server {
    let calls = Arc::clone(calls);
    let order = move |body: String| {
        calls.fetch_add(1, Ordering::Relaxed);
        async move { body }
    };
    Server::new(&config(more)).get("/page", page).post("/order", order.clone()).delete("/order", order)
}

async fn started(more: &str) -> TestServer {
    TestServer::start(server(more, &Arc::default())).await
}

/// The same request with a body of each type that a page can send, and without one.
fn of_each_type(request: &TestRequest) -> [TestRequest; 5] {
    let (form, asked) = (MultipartForm::new().text("a", "b"), || request.clone());
    [
        asked(),
        asked().form(&[("a", "b")]),
        asked().multipart(&form),
        asked().typed("text/plain", "a=b"),
        asked().json(json!({ "a": "b" })),
    ]
}

fn assert_refused(response: &TestResponse) {
    response.assert_status(403).assert_json(json!({ "error": "this page's origin may not do that", "code": "CSRF" }));
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_whatever_it_sends() {
    let calls = Arc::default();
    let app = TestServer::start(server("", &calls)).await;
    for (name, value) in [
        ("origin", "https://evil.test"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for method in [Method::POST, Method::DELETE] {
            let foreign = app.request(method, "/order").cookie("session", "ann").header(name, value);
            for request in of_each_type(&foreign) {
                assert_refused(&request.send().await);
            }
        }
        // It may look.
        app.get("/page").cookie("session", "ann").header(name, value).send().await.assert_status(200);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn pages_of_its_own_and_programs_are_served() {
    let app = started("csrf_origins = [\"https://pay.test\"]\n").await;
    let (order, own) = (app.post("/order"), app.url(""));
    for request in [
        order.clone().cookie("session", "ann").header("origin", &own),
        order.clone().cookie("session", "ann").header("sec-fetch-site", "same-origin").header("origin", "null"),
        order.clone().cookie("session", "ann").header("origin", "https://pay.test"),
        order.clone().cookie("session", "ann").header("origin", "https://evil.test").bearer("token"),
        order.clone(),
    ] {
        for request in of_each_type(&request) {
            request.send().await.assert_status(200);
        }
    }
}

#[tokio::test]
async fn a_request_that_names_no_origin_needs_a_token_of_its_browser() {
    let app = started("").await;
    let (ann, bob) = (app.client(), app.client());
    let page = ann.get("/page").send().await;
    let token = page.assert_status(200).assert_header("cache-control", "no-store").text();
    let cookie = ann.cookie("__Host-csrf");
    assert!(cookie.as_ref().is_some_and(|cookie| cookie.len() == 32), "{cookie:?}");
    for request in of_each_type(&ann.post("/order")) {
        assert_refused(&request.send().await);
    }
    for request in of_each_type(&ann.post("/order").header("x-csrf-token", &token)) {
        request.send().await.assert_status(200);
    }
    for request in of_each_type(&ann.post(&format!("/order?_csrf={token}"))) {
        request.send().await.assert_status(200);
    }
    let form = [("item", "7"), ("_csrf", token.as_str())];
    let answer = ann.post("/order").form(&form).send().await;
    answer.assert_status(200).assert_text(&format!("item=7&_csrf={token}"));
    // A second page takes nothing from the first one.
    assert_ne!(ann.get("/page").send().await.text(), token);
    ann.post("/order").form(&form).send().await.assert_status(200);

    assert_refused(&ann.post("/order").form(&[("_csrf", &token[1..])]).send().await);
    bob.get("/page").send().await.assert_status(200);
    assert_refused(&bob.post("/order").form(&form).send().await);
    let logged_in = ann.with_cookie("session", "ann");
    assert_refused(&logged_in.post("/order").form(&form).send().await);
    let token = logged_in.get("/page").send().await.text();
    logged_in.post("/order").header("x-csrf-token", &token).send().await.assert_status(200);
}

#[tokio::test]
async fn a_long_form_has_its_token_elsewhere() {
    let app = started("").await;
    let ann = app.client();
    let token = ann.get("/page").send().await.text();
    let long = "x".repeat(100 << 10);
    assert_refused(&ann.post("/order").form(&[("_csrf", &token), ("text", &long)]).send().await);
    ann.post("/order").form(&[("text", &long)]).header("x-csrf-token", &token).send().await.assert_status(200);
}

#[tokio::test]
async fn routes_that_are_left_out_take_what_they_get() {
    let shops = Group::new("/shops/:shop").csrf_exempt().route(Route::post("/paid", async || "paid"));
    let hook = Route::any("/hook", async || "called").csrf_exempt();
    let sent = Route::post("/sent", async || "sent").csrf_exempt();
    let server = server("", &Arc::default()).group(shops).route(hook).route(sent).put("/sent", async || "changed");
    let app = TestServer::start(server).await;
    let foreign =
        |method, path| app.request(method, path).cookie("session", "ann").header("origin", "https://evil.test");
    for (method, path) in
        [(Method::POST, "/shops/7/paid"), (Method::POST, "/sent"), (Method::POST, "/hook"), (Method::DELETE, "/hook")]
    {
        foreign(method, path).send().await.assert_status(200);
    }
    assert_refused(&foreign(Method::PUT, "/sent").send().await);
    assert_refused(&foreign(Method::POST, "/order").send().await);
}

#[tokio::test]
async fn the_host_is_the_one_that_a_trusted_proxy_names() {
    for (proxies, status) in [("[\"127.0.0.1\"]", 200), ("[]", 403)] {
        let app = started(&format!("[server]\ntrusted_proxies = {proxies}\n")).await;
        let asked = app.post("/order").cookie("session", "ann").header("x-forwarded-host", "shop.test");
        asked.header("origin", "https://shop.test").send().await.assert_status(status);
    }
}

#[tokio::test]
async fn the_cookie_goes_without_encryption_in_debug_mode_alone() {
    for (mode, name, is_secure) in [("debug", "csrf", false), ("release", "__Host-csrf", true)] {
        let app = started(&format!("[server]\nhost = \"127.0.0.1\"\nmode = \"{mode}\"\n")).await;
        let ann = app.client();
        let page = ann.get("/page").send().await;
        let cookie = page.header("set-cookie").unwrap();
        assert!(cookie.starts_with(&format!("{name}=")) && cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
        assert_eq!(cookie.ends_with("; Secure"), is_secure, "{cookie}");
        let order = ann.post("/order").header("x-csrf-token", &page.text());
        order.send().await.assert_status(200);
    }
}

#[tokio::test]
async fn a_handler_with_a_token_that_nobody_looks_for_is_told_so() {
    let app = TestServer::start(Server::new(&Config::<()>::default()).get("/page", page)).await;
    app.get("/page").send().await.assert_status(500);
}
