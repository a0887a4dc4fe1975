//! No path leads out of the directory of static files, or to a hidden one.
#![no_main]

use std::cell::OnceCell;
use std::os::unix::fs::symlink;

use gin_worker::axum::Router;
use gin_worker::axum::body::{Body, to_bytes};
use gin_worker::axum::extract::Request;
use gin_worker::{Config, Server};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const SECRET: &str = "nobody may read this";

struct Site(Runtime, Router, #[expect(dead_code, reason = "its files are there as long as it is")] tempfile::TempDir);

fn site() -> Site {
    let dir = tempfile::tempdir().expect("room");
    let at = |name: &str| dir.path().join(name);
    for directory in ["public/sub/.git", "outside"] {
        std::fs::create_dir_all(at(directory)).expect("room");
    }
    for (name, text) in [("public/a.txt", "a"), ("public/sub/b.txt", "b"), ("public/.env", SECRET), ("public/sub/.git/config", SECRET), ("outside/x", SECRET), ("secret", SECRET)] {
        std::fs::write(at(name), text).expect("room");
    }
    symlink("../outside", at("public/out")).expect("room");
    symlink("/etc", at("public/etc")).expect("room");
    let mut config = Config::<()>::default();
    config.files.enable_directory_listing = true;
    let router = Server::new(&config).files("/f", at("public")).into_router().expect("a site");
    Site(Builder::new_current_thread().build().expect("a runtime"), router, dir)
}

thread_local!(static SITE: OnceCell<Site> = const { OnceCell::new() });

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = Request::get(format!("/f{text}")).body(Body::empty()) else { return };
    SITE.with(|cell| {
        let Site(runtime, router, _) = cell.get_or_init(site);
        runtime.block_on(async {
            let response = router.clone().oneshot(request).await.expect("infallible");
            assert!(!response.status().is_server_error(), "{text:?}: {}", response.status());
            let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
            let body = String::from_utf8_lossy(&body);
            assert!(!body.contains(SECRET) && !body.contains("root:"), "{text:?}: {body}");
        });
    });
});
