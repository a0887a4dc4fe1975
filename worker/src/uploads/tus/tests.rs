//! The protocol over a real socket. Two servers on one directory are two workers, or one before and after a restart.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::*;
use crate::testing::{TestResponse, TestServer};
use crate::uploads::directory::Directory;
use crate::uploads::quota::LEAST;
use crate::{Config, Server};

/// `a.txt` in Base64.
const A_TXT: &str = "filename YS50eHQ=";
const BYTES: &str = "application/offset+octet-stream";

async fn server(dir: &Path, more: &str) -> TestServer {
    let text =
        format!("[uploads]\ndir = {dir:?}\nresumable = true\nresumable_file = \"100B\"\nfile = \"100B\"\n{more}\n");
    let config = Config::<()>::from_text(Path::new("shop.toml"), &text).unwrap();
    TestServer::start(Server::new(&config).uploads().group(Uploads::resumable("/tus"))).await
}

/// A request of the protocol.
async fn ask(
    app: &TestServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> TestResponse {
    let request = app.request(method, path).header("tus-resumable", "1.0.0");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.body(body).send().await;
    answer.assert_header("tus-resumable", "1.0.0");
    answer
}

async fn creation(app: &TestServer, length: &str, metadata: &str) -> TestResponse {
    ask(app, Method::POST, "/tus", &[("upload-length", length), ("upload-metadata", metadata)], "").await
}

/// Path of a new upload.
async fn created(app: &TestServer, length: &str) -> String {
    let answer = creation(app, length, A_TXT).await;
    answer.assert_status(201).assert_header("upload-offset", "0");
    assert!(answer.header("upload-expires").is_some());
    answer.header("location").unwrap().to_owned()
}

async fn sent(app: &TestServer, path: &str, offset: &str, bytes: &'static str) -> TestResponse {
    ask(app, Method::PATCH, path, &[("upload-offset", offset), ("content-type", BYTES)], bytes).await
}

async fn looked_at(app: &TestServer, path: &str) -> TestResponse {
    ask(app, Method::HEAD, path, &[], "").await
}

/// Names of the files below a directory, without the directories in it.
fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let of_files = entries.flatten().filter(|entry| entry.file_type().unwrap().is_file());
    let names = of_files.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

/// An upload that has these bytes of 5, as a worker leaves it that is killed.
fn left(dir: &Path, bytes: &[u8]) -> (Directory, Id) {
    let (directory, id) = (Directory::open(dir).unwrap(), Id::random().unwrap());
    part::create(&directory, 0, id, record(id)).unwrap().append(&directory, 0, bytes).unwrap();
    (directory, id)
}

/// Of a text of 5 bytes.
fn record(id: Id) -> Record {
    let name = Name::of("a.txt", id.number(), &["txt".to_owned()]).unwrap();
    Record { length: 5, name: name.as_str().to_owned(), metadata: A_TXT.to_owned(), user: None, address: None }
}

#[tokio::test]
async fn an_upload_in_pieces_over_two_workers_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (server(dir.path(), "").await, server(dir.path(), "").await);
    let path = created(&one, "11").await;
    sent(&one, &path, "0", "hello ").await.assert_status(204).assert_header("upload-offset", "6");
    assert!(files(dir.path()).is_empty(), "it is not listed before its end");

    let answer = looked_at(&other, &path).await;
    answer.assert_status(200).assert_header("upload-offset", "6").assert_header("upload-length", "11");
    answer.assert_header("cache-control", "no-store").assert_header("upload-metadata", A_TXT);
    sent(&other, &path, "0", "hello ").await.assert_status(409);
    let end = sent(&other, &path, "6", "world").await;
    end.assert_status(204).assert_header("upload-offset", "11");

    let name = end.header("x-filename").unwrap();
    assert_eq!(files(dir.path()), [name]);
    assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), "hello world");
    // Its client has not heard the answer.
    looked_at(&one, &path).await.assert_header("upload-offset", "11").assert_header("x-filename", name);
    sent(&one, &path, "11", "").await.assert_status(204).assert_header("x-filename", name);
    sent(&one, &path, "6", "world").await.assert_status(409);
    ask(&one, Method::DELETE, &path, &[], "").await.assert_status(204);
    looked_at(&one, &path).await.assert_status(404);
    assert_eq!((files(dir.path()).len(), files(&dir.path().join(".tus")).len()), (1, 0), "the file stays");
}

#[tokio::test]
async fn an_upload_may_begin_with_its_bytes_or_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "").await;
    let headers = [("upload-length", "5"), ("upload-metadata", A_TXT), ("content-type", BYTES)];
    let answer = ask(&app, Method::POST, "/tus/", &headers, "hello").await;
    answer.assert_status(201).assert_header("upload-offset", "5");
    let first = answer.header("x-filename").unwrap().to_owned();
    let answer = creation(&app, "0", A_TXT).await;
    answer.assert_status(201).assert_header("upload-offset", "0");
    let empty = answer.header("x-filename").unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join(first)).unwrap(), "hello");
    assert_eq!(std::fs::metadata(dir.path().join(empty)).unwrap().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_before_its_bytes_come() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "quota = \"12KiB\"").await;
    app.request(Method::POST, "/tus").send().await.assert_status(412).assert_header("tus-version", "1.0.0");
    let abilities = app.request(Method::OPTIONS, "/tus").send().await;
    abilities.assert_status(204).assert_header("tus-max-size", "100").assert_header("tus-resumable", "1.0.0");
    creation(&app, "101", A_TXT).await.assert_status(413).assert_header("tus-max-size", "100");
    // `a.exe`
    creation(&app, "1", "filename YS5leGU=").await.assert_status(415);
    creation(&app, "1", "").await.assert_status(400);
    creation(&app, "1", A_TXT).await.assert_status(201);
    // Each upload takes its room of the quota, however small it is.
    creation(&app, "1", A_TXT).await.assert_status(507);
    for path in ["/tus/x", "/tus/0123456789abcdef0123456789abcdef"] {
        looked_at(&app, path).await.assert_status(404);
        sent(&app, path, "0", "x").await.assert_status(404);
    }
}

#[tokio::test]
async fn one_client_does_not_hold_the_quota() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "quota = \"32KiB\"").await;
    // Each takes 8 KiB, with its record.
    let first = created(&app, "5").await;
    created(&app, "5").await;
    let refused = creation(&app, "5", A_TXT).await;
    assert!(refused.assert_status(429).text().contains("TOO_MANY_UPLOADS"), "{}", refused.text());
    // Another client's.
    let directory = Directory::open(dir.path()).unwrap();
    let id = Id::random().unwrap();
    let other = Record { address: Some("192.0.2.1".to_owned()), ..record(id) };
    part::create(&directory, 32 << 10, id, other).unwrap();
    // One that is a file is under way no more.
    sent(&app, &first, "0", "hello").await.assert_status(204);
    created(&app, "5").await;
    creation(&app, "5", A_TXT).await.assert_status(507);
}

#[test]
fn a_client_over_ipv6_is_its_network() {
    let network = |text: &str| network(text.parse().unwrap()).to_string();
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!((network("192.0.2.7"), network("::ffff:192.0.2.7")), ("192.0.2.7".to_owned(), "192.0.2.7".to_owned()));
}

#[test]
fn an_upload_without_a_byte_is_not_kept_as_long_as_others() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join(".tus");
    let (directory, empty) = left(dir.path(), b"");
    let (_, begun) = left(dir.path(), b"h");
    let sweep = || sweep(&directory, 0, Duration::from_secs(3600));
    sweep();
    assert_eq!(files(&below).len(), 4);
    for id in [empty, begun] {
        let file = File::options().write(true).open(below.join(id.text())).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(11 * 60)).unwrap();
    }
    sweep();
    assert!(files(&below).iter().all(|name| name.starts_with(&begun.text())) && files(&below).len() == 2);
}

#[tokio::test]
async fn without_its_setting_nothing_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config::<()>::from_text(Path::new("shop.toml"), &format!("[uploads]\ndir = {:?}\n", dir.path())).unwrap();
    let app = TestServer::start(Server::new(&config).uploads().group(Uploads::resumable("/tus"))).await;
    creation(&app, "1", A_TXT).await.assert_status(404);
    app.request(Method::OPTIONS, "/tus").send().await.assert_status(404);
}

#[tokio::test]
async fn more_bytes_than_there_are_and_other_contents_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "").await;
    let path = created(&app, "4").await;
    sent(&app, &path, "0", "hello").await.assert_status(413);
    sent(&app, &path, "0", "\u{1}\u{2}\u{3}\u{4}").await.assert_status(415);
    looked_at(&app, &path).await.assert_status(404);
    assert!(files(dir.path()).is_empty() && files(&dir.path().join(".tus")).is_empty());
    let path = created(&app, "4").await;
    let patch = [("upload-offset", "0"), ("content-type", "text/plain")];
    ask(&app, Method::PATCH, &path, &patch, "hell").await.assert_status(415);
    let patch = [("upload-offset", "0"), ("content-type", BYTES), ("x-http-method-override", "PATCH")];
    ask(&app, Method::POST, &path, &patch, "hell").await.assert_status(204);
}

#[tokio::test]
async fn what_came_before_a_connection_broke_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "").await;
    let path = created(&app, "11").await;
    let mut connection = TcpStream::connect(app.address()).unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: {BYTES}\r\n\
         Content-Length: 11\r\n\r\nhello "
    );
    connection.write_all(head.as_bytes()).unwrap();
    drop(connection);
    // Nobody is told when the server has read it.
    let end = Instant::now() + Duration::from_secs(20);
    while looked_at(&app, &path).await.header("upload-offset") != Some("6") {
        assert!(Instant::now() < end, "it is lost");
    }
    sent(&app, &path, "6", "world").await.assert_status(204).assert_header("upload-offset", "11");
}

#[tokio::test]
async fn nobody_writes_while_another_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "").await;
    let path = created(&app, "5").await;
    let directory = Directory::open(dir.path()).unwrap();
    let id = Id::parse(path.rsplit('/').next().unwrap()).unwrap();
    let Found::Open(held) = part::find(&directory, id).unwrap() else { panic!("it is there") };
    sent(&app, &path, "0", "hello").await.assert_status(423);
    sweep(&directory, 0, Duration::ZERO);
    drop(held);
    sent(&app, &path, "0", "hello").await.assert_status(204);
}

#[tokio::test]
async fn a_worker_that_drains_leaves_off_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, id) = left(dir.path(), b"he");
    let Found::Open(part) = part::find(&directory, id).unwrap() else { panic!("it is there") };
    let receiver = Receiver { directory: Arc::new(directory), quota: 0 };
    let endless = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
    let (part, end) = receiver.receive(part, endless, async {}).await.unwrap();
    assert_eq!((end, part.offset(), part.is_whole()), (End::Drained, 2, false));
}

#[tokio::test]
async fn a_worker_that_dies_at_the_end_leaves_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let app = server(dir.path(), "").await;
    // Before the file had its name: the next one who asks gives it.
    let (_, before) = left(dir.path(), b"hello");
    let answer = looked_at(&app, &format!("/tus/{}", before.text())).await;
    answer.assert_status(200).assert_header("upload-offset", "5");
    assert_eq!(files(dir.path()), [answer.header("x-filename").unwrap()]);
    // And after it: the sweep only ends it.
    let (directory, after) = left(dir.path(), b"hello");
    let name = Name::of("a.txt", after.number(), &["txt".to_owned()]).unwrap();
    std::fs::hard_link(dir.path().join(".tus").join(after.text()), dir.path().join(name.as_str())).unwrap();
    assert_eq!(bytes(&directory).unwrap(), 2 * LEAST, "a file that is listed is counted there");
    sweep(&directory, 0, Duration::from_secs(60));
    assert_eq!(files(dir.path()).len(), 2);
    assert!(files(&dir.path().join(".tus")).iter().all(|name| name.ends_with(part::RECORD)));
}

#[test]
fn what_nobody_goes_on_with_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join(".tus");
    let (directory, _) = left(dir.path(), b"hel");
    // A worker died while it began another one, and while it ended a third one.
    File::create(below.join("0123456789abcdef0123456789abcdef")).unwrap();
    File::create(below.join("fedcba9876543210fedcba9876543210.json")).unwrap();
    assert_eq!(bytes(&directory).unwrap(), 4 * LEAST);
    sweep(&directory, 0, Duration::from_secs(60));
    assert_eq!(files(&below).len(), 4);
    sweep(&directory, 0, Duration::ZERO);
    assert!(files(&below).is_empty() && files(dir.path()).is_empty());
    assert_eq!(bytes(&directory).unwrap(), 0);
}

#[test]
fn the_sweep_keeps_to_the_quota() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join(".tus");
    let (directory, _) = left(dir.path(), b"hello");
    sweep(&directory, 2 * LEAST - 1, Duration::from_secs(60));
    assert_eq!((files(dir.path()).len(), files(&below).len()), (0, 2), "it waits for room");
    sweep(&directory, 2 * LEAST, Duration::from_secs(60));
    assert_eq!((files(dir.path()).len(), files(&below).len()), (1, 1), "it has room");
    let (directory, _) = left(dir.path(), b"world");
    sweep(&directory, 9, Duration::ZERO);
    assert_eq!((files(dir.path()).len(), files(&below).len()), (1, 0), "it has waited long enough");
}

#[test]
fn the_first_bytes_ask_for_the_room_of_those_that_follow() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, id) = (Directory::open(dir.path()).unwrap(), Id::random().unwrap());
    let large = Record { length: LEAST + 3, ..record(id) };
    let mut part = part::create(&directory, 0, id, large).unwrap();
    part.append(&directory, 0, b"he").unwrap();
    drop(part);
    let Found::Open(mut part) = part::find(&directory, id).unwrap() else { panic!("it is there") };
    let refused = part.append(&directory, 2 * LEAST + 2, b"l").unwrap_err();
    assert!(matches!(refused, UploadError::Quota), "{refused}");
    part.append(&directory, 2 * LEAST + 3, b"l").unwrap();
    // They were asked for already.
    part.append(&directory, LEAST, b"lo").unwrap();
    assert_eq!(part.offset(), 5);
}

#[test]
fn room_is_asked_for_before_the_contents_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, id) = left(dir.path(), b"\0\0\0\0\0");
    let Found::Open(part) = part::find(&directory, id).unwrap() else { panic!("it is there") };
    let refused = part.finish(&directory, 2 * LEAST - 1).unwrap_err();
    assert!(matches!(refused, UploadError::Quota), "{refused}");
    let refused = part.finish(&directory, 2 * LEAST).unwrap_err();
    assert!(matches!(refused, UploadError::Type { .. }), "{refused}");
    assert!(files(&dir.path().join(".tus")).is_empty());
}

#[test]
fn an_upload_that_cannot_begin_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join(".tus");
    let (directory, id) = (Directory::open(dir.path()).unwrap(), Id::random().unwrap());
    // Its record cannot be written.
    std::fs::create_dir(&below).unwrap();
    File::create(below.join(part::record_of(id))).unwrap();
    assert!(part::create(&directory, 0, id, record(id)).is_err());
    assert!(files(&below).is_empty());
}
