//! The routes of directories and files.

use axum::extract::{Extension, Request};
use axum::http::Method;
use axum::response::{IntoResponse, Response};

use super::joining::Part;
use crate::Error;
use crate::assets::Asking;
use crate::live::Snapshot;
use crate::mount::Mount;
use crate::router::{Record, Registry, Route, RoutePath};

/// Adds routes for files to a registry.
pub(super) struct Mounting<'a> {
    pub(super) registry: &'a mut Registry<()>,
    /// Routers that were built before: their routes come first.
    pub(super) parts: &'a [Part],
}

impl Mounting<'_> {
    /// Adds all, by their places in this list.
    pub(super) fn add(self, mounts: &[Mount]) {
        for (index, mount) in mounts.iter().enumerate() {
            let description = if mount.is_file() { "A file" } else { "Files" };
            for path in self.paths(mount) {
                let handler = async move |Extension(snapshot): Extension<Snapshot>, request: Request| {
                    answer(&snapshot, index, &Asking::of(&request)).await
                };
                let route = Route::get(&path, handler).own("gin_worker::files").describe(description);
                self.registry.route(route.placed(mount.place()));
            }
        }
    }

    /// Paths of a directory: itself, and everything below, but for what the application answers.
    fn paths(&self, mount: &Mount) -> Vec<String> {
        if mount.is_file() {
            return vec![mount.prefix().to_owned()];
        }
        let bare = mount.prefix().trim_end_matches('/');
        let mut paths = vec![format!("{bare}/"), format!("{bare}/*filepath")];
        paths.extend((!bare.is_empty()).then(|| bare.to_owned()));
        paths.retain(|path| !self.is_answered(&Method::GET, path));
        paths
    }

    /// True if the application has a route there.
    fn is_answered(&self, method: &Method, path: &str) -> bool {
        let Ok(wanted) = RoutePath::parse(path) else { return false };
        let mut all = self.parts.iter().flat_map(|part| part.routes.iter());
        let answers = |record: &Record| record.method == method.as_str() || record.method == "ANY";
        all.any(|record| record.template == wanted.as_str() && answers(record)) || self.registry.answers(method, path)
    }
}

/// A line for each directory with the path of another one before it: nobody would ever see its files.
pub(super) fn excluded(mounts: &[Mount]) -> Vec<String> {
    let text = |(index, mount): (usize, &Mount)| {
        let other = mounts[..index].iter().find(|other| mount.excludes(other))?;
        let (place, at) = (mount.place(), other.place());
        Some(format!("{place}: {mount} exclude {other}, registered at {at}; give one of them another path"))
    };
    mounts.iter().enumerate().filter_map(text).collect()
}

async fn answer(snapshot: &Snapshot, index: usize, request: &Asking<'_>) -> Response {
    match snapshot.0.mounted.get(index) {
        Some(mounted) => mounted.answer(request).await,
        None => Error::not_found("not found").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderMap, StatusCode};
    use tempfile::TempDir;
    use tower::ServiceExt;

    use super::*;
    use crate::config::{Mode, StaticMount};
    use crate::{Config, Server};

    const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
    const HERE: &str = "worker/src/server/mounts.rs:";

    /// A directory with a page and a script that say its name.
    fn site(name: &str) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["index.html", "app-5f3a9c21.js"] {
            std::fs::write(dir.path().join(file), name).unwrap();
        }
        dir
    }

    async fn ask(server: Server, path: &str, accept: &str) -> (StatusCode, HeaderMap, String) {
        let router = server.finish(None).map_err(|error| error.to_string()).unwrap().router;
        let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        (parts.status, parts.headers, body)
    }

    fn failure(server: Server) -> String {
        server.finish(None).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn server() -> Server {
        Server::new(&Config::<()>::default())
    }

    #[tokio::test]
    async fn each_directory_is_served_by_its_own_settings() {
        let (dist, uploads, docs) = (site("dist"), site("uploads"), site("docs"));
        let build = || {
            let mount =
                StaticMount { url_prefix: "/docs".to_owned(), dir: docs.path().into(), ..StaticMount::default() };
            Server::new(&Config::builder().set(|config| config.files.mounts = vec![mount]).build())
                .post("/api/orders", async || "made")
                .get("/api/orders/:id", async || "order")
                .mount(Mount::new("/", dist.path()).fallback("index.html"))
                .mount(Mount::new("/uploads", uploads.path()).immutable(false).cache_max_age(Duration::from_secs(5)))
        };
        let (page, year) = ("no-cache", "max-age=31536000, immutable");
        for (path, accept, status, text, kept) in [
            ("/", BROWSER, 200, "dist", page),
            ("/orders/7", BROWSER, 200, "dist", page),
            ("/app-5f3a9c21.js", "*/*", 200, "dist", year),
            ("/uploads/app-5f3a9c21.js", "*/*", 200, "uploads", "max-age=5"),
            ("/docs/app-5f3a9c21.js", "*/*", 200, "docs", year),
            ("/uploads/none", BROWSER, 404, "{\"error\":\"not found\"}", ""),
            ("/docs/none", BROWSER, 404, "{\"error\":\"not found\"}", ""),
            ("/api/none", "application/json", 404, "{\"error\":\"not found\"}", ""),
            ("/api/orders/7", BROWSER, 200, "order", ""),
            ("/api/orders", BROWSER, 405, "{\"error\":\"GET is not allowed here\"}", ""),
        ] {
            let (had, headers, body) = ask(build(), path, accept).await;
            assert_eq!((had.as_u16(), body.as_str()), (status, text), "{path} {accept}");
            let said = headers.get("cache-control").map_or("", |value| value.to_str().unwrap());
            assert_eq!(said, kept, "{path}");
        }
    }

    #[tokio::test]
    async fn in_debug_mode_a_browser_asks_for_each_file_anew() {
        let dir = site("dist");
        let build = || {
            Server::new(&Config::builder().mode(Mode::Debug).build())
                .mount(Mount::new("/own", dir.path()).cache_max_age(Duration::from_secs(60)))
                .files("/", dir.path())
                .static_file("/app.js", dir.path().join("app-5f3a9c21.js"))
        };
        for path in ["/", "/app-5f3a9c21.js", "/own/app-5f3a9c21.js", "/app.js"] {
            assert_eq!(ask(build(), path, "*/*").await.1["cache-control"], "no-cache", "{path}");
        }
    }

    #[test]
    fn two_directories_with_one_path_are_told_with_both_places() {
        let (one, other) = (site("one"), site("other"));
        let error = failure(server().files("/up", one.path()).files("/up/", other.path()));
        assert!(error.starts_with(HERE), "{error}");
        assert!(error.contains(&format!("at \"/up\", registered at {HERE}")), "{error}");
        let config = Config::builder().set(|config| config.files.dir = Some(one.path().into())).build();
        let error = failure(Server::new(&config).files("/static", other.path()));
        assert!(error.starts_with(HERE) && error.contains("exclude files of static.dir"), "{error}");
        // One within the other is fine.
        assert_eq!(failure(server().files("/", one.path()).files("/up", other.path())), "");
    }

    #[test]
    fn what_is_missing_is_told_by_what_the_caller_wrote() {
        let dir = site("dist");
        let error = failure(server().files("/", "/none/at/all"));
        assert!(error.starts_with(HERE), "{error}");
        assert!(error.contains(": files of \"/none/at/all\" at \"/\": cannot serve /none/at/all: No such"), "{error}");
        let error = failure(server().static_file("/a", "/none/b.txt"));
        assert!(error.starts_with(HERE) && error.contains(": file \"/none/b.txt\" at \"/a\": cannot serve"), "{error}");
        let error = failure(server().mount(Mount::new("/", dir.path()).fallback("none.html")));
        assert!(error.starts_with(HERE) && error.contains("/none.html: No such file"), "{error}");
        let config = |text: &str| Config::<()>::from_text("shop.toml".as_ref(), text).unwrap();
        let error = failure(Server::new(&config("[static]\ndir = \"/none\"\n")));
        assert!(error.starts_with("shop.toml:2: static.dir: cannot serve /none: "), "{error}");
        let text = "[[static.mounts]]\nurl_prefix = \"/a\"\ndir = \"/none\"\n";
        let error = failure(Server::new(&config(text)));
        assert!(error.starts_with("shop.toml:") && error.contains(": static.mounts: cannot serve /none: "), "{error}");
        let set = Config::builder().set(|config| config.files.dir = Some("/none".into())).build();
        assert!(failure(Server::new(&set)).starts_with("config.files.dir: cannot serve /none: "));
        // A bare server has no files of the configuration.
        assert_eq!(failure(Server::bare(&set)), "");
    }

    #[test]
    fn a_file_beside_a_route_of_the_same_path_is_told_with_the_callers_places() {
        let dir = site("dist");
        let error = failure(server().get("/a.js", async || "a").static_file("/a.js", dir.path().join("index.html")));
        assert!(error.starts_with(HERE) && error.contains(&format!("registered at {HERE}")), "{error}");
    }
}
