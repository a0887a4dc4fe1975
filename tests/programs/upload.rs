//! Uploads, through restarts.

use std::fs;
use std::path::Path;

use gin_worker::testing::{MultipartForm, Request, UnderLoad};
use harness::{Client, binary, get};

use crate::programs::site::site;

/// Pieces of a file that is sent in parts.
const PIECE: &str = "a line of a file that is sent in two parts, before and after a restart\n";

/// Contents of the files in this directory, by name. What the program keeps for itself begins with a dot.
fn stored(directory: &Path) -> Vec<(String, String)> {
    let all = fs::read_dir(directory).unwrap().flatten();
    let all = all.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    all.filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the program: tests/run --services"]
async fn no_upload_and_no_download_notices_a_restart() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let state = directory.path().join("state");
    let one = |number: u64| {
        let contents = format!("contents {number}");
        Request::post("/upload").multipart(&MultipartForm::new().file(
            "file",
            &format!("{number}.txt"),
            "text/plain",
            contents,
        ))
    };
    let several = |number: u64| {
        let contents = |part: u64| format!("contents {number}{part}");
        let form = (1..=3).fold(MultipartForm::new(), |form, part| {
            form.file("files", &format!("{number}{part}.txt"), "text/plain", contents(part))
        });
        Request::post("/upload/multiple").multipart(&form)
    };
    let outcome = UnderLoad::new(binary("upload"))
        .env("STATE_DIRECTORY", state.display().to_string())
        .request_with(one)
        .request_with(several)
        .request(Request::get("/download/none.txt").expects(404))
        .path("/files")
        .path("/")
        .clients(4)
        .restarts(5)
        .run()
        .await;
    println!("{} answers, {:?}", outcome.answered, outcome.restarts);
    outcome.assert_nobody_noticed();
    let files = stored(&state.join("uploads"));
    assert!(files.len() > 5, "{} files", files.len());
    for (name, contents) in files {
        let number = name.split('_').next().unwrap();
        assert_eq!(contents, format!("contents {number}"), "{name} is whole");
    }
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn an_upload_under_way_is_finished_by_its_worker_and_served_by_the_next() {
    let gin = site("upload", 1, &[]).start();
    let contents = PIECE.repeat(10_000);
    let part = "Content-Disposition: form-data; name=\"file\"; filename=\"long.txt\"";
    let body = format!("--x\r\n{part}\r\n\r\n{contents}\r\n--x--\r\n");
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut client = Client::asking(&gin.tcp(), &head).unwrap();
    assert_eq!(client.head().unwrap().status, 100, "the handler reads");
    let (first, rest) = body.as_bytes().split_at(body.len() / 2);
    client.send(first).unwrap();
    let before = gin.workers();
    gin.restart();
    assert_ne!(gin.workers(), before);
    let list = gin.get("/files").json();
    assert_eq!(list["total"], 0, "half a file is in no list: {list}");
    client.send(rest).unwrap();
    let answer = client.response().unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let url = answer.json()["data"]["download_url"].as_str().unwrap().to_owned();
    let file = get(&gin.tcp(), &url).unwrap();
    assert_eq!(file.status, 200);
    assert!(file.body == contents.as_bytes(), "{} bytes of {}", file.body.len(), contents.len());
    assert_eq!(gin.get("/files").json()["total"], 1);
    gin.ends_sound();
}
