//! Sites of files: a single-page application, several directories, and what a browser may keep.

use std::fs;

use harness::{Alone, Client, Response, alone_in};
use tempfile::TempDir;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// An application as a builder writes it, and a directory of uploads.
fn built() -> TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    for directory in ["dist/assets", "uploads"] {
        fs::create_dir_all(dir.path().join(directory)).unwrap();
    }
    fs::write(dir.path().join("dist/index.html"), "<script src=\"/assets/app-5f3a9c21.js\"></script>").unwrap();
    fs::write(dir.path().join("dist/assets/app-5f3a9c21.js"), "start()").unwrap();
    fs::write(dir.path().join("uploads/cat-5f3a9c21.png"), "cat").unwrap();
    dir
}

fn ask(server: &Alone, path: &str, accept: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
    Client::asking(server.address(), &request).unwrap().response().unwrap()
}

fn sections(mode: &str) -> String {
    format!(
        "[server]\nmode = {mode:?}\n[static]\ndir = \"dist\"\nurl_prefix = \"/\"\nfallback = \"index.html\"\n\
         [[static.mounts]]\nurl_prefix = \"/uploads\"\ndir = \"uploads\"\nimmutable = false\n"
    )
}

#[test]
fn a_single_page_application_and_a_directory_beside_it_are_served_by_configuration_alone() {
    let server = alone_in(built(), &sections("release"));
    let (page, year) = ("no-cache", "max-age=31536000, immutable");
    for (path, accept, status, kept) in [
        ("/", BROWSER, 200, page),
        ("/orders/7", BROWSER, 200, page),
        ("/assets/app-5f3a9c21.js", "*/*", 200, year),
        ("/uploads/cat-5f3a9c21.png", "image/png", 200, "max-age=86400"),
        ("/uploads/none.png", BROWSER, 404, ""),
        ("/assets/gone-5f3a9c21.js", "*/*", 404, ""),
        ("/api/orders", "application/json", 404, ""),
    ] {
        let answer = ask(&server, path, accept);
        assert_eq!(answer.status, status, "{path} {accept}");
        let said = answer.headers.get("cache-control").map_or("", String::as_str);
        assert_eq!(said, kept, "{path}");
        let is_page = String::from_utf8_lossy(&answer.body).starts_with("<script");
        assert_eq!(is_page, kept == page, "{path}");
    }
    assert_eq!(ask(&server, "/livez", BROWSER).body, ask(&server, "/livez", "*/*").body, "routes go before the page");
    // A page that is missing changes nothing; another one counts at once.
    server.configure(&sections("release").replace("index.html", "none.html"));
    let told = server.until("the configuration stays as it was");
    assert!(told["message"].as_str().unwrap().contains("static.fallback: cannot serve"), "{told}");
    fs::write(server.dir().join("dist/other.html"), "another page").unwrap();
    server.configure(&sections("release").replace("index.html", "other.html"));
    assert_eq!(server.until("the configuration has changed")["changed"], "static.fallback");
    assert_eq!(ask(&server, "/orders/7", BROWSER).body, b"another page");
}

#[test]
fn in_debug_mode_a_browser_sees_each_change_at_once() {
    let server = alone_in(built(), &sections("debug"));
    for path in ["/", "/orders/7", "/assets/app-5f3a9c21.js", "/uploads/cat-5f3a9c21.png"] {
        assert_eq!(ask(&server, path, BROWSER).headers["cache-control"], "no-cache", "{path}");
    }
}
