//! A site of files with a directory listing, a file of its own at another path, a download, and an API beside them.
//!
//! gin-server does the same without a line of code: `[static] dir = "public", url_prefix = "/"`.

use gin_worker::axum::extract::Request;
use gin_worker::axum::response::Response;
use gin_worker::{Config, Server, StartError, files};

const PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/static_site/public");

async fn download(request: Request) -> Response {
    files::attachment(format!("{PUBLIC}/docs/hello.txt"), "greeting.txt", request).await
}

fn server(config: &Config) -> Server {
    // What the configuration says of files counts, and this over it.
    let mut config = config.clone();
    config.files.enable_directory_listing = true;
    Server::new(&config)
        .files("/", PUBLIC)
        .static_file("/favicon.css", format!("{PUBLIC}/style.css"))
        .get("/api/download", download)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?).run().await
}

#[cfg(test)]
mod tests {
    use gin_worker::testing::TestServer;

    use super::*;

    #[tokio::test]
    async fn files_are_served_and_nothing_else() {
        let site = TestServer::start(server(&Config::default())).await;
        let index = site.get("/").send().await;
        index.assert_status(200).assert_header("content-type", "text/html; charset=utf-8");
        assert!(index.text().contains("A site of files"));
        let etag = index.header("etag").unwrap_or_default();
        site.get("/").header("if-none-match", etag).send().await.assert_status(304);
        site.get("/style.css").header("range", "bytes=0-3").send().await.assert_status(206).assert_text("body");
        site.get("/favicon.css").send().await.assert_header("content-type", "text/css; charset=utf-8");
        assert!(site.get("/docs/").send().await.assert_status(200).text().contains("hello.txt"));
        site.get("/docs").send().await.assert_status(301);
        let download = site.get("/api/download").send().await;
        download.assert_text("hello\n").assert_header("content-disposition", "attachment; filename=\"greeting.txt\"");
        for path in ["/../main.rs", "/%2e%2e/main.rs", "/docs/..%2f..%2fmain.rs", "/.git/config", "/none"] {
            site.get(path).send().await.assert_status(404);
        }
    }
}
