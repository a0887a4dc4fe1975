//! The page: its files are a part of the program, so a release brings its own.

use std::future::ready;

use gin_worker::axum::Json;
use gin_worker::axum::http::header;
use gin_worker::axum::response::{IntoResponse, Response};
use gin_worker::config::Uploads;
use gin_worker::serde_json::json;
use gin_worker::{Group, Route};

/// Scripts, styles and connections are those of the page's own origin, and no other page shows it in a frame.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub const HTML: &str = "text/html; charset=utf-8";
pub const SCRIPT: &str = "text/javascript; charset=utf-8";
pub const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// Answers with a file of a page. Browsers ask for it each time, as the next release may have another one.
fn answer(kind: &'static str, text: &'static str) -> Response {
    let headers =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, text).into_response()
}

/// A file of a page: its path, its type, its text.
pub fn file<S: Clone + Send + Sync + 'static>(path: &str, kind: &'static str, text: &'static str) -> Route<S> {
    Route::get(path, async move || answer(kind, text)).named("page")
}

/// The page of uploads.
#[allow(dead_code, reason = "`full` has a page of its own")]
pub fn own<S: Clone + Send + Sync + 'static>() -> Group<S> {
    Group::new("").tag("page").route(file("/", HTML, include_str!("../page/index.html"))).route(file(
        "/app.js",
        SCRIPT,
        include_str!("../page/app.js"),
    ))
}

/// The files that the page of `full` uses, too, and the rules that they show: `/rules`.
pub fn shared<S: Clone + Send + Sync + 'static>(uploads: &Uploads) -> Group<S> {
    let rules = json!({ "file": uploads.file, "allow": uploads.allow });
    Group::new("")
        .tag("page")
        .route(file("/ask.js", SCRIPT, include_str!("../page/ask.js")))
        .route(file("/files.js", SCRIPT, include_str!("../page/files.js")))
        .route(file("/language.js", SCRIPT, include_str!("../page/language.js")))
        .route(file("/style.css", STYLE, include_str!("../page/style.css")))
        .route(file("/icon.svg", PICTURE, include_str!("../page/icon.svg")))
        .route(Route::get("/rules", move || ready(Json(rules.clone()))).named("rules").describe("上传规则"))
}
