//! Whatever Range and the conditional headers say: the answer is one of those that RFC 9110 has, and its parts are the file's.
#![no_main]

use std::cell::OnceCell;

use gin_worker::axum::Router;
use gin_worker::axum::body::{Body, to_bytes};
use gin_worker::axum::extract::Request;
use gin_worker::axum::http::HeaderValue;
use gin_worker::{Config, Server};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const FILE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const HEADERS: [&str; 7] =
    ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "accept-encoding"];

struct Site(Runtime, Router, #[expect(dead_code, reason = "its files are there as long as it is")] tempfile::TempDir);

fn site() -> Site {
    let dir = tempfile::tempdir().expect("room");
    std::fs::write(dir.path().join("a.txt"), FILE).expect("room");
    let router = Server::new(&Config::<()>::default()).files("/", dir.path()).into_router().expect("a site");
    Site(Builder::new_current_thread().build().expect("a runtime"), router, dir)
}

thread_local!(static SITE: OnceCell<Site> = const { OnceCell::new() });

fuzz_target!(|data: &[u8]| {
    let mut request = Request::get("/a.txt").body(Body::empty()).expect("a request");
    for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let name = HEADERS[usize::from(line[0]) % HEADERS.len()];
        let Ok(value) = HeaderValue::from_bytes(&line[1..]) else { return };
        request.headers_mut().append(name, value);
    }
    SITE.with(|cell| {
        let Site(runtime, router, _) = cell.get_or_init(site);
        runtime.block_on(async {
            let response = router.clone().oneshot(request).await.expect("infallible");
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, 1 << 20).await.expect("a body");
            match parts.status.as_u16() {
                200 => assert_eq!(body, FILE),
                206 => match parts.headers.get("content-range") {
                    Some(range) => {
                        let range = range.to_str().expect("ASCII").strip_prefix("bytes ").expect("a unit");
                        let (range, length) = range.split_once('/').expect("a length");
                        let (first, last) = range.split_once('-').expect("a range");
                        let (first, last): (usize, usize) = (first.parse().expect("a number"), last.parse().expect("a number"));
                        assert_eq!((length, &body[..]), ("36", &FILE[first..=last]));
                    }
                    None => assert!(parts.headers["content-type"].to_str().expect("ASCII").starts_with("multipart/byteranges")),
                },
                304 | 412 => assert!(body.is_empty()),
                416 => assert_eq!(parts.headers["content-range"], "bytes */36"),
                other => panic!("{other}"),
            }
        });
    });
});
