//! Uploads over a real socket, and forms whose bytes come as no browser sends them.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path as InPath, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::writing::{From, Writing, publish, sweep};
use super::*;
use crate::config::Config;
use crate::parts::{Health, Part, Registered};
use crate::testing::{MultipartForm, TestServer};
use crate::{Server, StartError};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

async fn upload(mut form: Form) -> Result<Json<Vec<Stored>>> {
    let mut stored = Vec::new();
    while let Some(field) = form.next().await? {
        if field.file_name().is_some() {
            stored.push(field.save().await?);
        }
    }
    Ok(Json(stored))
}

/// Says of each part what became of it.
async fn each(mut form: Form) -> Result<Json<Vec<String>>> {
    let mut told = Vec::new();
    while let Some(field) = form.next().await? {
        let name = field.name().to_owned();
        let outcome = match (name.as_str(), field.file_name().is_some()) {
            ("skipped", _) => "skipped".to_owned(),
            (_, true) => field.save().await.map_or_else(|error| error.to_string(), |stored| stored.original_name),
            (_, false) => field.text().await?,
        };
        told.push(format!("{name}: {outcome}"));
    }
    Ok(Json(told))
}

async fn list(uploads: Uploads) -> Result<Json<Vec<Listed>>> {
    Ok(Json(uploads.list().await?))
}

async fn download(uploads: Uploads, InPath(name): InPath<String>, request: Request) -> Response {
    uploads.download(&name, request).await
}

async fn removes(uploads: Uploads, InPath(name): InPath<String>) -> Result<String> {
    Ok(uploads.remove(&name).await?.to_string())
}

struct Site {
    dir: TempDir,
    app: TestServer,
}

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.uploads.dir = Some(dir.join("uploads"));
    config.uploads.file = 1000;
    config.uploads.files = 3;
    config
}

impl Site {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let server: Server = Server::new(&config)
            .uploads()
            .post("/upload", upload)
            .post("/each", each)
            .get("/files", list)
            .get("/download/:name", download)
            .delete("/files/:name", removes);
        Self { app: TestServer::start(server).await, dir }
    }

    async fn upload(&self, name: &str, bytes: impl Into<Bytes>) -> crate::testing::TestResponse {
        let form = MultipartForm::new().file("file", name, "any/thing", bytes);
        self.app.post("/upload").multipart(&form).send().await
    }

    async fn stored(&self, name: &str, bytes: impl Into<Bytes>) -> Value {
        let answer = self.upload(name, bytes).await;
        answer.assert_status(200).json::<Value>()[0].clone()
    }

    async fn listed(&self) -> Vec<Value> {
        self.app.get("/files").send().await.assert_status(200).json()
    }

    /// Files in the directory, but for those whose names begin with a dot.
    fn on_disk(&self) -> Vec<PathBuf> {
        on_disk(&self.dir.path().join("uploads"))
    }
}

fn on_disk(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| !path.file_name().unwrap().as_encoded_bytes().starts_with(b".")).collect()
}

#[tokio::test]
async fn a_file_is_stored_listed_downloaded_and_removed() {
    let site = Site::start(|_| ()).await;
    let stored = site.stored("../../my report.TXT", "hello").await;
    let name = stored["filename"].as_str().unwrap();
    assert!(name.starts_with("my_report_") && name.ends_with(".txt"), "{stored}");
    assert_eq!(stored["original_name"], "my report.TXT");
    assert_eq!((&stored["size"], &stored["content_type"]), (&json!(5), &json!("text/plain")));
    assert!(stored["upload_time"].as_str().unwrap().ends_with('Z'), "{stored}");
    let listed = site.listed().await;
    assert_eq!((listed.len(), &listed[0]["filename"], &listed[0]["size"]), (1, &stored["filename"], &json!(5)));
    assert_eq!(site.on_disk(), [site.dir.path().join("uploads").join(name)]);

    let path = format!("/download/{name}");
    let answer = site.app.get(&path).send().await;
    answer.assert_status(200).assert_text("hello");
    answer.assert_header("content-type", "application/octet-stream");
    answer.assert_header("content-disposition", &format!("attachment; filename=\"{name}\""));
    answer.assert_header("x-content-type-options", "nosniff");
    answer.assert_header("content-security-policy", "sandbox; default-src 'none'");
    answer.assert_header("cache-control", "private, no-cache");
    let etag = answer.header("etag").unwrap();
    site.app.get(&path).header("if-none-match", etag).send().await.assert_status(304);
    let part = site.app.get(&path).header("range", "bytes=1-3").send().await;
    part.assert_status(206).assert_text("ell").assert_header("content-type", "application/octet-stream");

    for (name, expected) in [(name, "true"), (name, "false"), (".lock", "false")] {
        site.app.delete(&format!("/files/{name}")).send().await.assert_status(200).assert_text(expected);
    }
    site.app.get(&path).send().await.assert_status(404);
    assert!(site.listed().await.is_empty() && site.on_disk().is_empty());
}

#[tokio::test]
async fn nothing_but_stored_files_can_be_had() {
    let site = Site::start(|_| ()).await;
    let uploads = site.dir.path().join("uploads");
    std::fs::write(uploads.join("foreign.txt"), "x").unwrap();
    std::fs::write(site.dir.path().join("a_000000000000beef.txt"), "x").unwrap();
    for name in [".lock", "foreign.txt", "%2e%2e%2fa_000000000000beef.txt", "..%5ca_000000000000beef.txt"] {
        site.app.get(&format!("/download/{name}")).send().await.assert_status(404);
        site.app.delete(&format!("/files/{name}")).send().await;
    }
    assert!(site.listed().await.is_empty());
    assert!(uploads.join("foreign.txt").exists() && site.dir.path().join("a_000000000000beef.txt").exists());
}

#[tokio::test]
async fn each_refusal_has_its_status_and_leaves_nothing() {
    let site = Site::start(|config| {
        config.uploads.file = 5000;
        config.uploads.quota = 9500;
    })
    .await;
    let refusals: [(&str, &[u8], u16, &str); 4] = [
        ("virus.exe", b"MZ\x90\0", 415, "FILE_TYPE"),
        ("x.png", b"MZ\x90\0", 415, "FILE_TYPE"),
        ("x.txt", PNG, 415, "FILE_TYPE"),
        ("x.txt", &[b'x'; 5001], 413, "FILE_TOO_LARGE"),
    ];
    for (name, bytes, status, code) in refusals {
        let answer = site.upload(name, bytes.to_vec()).await;
        answer.assert_status(status);
        assert_eq!(answer.json::<Value>()["code"], code, "{name}");
        assert!(site.on_disk().is_empty(), "{name}");
    }
    site.stored("x.txt", [b'x'; 5000].to_vec()).await;
    let full = site.upload("y.txt", [b'x'; 4501].to_vec()).await;
    assert_eq!(full.assert_status(507).json::<Value>()["code"], "NO_SPACE");
    site.stored("y.txt", [b'x'; 4500].to_vec()).await;
    assert_eq!(site.on_disk().len(), 2);
}

#[tokio::test]
async fn a_part_that_is_refused_or_passed_over_leaves_the_others() {
    let site = Site::start(|_| ()).await;
    let form = MultipartForm::new()
        .text("title", "报告")
        .file("skipped", "a.txt", "text/plain", "a")
        .file("files", "b.exe", "text/plain", "b")
        .file("files", "c.txt", "text/plain", vec![b'c'; 1001])
        .file("files", "d.txt", "text/plain", "d");
    let answer = site.app.post("/each").multipart(&form).send().await;
    answer.assert_status(200).assert_json(json!([
        "title: 报告",
        "skipped: skipped",
        "files: files of this type are not taken: b.exe",
        "files: larger than 1000 bytes",
        "files: d.txt",
    ]));
    assert_eq!(site.listed().await.len(), 1);
}

#[tokio::test]
async fn a_form_has_so_many_files_and_so_many_parts() {
    // So much of a form is read that is refused.
    let site = Site::start(|config| config.uploads.file = 1 << 20).await;
    let files =
        |count: usize| (0..count).fold(MultipartForm::new(), |form, _| form.file("files", "a.txt", "text/plain", "a"));
    site.app.post("/upload").multipart(&files(3)).send().await.assert_status(200);
    let many = site.app.post("/upload").multipart(&files(4)).send().await;
    assert_eq!(many.assert_status(400).json::<Value>()["code"], "UPLOAD_MALFORMED");
    let parts = (0..10_000).fold(MultipartForm::new(), |form, _| form.text("skipped", ""));
    let many = site.app.post("/each").multipart(&parts).send().await;
    assert_eq!(many.assert_status(400).json::<Value>()["error"], "the form has too many parts");
}

#[tokio::test]
async fn what_is_no_form_is_told() {
    let site = Site::start(|_| ()).await;
    for (kind, body) in [
        ("application/json", "{}"),
        ("multipart/form-data", "--b--\r\n"),
        ("multipart/form-data; boundary=", "----\r\n"),
        ("multipart/form-data; boundary=b", ""),
        ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end"),
        ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data"),
        ("multipart/form-data; boundary=b", "--bx\r\n\r\n\r\n--b--"),
    ] {
        let answer = site.app.post("/upload").typed(kind, body).send().await;
        assert_eq!(answer.assert_status(400).json::<Value>()["code"], "UPLOAD_MALFORMED", "{kind} {body}");
    }
    let answer = site.app.post("/upload").typed("multipart/form-data; boundary=b", "--b--\r\n").send().await;
    answer.assert_status(200).assert_json(json!([]));
    assert!(site.on_disk().is_empty());
}

/// A form whose pieces come as they are here.
fn form(uploads: &Uploads, pieces: Vec<Bytes>) -> Form {
    let headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=b"))]);
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, io::Error>));
    Form::new(uploads.clone(), &headers, Body::from_stream(pieces)).unwrap()
}

fn uploads(dir: &Path) -> Uploads {
    let uploads = Uploads::new(config::Uploads { file: 10 << 20, ..config::Uploads::default() });
    uploads.open(Directory::open(dir).unwrap());
    uploads
}

fn file(name: &str, contents: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n{contents}\r\n")
}

#[tokio::test]
async fn a_form_is_the_same_wherever_its_bytes_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = uploads(dir.path());
    let whole = format!("preamble\r\n{}{}--b--\r\nepilogue", file("a.txt", "1\r\n--c\r\n2"), file("b.txt", ""));
    for size in (1..whole.len()).step_by(9) {
        let pieces = whole.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let mut form = form(&uploads, pieces);
        let mut sizes = Vec::new();
        while let Some(field) = form.next().await.unwrap() {
            sizes.push(field.save().await.unwrap().size);
        }
        assert_eq!(sizes, [9, 0], "{size}");
    }
}

#[tokio::test]
async fn a_form_that_leads_to_nothing_ends() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = uploads(dir.path());
    let endless = || -> Bytes { vec![b'x'; 1 << 20].into() };
    let head = Bytes::from_static(b"--b\r\nContent-Disposition: form-data; name=\"");
    for pieces in [vec![endless()], vec![head.clone(), endless()]] {
        assert!(matches!(form(&uploads, pieces).next().await, Err(UploadError::Malformed)));
    }
    // A head that ends, but late.
    let late = [&head[..], "x".repeat(20 << 10).as_bytes(), b"\"\r\n\r\n\r\n--b--"].concat();
    let mut late = form(&uploads, vec![late.into()]);
    assert!(matches!(late.next().await, Err(UploadError::Malformed)));
    assert!(matches!(late.next().await, Err(UploadError::Malformed)), "it stays so");
}

#[tokio::test]
async fn a_large_file_comes_through_whole() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = uploads(dir.path());
    let text = "0123456789abcdef".repeat(100_000);
    let whole = format!("{}--b--", file("large.txt", &text));
    let mut form = form(&uploads, whole.into_bytes().chunks(100_003).map(Bytes::copy_from_slice).collect());
    let stored = form.next().await.unwrap().unwrap().save().await.unwrap();
    assert_eq!(stored.size, text.len() as u64);
    assert!(std::fs::read_to_string(dir.path().join(&stored.filename)).unwrap() == text);
}

#[tokio::test]
async fn nothing_is_listed_or_left_of_a_client_that_goes() {
    let site = Site::start(|config| config.uploads.file = 10 << 20).await;
    let head = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n\
                Content-Length: 9000000\r\n\r\n";
    let mut client = TcpStream::connect(site.app.address()).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(file("a.txt", &"x".repeat(1 << 20)).as_bytes()).await.unwrap();
    assert!(site.listed().await.is_empty() && site.on_disk().is_empty());
    drop(client);
    // The server has seen its end when it ends itself.
    let Site { dir, app } = site;
    app.stop().await;
    assert!(on_disk(&dir.path().join("uploads")).is_empty());
}

#[tokio::test]
async fn a_client_that_is_refused_early_gets_its_answer() {
    let site = Site::start(|config| config.uploads.file = 1 << 20).await;
    let body = format!("{}--b--\r\n", file("virus.exe", &"x".repeat(1 << 20)));
    let mut client = TcpStream::connect(site.app.address()).await.unwrap();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(body.as_bytes()).await.unwrap();
    // The rest was read: the connection goes on.
    client.write_all(b"GET /files HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 415 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 OK") && answers.ends_with("[]"), "{answers}");
}

fn name(stem: &str) -> Name {
    Name::of(&format!("{stem}.txt"), 1, &["txt".to_owned()]).unwrap()
}

#[tokio::test]
async fn of_two_files_at_once_one_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(dir.path()).unwrap());
    let write = async |stem: &str| {
        let mut writing = Writing::begin(Arc::clone(&directory), 2 * quota::LEAST - 1, name(stem)).await?;
        writing.add(&[b'x'; 600]).await?;
        writing.finish().await
    };
    let (one, other) = tokio::join!(write("a"), write("b"));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert!([one, other].iter().any(|outcome| matches!(outcome, Err(UploadError::Quota))));
    assert_eq!(on_disk(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_file_without_room_is_refused_before_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(dir.path()).unwrap());
    let mut writing = Writing::begin(directory, 1 << 20, name("a")).await.unwrap();
    let piece = vec![b'x'; 256 << 10];
    let mut written = 0;
    let refused = loop {
        match writing.add(&piece).await {
            Ok(()) => written += piece.len(),
            Err(error) => break error,
        }
        assert!(written < 20 << 20, "it is written on");
    };
    assert!(matches!(refused, UploadError::Quota), "{refused}");
}

#[tokio::test]
async fn a_file_system_without_unnamed_files_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(dir.path()).unwrap();
    directory.has_unnamed = false;
    let directory = Arc::new(directory);
    let incoming = || on_disk(&dir.path().join(".incoming")).len();
    let mut writing = Writing::begin(Arc::clone(&directory), 0, name("a")).await.unwrap();
    writing.add(b"hello").await.unwrap();
    assert!(listing::read(&directory).unwrap().is_empty());
    // A writer that lives is left alone, one that is dead is not.
    std::fs::write(dir.path().join(".incoming/dead"), "x").unwrap();
    sweep(&directory).unwrap();
    assert_eq!(incoming(), 1);
    writing.finish().await.unwrap();
    assert_eq!((incoming(), listing::read(&directory).unwrap().len()), (0, 1));
    assert_eq!(std::fs::read_to_string(dir.path().join(name("a").as_str())).unwrap(), "hello");
    drop(Writing::begin(directory, 0, name("b")).await.unwrap());
    assert_eq!(incoming(), 0);
}

#[test]
fn a_name_that_is_taken_is_given_to_the_same_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join(".tus")).unwrap();
    std::fs::write(dir.path().join(".tus/one"), "one").unwrap();
    let one = Path::new(".tus/one");
    // Its bytes count already.
    publish(&directory, quota::LEAST, From::Named(one), 3, &name("a")).unwrap();
    publish(&directory, quota::LEAST, From::Named(one), 3, &name("a")).unwrap();
    let other = std::fs::File::open(dir.path().join(".tus/one")).unwrap();
    publish(&directory, quota::LEAST, From::Unnamed(other.as_fd()), 3, &name("a")).unwrap();
    std::fs::write(dir.path().join(".tus/two"), "two").unwrap();
    let refused = publish(&directory, 0, From::Named(Path::new(".tus/two")), 3, &name("a")).unwrap_err();
    assert!(matches!(&refused, UploadError::Io(error) if error.kind() == io::ErrorKind::AlreadyExists), "{refused}");
    assert_eq!(std::fs::read_to_string(dir.path().join(name("a").as_str())).unwrap(), "one");
}

#[tokio::test]
async fn the_part_opens_its_directory_and_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let part = UploadsPart::new(&config(dir.path())).unwrap();
    assert!(matches!(part.health(), Health::Away { .. }), "it is not open");
    part.open().await.unwrap();
    part.prepare().await.unwrap();
    assert_eq!(part.health(), Health::Here);
    let mut registered = Registered::default();
    part.lend(&mut registered);
    assert!(registered.lent::<Uploads>().is_some());
    assert_eq!(part.details()["directory"], json!(dir.path().join("uploads")));
    part.close().await;

    std::fs::write(dir.path().join("file"), "").unwrap();
    let mut broken = config(dir.path());
    broken.uploads.dir = Some(dir.path().join("file/uploads"));
    let error = UploadsPart::new(&broken).unwrap().open().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.contains("uploads.dir"), "{error}");
}

#[tokio::test]
async fn an_ending_that_nobody_can_tell_is_an_error_of_the_start() {
    let mut config = config(Path::new("/tmp"));
    config.uploads.allow = vec!["png".to_owned(), "svg".to_owned()];
    let server: Server = Server::new(&config).uploads();
    let error = server.worker(None).map(|_| ()).unwrap_err();
    assert!(matches!(&error, StartError::Part { name: "uploads", why } if why.contains("\"svg\"")), "{error}");
}
