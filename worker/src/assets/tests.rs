//! Requests for files, and what is answered.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use axum::body::to_bytes;
use bytes::Bytes;
use tempfile::TempDir;

use super::*;

struct Site {
    dir: TempDir,
    files: Files,
    settings: Static,
}

fn site(settings: Static) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    fs::create_dir_all(dir.path().join("sub/.git")).unwrap();
    fs::create_dir_all(dir.path().join("with")).unwrap();
    write("hello.txt", b"0123456789");
    write("empty.txt", b"");
    write("page.html", "long text ".repeat(500).as_bytes());
    write("data.bin", &[7; 3000]);
    write("a b.txt", b"space");
    write("sub/.git/config", b"secret");
    write(".env", b"secret");
    write("with/index.html", b"<p>index");
    write("ready.js", &[b'x'; 2000]);
    write("ready.js.gz", b"compressed before");
    File::create(dir.path().join("large.bin")).unwrap().set_len(cache::WHOLE_MAX + 1000).unwrap();
    let files = Files::open(dir.path(), "/static/", settings.memory).unwrap();
    Site { dir, files, settings }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let asking = Asking {
            method: &method,
            uri: &target.parse().unwrap(),
            headers: &headers,
            extensions: &Extensions::new(),
        };
        let response = self.files.answer(&self.settings, &asking).await;
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: to_bytes(body, 64 << 20).await.unwrap() }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(Method::GET, target, &[]).await
    }
}

#[tokio::test]
async fn files_are_found_and_nothing_else_is() {
    let site = site(Static::default());
    for (target, status, kind, body) in [
        ("/static/hello.txt", 200, "text/plain; charset=utf-8", "0123456789"),
        ("/static/a%20b.txt", 200, "text/plain; charset=utf-8", "space"),
        ("/static/empty.txt", 200, "text/plain; charset=utf-8", ""),
        ("/static/with/", 200, "text/html; charset=utf-8", "<p>index"),
        ("/static/hello.txt?v=1", 200, "text/plain; charset=utf-8", "0123456789"),
        ("/static/nowhere", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/hello.txt/", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/hello.txt/x", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/.env", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/sub/.git/config", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/..%2f..%2fetc/passwd", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/static/../hello.txt", 404, "application/json", "{\"error\":\"not found\"}"),
        ("/elsewhere", 404, "application/json", "{\"error\":\"not found\"}"),
    ] {
        let answer = site.get(target).await;
        let told = (answer.status, answer.header("content-type"), std::str::from_utf8(&answer.body).unwrap());
        assert_eq!(told, (status, kind, body), "{target}");
    }
    let answer = site.get("/static/with").await;
    assert_eq!((answer.status, answer.header("location")), (301, "./with/"));
    let answer = site.ask(Method::HEAD, "/static/hello.txt", &[]).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, "10", 0));
    let answer = site.ask(Method::POST, "/static/hello.txt", &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
    assert_eq!(site.get("/static/hello.txt").await.header("cache-control"), "max-age=86400");
}

#[tokio::test]
async fn who_has_it_is_told_so_and_parts_are_sent() {
    let site = site(Static::default());
    let first = site.get("/static/hello.txt").await;
    let (etag, modified) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    for (headers, status, length, range) in [
        (vec![("if-none-match", etag.as_str())], 304, 0, ""),
        (vec![("if-modified-since", modified.as_str())], 304, 0, ""),
        (vec![("if-match", "\"other\"")], 412, 0, ""),
        (vec![("range", "bytes=2-4")], 206, 3, "bytes 2-4/10"),
        (vec![("range", "bytes=-3")], 206, 3, "bytes 7-9/10"),
        (vec![("range", "bytes=20-")], 416, 0, "bytes */10"),
        (vec![("range", "bytes=2-4"), ("if-range", etag.as_str())], 206, 3, "bytes 2-4/10"),
        (vec![("range", "bytes=2-4"), ("if-range", "\"old\"")], 200, 10, ""),
        (vec![("range", "bytes=2-4"), ("if-none-match", etag.as_str())], 304, 0, ""),
        (vec![("range", "nonsense")], 200, 10, ""),
    ] {
        let answer = site.ask(Method::GET, "/static/hello.txt", &headers).await;
        let told = (answer.status, answer.body.len(), answer.header("content-range"));
        assert_eq!(told, (status, length, range), "{headers:?}");
        assert!(status == 412 || answer.header("etag") == etag);
    }
    let answer = site.ask(Method::GET, "/static/hello.txt", &[("range", "bytes=0-1,8-9")]).await;
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
         \r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--{boundary}--\r\n"
    );
    assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (206, expected.as_str()));
    // One that is read as it is sent.
    let answer = site.get("/static/large.bin").await;
    assert_eq!(answer.body.len() as u64, cache::WHOLE_MAX + 1000);
    let answer = site.ask(Method::GET, "/static/large.bin", &[("range", "bytes=-1001")]).await;
    assert_eq!((answer.status, answer.body.len()), (206, 1001));
}

#[tokio::test]
async fn a_browser_gets_the_page_of_an_application_where_there_is_no_file() {
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let minutes = Duration::from_secs(60);
    let allowed_types = vec!["txt".to_owned()];
    let fallback = Some("with/index.html".to_owned());
    let site = site(Static { fallback, allowed_types, html_max_age: minutes, ..Static::default() });
    for (target, accept, status, body) in [
        ("/static/deep/link", browser, 200, "<p>index"),
        ("/static/deep/link?tab=1", browser, 200, "<p>index"),
        ("/static/deep/a%2Fb", browser, 200, "<p>index"),
        ("/static/", browser, 200, "<p>index"),
        ("/static/hello.txt", browser, 200, "0123456789"),
        ("/static/deep/link", "application/json", 404, "{\"error\":\"not found\"}"),
        ("/static/gone.js", "*/*", 404, "{\"error\":\"not found\"}"),
        ("/static/.env", browser, 404, "{\"error\":\"not found\"}"),
    ] {
        let answer = site.ask(Method::GET, target, &[("accept", accept)]).await;
        assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (status, body), "{target} {accept}");
        let is_file = body.starts_with('0');
        let varies = answer.headers.get_all("vary").iter().any(|value| value == "accept");
        assert_eq!(varies, !is_file, "{target} {accept}");
        let kept = ["", "no-cache", "max-age=86400"][usize::from(status == 200) + usize::from(is_file)];
        assert_eq!(answer.header("cache-control"), kept, "{target} {accept}");
    }
    let first = site.ask(Method::HEAD, "/static/deep/link", &[("accept", browser)]).await;
    assert_eq!((first.status, first.body.len(), first.header("content-type")), (200, 0, "text/html; charset=utf-8"));
    // It is asked for again, and has not changed.
    let headers = [("accept", browser), ("if-none-match", first.header("etag"))];
    let again = site.ask(Method::GET, "/static/other/link", &headers).await;
    assert_eq!((again.status, again.header("cache-control")), (304, "no-cache"));
    assert_eq!(site.ask(Method::POST, "/static/deep/link", &[("accept", browser)]).await.status, 405);
    assert!(site.files.has(Path::new("hello.txt")).is_ok());
    for none in ["none.html", "with", "/etc/passwd", "../x"] {
        assert!(site.files.has(Path::new(none)).is_err(), "{none}");
    }
}

#[tokio::test]
async fn what_was_told_of_a_file_before_is_not_told_under_other_settings() {
    let site = site(Static::default());
    assert_eq!(site.get("/static/hello.txt").await.header("cache-control"), "max-age=86400");
    let settings = Static::default().in_mode(crate::config::Mode::Debug);
    let site = Site { settings, ..site };
    for target in ["/static/hello.txt", "/static/with/", "/static/large.bin"] {
        assert_eq!(site.get(target).await.header("cache-control"), "no-cache", "{target}");
    }
}

#[tokio::test]
async fn text_is_compressed_as_the_client_likes_it() {
    let site = site(Static::default());
    let with = async |target: &str, accepts: &str| site.ask(Method::GET, target, &[("accept-encoding", accepts)]).await;
    for (target, accepts, coding) in [
        ("/static/page.html", "gzip", "gzip"),
        ("/static/page.html", "gzip, br", "br"),
        ("/static/page.html", "zstd, br, gzip", "zstd"),
        ("/static/page.html", "br;q=0.1, gzip;q=0.9", "gzip"),
        ("/static/page.html", "deflate", ""),
        ("/static/hello.txt", "gzip", ""),
        ("/static/data.bin", "gzip", ""),
        ("/static/ready.js", "gzip", "gzip"),
        ("/static/ready.js", "gzip;q=0, br", "br"),
    ] {
        let answer = with(target, accepts).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{target} {accepts}");
        let is_text = target != "/static/data.bin";
        assert_eq!(answer.header("vary"), if is_text { "accept-encoding" } else { "" }, "{target}");
    }
    assert_eq!(with("/static/ready.js", "gzip").await.body, "compressed before");
    let answer = with("/static/page.html", "gzip").await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "long text ".repeat(500));
    // A representation of its own: another tag, and one that is known again.
    let etag = answer.header("etag").to_owned();
    assert!(etag.ends_with("-gzip\"") && etag != site.get("/static/page.html").await.header("etag"));
    let headers = [("accept-encoding", "gzip"), ("if-none-match", etag.as_str())];
    assert_eq!(site.ask(Method::GET, "/static/page.html", &headers).await.status, 304);
    // Parts are of the plain file.
    let headers = [("accept-encoding", "gzip"), ("range", "bytes=0-8")];
    let answer = site.ask(Method::GET, "/static/page.html", &headers).await;
    assert_eq!((answer.status, answer.header("content-encoding"), &answer.body[..]), (206, "", &b"long text"[..]));
    let off = Site { settings: Static { enable_compression: false, ..Static::default() }, ..site };
    let answer = off.ask(Method::GET, "/static/page.html", &[("accept-encoding", "gzip")]).await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("", ""));
}

impl Site {
    /// Writes other bytes, with the modification time of before.
    fn rewrite(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    /// The first answer with another tag than this.
    async fn until_not(&self, etag: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let began = std::time::Instant::now();
        loop {
            let answer = self.ask(Method::GET, target, headers).await;
            if answer.header("etag") != etag {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{target} keeps its tag");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn other_bytes_have_another_tag_though_time_and_length_are_the_same() {
    let site = site(Static::default());
    let page = "more text ".repeat(500);
    let large = vec![1; usize::try_from(cache::WHOLE_MAX + 1000).unwrap()];
    for (target, accepts, name, other) in [
        ("/static/hello.txt", "identity", "hello.txt", &b"9876543210"[..]),
        ("/static/ready.js", "gzip", "ready.js.gz", &b"COMPRESSED BEFORE"[..]),
        ("/static/page.html", "gzip", "page.html", page.as_bytes()),
        ("/static/large.bin", "identity", "large.bin", &large[..]),
    ] {
        let headers = [("accept-encoding", accepts)];
        let etag = site.ask(Method::GET, target, &headers).await.header("etag").to_owned();
        site.rewrite(name, other);
        let has = [("accept-encoding", accepts), ("if-none-match", etag.as_str())];
        let answer = site.until_not(&etag, target, &has).await;
        assert_eq!(answer.status, 200, "{target}");
        let now = answer.header("etag");
        let has = [("accept-encoding", accepts), ("if-none-match", now)];
        assert_eq!(site.ask(Method::GET, target, &has).await.status, 304, "{target}");
    }
}

#[tokio::test]
async fn the_same_bytes_have_the_same_tag_on_another_host() {
    let (one, other) = (site(Static::default()), site(Static::default()));
    File::options()
        .write(true)
        .open(other.dir.path().join("page.html"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    for accepts in ["identity", "gzip", "br"] {
        let headers = [("accept-encoding", accepts)];
        let (one, other) = (
            one.ask(Method::GET, "/static/page.html", &headers).await,
            other.ask(Method::GET, "/static/page.html", &headers).await,
        );
        assert_eq!(one.header("etag"), other.header("etag"), "{accepts}");
        assert_ne!(one.header("last-modified"), other.header("last-modified"));
    }
}

#[tokio::test]
async fn a_directory_is_read_once_for_all_who_ask_within_a_second() {
    let site = site(Static { enable_directory_listing: true, ..Static::default() });
    let began = std::time::Instant::now();
    let first = site.get("/static/").await.body;
    fs::write(site.dir.path().join("later.txt"), "x").unwrap();
    let second = site.get("/static/").await.body;
    // On a machine that stands still for a second there is nothing to see.
    assert!(began.elapsed() >= Duration::from_secs(1) || first == second);
    while !String::from_utf8_lossy(&site.get("/static/").await.body).contains("later.txt") {
        assert!(began.elapsed() < Duration::from_secs(10), "it is not seen");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cold_file_is_compressed_once_and_a_directory_listed_once_for_all_who_ask_at_once() {
    let site = site(Static { enable_directory_listing: true, ..Static::default() });
    for (target, headers) in [
        ("/static/page.html", [("accept-encoding", "gzip")]),
        ("/static/page.html", [("accept-encoding", "zstd")]),
        ("/static/", [("accept", "text/html")]),
        ("/static/", [("accept", "application/json")]),
    ] {
        let all = (0..40).map(|_| site.ask(Method::GET, target, &headers));
        let answers = futures_util::future::join_all(all).await;
        assert!(answers.iter().all(|answer| answer.status == 200 && !answer.body.is_empty()), "{target}");
        // What was made once is the same piece of memory in all answers.
        let bodies: HashSet<_> = answers.iter().map(|answer| answer.body.as_ptr()).collect();
        assert_eq!(bodies.len(), 1, "{target} {headers:?}");
    }
}

#[tokio::test]
async fn what_is_told_is_never_older_than_a_second() {
    let site = site(Static::default());
    let path = site.dir.path().join("hello.txt");
    assert_eq!(site.get("/static/hello.txt").await.body, "0123456789");
    assert_eq!(site.get("/static/new.txt").await.status, 404);
    fs::write(&path, "changed").unwrap();
    fs::write(site.dir.path().join("new.txt"), "new").unwrap();
    let began = std::time::Instant::now();
    while site.get("/static/hello.txt").await.body != "changed" {
        assert!(began.elapsed() < Duration::from_secs(2), "it is told still");
        tokio::task::yield_now().await;
    }
    while site.get("/static/new.txt").await.status == 404 {
        assert!(began.elapsed() < Duration::from_secs(2), "it is not seen");
        tokio::task::yield_now().await;
    }
    fs::remove_file(&path).unwrap();
    let began = std::time::Instant::now();
    while site.get("/static/hello.txt").await.status == 200 {
        assert!(began.elapsed() < Duration::from_secs(2), "it is told still");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_directory_is_listed_if_that_is_wanted_and_types_and_sizes_are_limited() {
    let listed = site(Static { enable_directory_listing: true, ..Static::default() });
    let answer = listed.get("/static/").await;
    let page = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.contains("./a%20b.txt") && page.contains("./sub/") && !page.contains(".env"), "{page}");
    let answer = listed.ask(Method::GET, "/static/sub/", &[("accept", "application/json")]).await;
    assert_eq!(answer.body, "{\"entries\":[],\"path\":\"/static/sub/\"}");
    let limited = site(Static { allowed_types: vec![".TXT".to_owned()], max_size: Some(9), ..Static::default() });
    assert_eq!(limited.get("/static/page.html").await.status, 404);
    assert_eq!(limited.get("/static/a%20b.txt").await.status, 200);
    assert_eq!(limited.get("/static/hello.txt").await.status, 403);
    assert!(Files::open(Path::new("/nowhere/at/all"), "/", 0).is_err());
}
