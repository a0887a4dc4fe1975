//! The requests of the documents and what they print, in both languages; and what the documents get wrong.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;

use gin_worker::serde_json::{Value, json};
use gin_worker::testing::{MultipartForm, TestResponse, TestServer};

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
const PROGRAM: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0";
/// The documents' limit.
const LARGE: usize = 10 << 20;

/// The service with a directory of its own.
struct App {
    server: TestServer,
    directory: tempfile::TempDir,
}

impl Deref for App {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl App {
    async fn upload(&self, name: &str, contents: impl Into<Vec<u8>>) -> TestResponse {
        self.post("/upload").multipart(&form("file", name, contents)).send().await
    }

    /// Names of the files that lie in the directory.
    fn stored(&self) -> BTreeSet<String> {
        let all = fs::read_dir(self.directory.path()).unwrap().flatten().map(|entry| entry.file_name());
        all.map(|name| name.into_string().unwrap()).filter(|name| !name.starts_with('.')).collect()
    }
}

async fn app_with(change: impl FnOnce(&mut Config)) -> App {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_owned();
    let config = Config::builder().set(|config| config.uploads.dir = Some(dir)).set(change).build();
    App { server: TestServer::start(server(&config)).await, directory }
}

async fn app() -> App {
    app_with(|_| {}).await
}

fn form(field: &str, name: &str, contents: impl Into<Vec<u8>>) -> MultipartForm {
    MultipartForm::new().file(field, name, "application/octet-stream", contents.into())
}

/// An error as a client reads it.
fn error(answer: &TestResponse) -> Value {
    answer.json()
}

#[tokio::test]
async fn a_file_is_stored_listed_and_downloaded() {
    let app = app().await;
    let empty = app.get("/files").send().await;
    empty.assert_status(200).assert_json(json!({ "data": [], "total": 0, "message": "获取文件列表成功" }));
    let answer = app.upload("report.txt", "hello").await;
    let text = answer.assert_status(200).text();
    let stored: Value = answer.json();
    let data = &stored["data"];
    let filename = data["filename"].as_str().unwrap();
    assert!(filename.starts_with("report_") && filename.ends_with(".txt"), "{stored}");
    assert_eq!(stored["message"], "文件上传成功");
    let told =
        json!({ "original_name": data["original_name"], "size": data["size"], "download_url": data["download_url"] });
    let url = format!("/download/{filename}");
    assert_eq!(told, json!({ "original_name": "report.txt", "size": 5, "download_url": url }));
    assert!(data["content_type"].as_str().is_some_and(|kind| kind.starts_with("text/plain")), "{stored}");
    assert!(data["upload_time"].as_str().is_some_and(|time| time.contains('T') && time.ends_with('Z')), "{stored}");
    // The order of the documents.
    let order = ["filename", "original_name", "size", "content_type", "upload_time", "download_url", "message"];
    let places: Vec<_> = order.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");

    let list: Value = app.get("/files").send().await.assert_status(200).json();
    assert_eq!((&list["total"], list["data"].as_array().unwrap().len()), (&json!(1), 1));
    let entry = &list["data"][0];
    assert_eq!((&entry["filename"], &entry["size"]), (&json!(filename), &json!(5)));
    assert_eq!(entry["download_url"], url.as_str());
    assert!(entry["modified"].as_str().is_some_and(|time| time.ends_with('Z')), "{list}");

    let file = app.get(&url).send().await;
    file.assert_status(200).assert_text("hello").assert_header("x-content-type-options", "nosniff");
    assert!(file.header("content-disposition").is_some_and(|header| header.starts_with("attachment;")));
    app.get(&url).header("range", "bytes=1-2").send().await.assert_status(206).assert_text("el");
    let none = app.get("/download/none.txt").send().await;
    assert_eq!(error(none.assert_status(404)), json!({ "error": "文件不存在" }));
}

#[tokio::test]
async fn a_file_that_is_not_taken_is_refused_in_both_languages() {
    let app = app().await;
    let kind = ["不支持的文件类型", "this type of file is not taken"];
    let large = ["文件大小超过限制（10MB）", "the file is larger than 10 MB"];
    for (name, contents, texts) in [
        ("setup.exe", b"hello".to_vec(), kind),
        ("a.txt.exe", b"hello".to_vec(), kind),
        ("none", b"hello".to_vec(), kind),
        ("photo.png", PROGRAM.to_vec(), kind),
        ("photo.png", b"<script>".to_vec(), kind),
        ("notes.txt", PNG.to_vec(), kind),
        ("long.txt", vec![b'a'; LARGE + 1], large),
    ] {
        for (language, text) in ["zh-CN,zh;q=0.9,en;q=0.8", "en-GB"].into_iter().zip(texts) {
            let sent = app.post("/upload").header("accept-language", language);
            let answer = sent.multipart(&form("file", name, contents.clone())).send().await;
            assert_eq!(error(answer.assert_status(400)), json!({ "error": text }), "{name}");
        }
    }
    assert_eq!(app.stored(), BTreeSet::new());
    app.upload("long.txt", vec![b'a'; LARGE]).await.assert_status(200);
    app.upload("photo.PNG", PNG).await.assert_status(200);
}

#[tokio::test]
async fn another_limit_is_told_as_it_is() {
    for (limit, zh, en) in [(2 << 20, "2MB", "2 MB"), (1536, "1536B", "1536 B"), (3 << 10, "3KB", "3 KB")] {
        let app = app_with(|config| config.uploads.file = limit).await;
        let contents = vec![b'a'; usize::try_from(limit).unwrap() + 1];
        for (language, text) in
            [("zh", format!("文件大小超过限制（{zh}）")), ("en", format!("the file is larger than {en}"))]
        {
            let sent = app.post("/upload").header("accept-language", language);
            let answer = sent.multipart(&form("file", "long.txt", contents.clone())).send().await;
            assert_eq!(error(answer.assert_status(400)), json!({ "error": text }));
        }
    }
    let app = app_with(|config| config.uploads.allow = vec!["md".to_owned()]).await;
    app.get("/rules").send().await.assert_status(200).assert_json(json!({ "file": LARGE, "allow": ["md"] }));
}

#[tokio::test]
async fn a_picture_that_is_a_page_too_runs_in_no_browser() {
    let app = app().await;
    let both = b"GIF89a/*\x01\0\x01\0*/=1;<script>alert(1)</script>".to_vec();
    for name in ["both.html", "both.svg", "both.png", "both.txt"] {
        app.upload(name, both.clone()).await.assert_status(400);
    }
    let stored: Value = app.upload("both.gif", both.clone()).await.assert_status(200).json();
    assert_eq!(stored["data"]["content_type"], "image/gif");
    let file = app.get(stored["data"]["download_url"].as_str().unwrap()).send().await;
    file.assert_status(200).assert_header("content-type", "application/octet-stream");
    file.assert_header("x-content-type-options", "nosniff");
    file.assert_header("content-security-policy", "sandbox; default-src 'none'");
    assert!(file.header("content-disposition").is_some_and(|header| header.starts_with("attachment;")));
    assert!(file.body[..] == both[..], "it is given back as it came");
}

#[tokio::test]
async fn a_form_without_a_file_is_refused_with_the_reason() {
    let app = app().await;
    let part = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello";
    let form_of = |body: &'static str| app.post("/upload").typed("multipart/form-data; boundary=x", body);
    for (what, asked) in [
        ("another field", app.post("/upload").multipart(&form("other", "a.txt", "hello"))),
        ("no name", app.post("/upload").multipart(&form("file", "", ""))),
        ("text", app.post("/upload").multipart(&MultipartForm::new().text("file", "hello"))),
        ("JSON", app.post("/upload").json(json!({ "file": "a.txt" }))),
        ("nothing", app.post("/upload")),
        ("no end", form_of(part)),
        ("no boundary", app.post("/upload").typed("multipart/form-data", part)),
    ] {
        let answer = asked.header("accept-language", "zh").send().await;
        let refused = error(answer.assert_status(400));
        assert_eq!(refused["error"], "文件上传失败", "{what}");
        assert!(refused["details"].as_str().is_some_and(|details| !details.is_empty()), "{what}: {refused}");
    }
    let english = app.post("/upload").header("accept-language", "en").send().await;
    assert_eq!(error(english.assert_status(400))["error"], "the upload has failed");
    assert_eq!(app.stored(), BTreeSet::new());
}

#[tokio::test]
async fn of_several_files_those_that_are_taken_are_stored() {
    let app = app().await;
    let several = form("files", "a.txt", "a").file("files", "b.exe", "text/plain", "b");
    let several =
        several.file("files", "c.png", "image/png", PNG).file("files", "d.txt", "text/plain", vec![b'd'; LARGE + 1]);
    let answer: Value = app.post("/upload/multiple").multipart(&several).send().await.assert_status(200).json();
    assert_eq!((&answer["message"], &answer["data"]["total_count"]), (&json!("成功上传 2 个文件"), &json!(2)));
    let names: Vec<_> =
        answer["data"]["uploaded_files"].as_array().unwrap().iter().map(|file| &file["original_name"]).collect();
    assert_eq!(names, ["a.txt", "c.png"]);
    assert_eq!(answer["errors"], json!(["b.exe: 不支持的文件类型", "d.txt: 文件大小超过限制"]));
    assert_eq!(answer["error_count"], 2);
    let one = app
        .post("/upload/multiple")
        .header("accept-language", "en")
        .multipart(&form("files", "a.txt", "a"))
        .send()
        .await;
    let one: Value = one.assert_status(200).json();
    assert!(one.get("errors").is_none() && one.get("error_count").is_none(), "{one}");
    assert!(one["message"].as_str().is_some_and(|message| message.starts_with("1 file")), "{one}");
    assert_eq!(app.stored().len(), 3, "a name that was there is no hindrance");
}

#[tokio::test]
async fn several_files_need_a_form_with_at_least_one() {
    let app = app().await;
    for (asked, text) in [
        (app.post("/upload/multiple").multipart(&form("other", "a.txt", "a")), "没有选择文件"),
        (app.post("/upload/multiple").multipart(&form("files", "", "")), "没有选择文件"),
        (app.post("/upload/multiple").json(json!({})), "解析表单失败"),
    ] {
        assert_eq!(error(asked.send().await.assert_status(400)), json!({ "error": text }));
    }
    // It ends in the middle: its client will send all of it again.
    let head = "Content-Disposition: form-data; name=\"files\"; filename=";
    let cut = format!("--x\r\n{head}\"a.txt\"\r\n\r\nhello\r\n--x\r\n{head}\"b.txt\"\r\n\r\nhel");
    let answer = app.post("/upload/multiple").typed("multipart/form-data; boundary=x", cut).send().await;
    assert_eq!(error(answer.assert_status(400)), json!({ "error": "解析表单失败" }));
    assert_eq!(app.stored(), BTreeSet::new());
}

#[tokio::test]
async fn no_name_leads_out_of_the_directory() {
    let app = app().await;
    for name in ["../../x.txt", r"..\..\x.txt", "/etc/x.txt", "x\u{202e}gnp.txt", "报告.txt"] {
        let stored: Value = app.upload(name, "hello").await.assert_status(200).json();
        let filename = stored["data"]["filename"].as_str().unwrap();
        assert!(!filename.contains(['/', '\\', '\u{202e}']) && !filename.starts_with('.'), "{filename}");
        let url = stored["data"]["download_url"].as_str().unwrap();
        assert!(url.is_ascii(), "{url}");
        app.get(url).send().await.assert_status(200).assert_text("hello");
    }
    assert_eq!(app.stored().len(), 5);
    for path in ["/download/..%2f..%2fetc%2fpasswd", "/download/.lock", "/download/%2e%2e", "/download/%00"] {
        app.get(path).send().await.assert_status(404);
    }
}

#[tokio::test]
async fn a_full_quota_is_told_and_leaves_nothing() {
    let app = app_with(|config| config.uploads.quota = 8191).await;
    app.upload("a.txt", "hello").await.assert_status(200);
    let full = app.upload("b.txt", "hello").await;
    assert_eq!(error(full.assert_status(507)), json!({ "error": "存储空间不足", "code": "NO_SPACE" }));
    let several = app.post("/upload/multiple").multipart(&form("files", "c.txt", "hello")).send().await;
    let several: Value = several.assert_status(200).json();
    assert_eq!(several["errors"], json!(["c.txt: 存储空间不足"]));
    assert_eq!(app.stored().len(), 1);
}

#[tokio::test]
async fn the_page_is_whole_and_runs_only_its_own_scripts() {
    let app = app().await;
    let page = app.get("/").send().await;
    let policy = page.assert_status(200).assert_header("content-type", page::HTML).header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'self'")));
    let scripts = ["/app.js", "/ask.js", "/files.js", "/language.js"];
    for path in scripts.into_iter().chain(["/style.css", "/icon.svg"]) {
        app.get(path).send().await.assert_status(200).assert_header("cache-control", "no-cache");
    }
    let texts = texts_of(&app, &scripts).await;
    // Each script that another one names is served.
    for part in texts.split("from '").skip(1) {
        let path = part.split('\'').next().unwrap();
        assert!(scripts.contains(&path), "{path}");
    }
}

/// The texts of these paths.
async fn texts_of(app: &App, paths: &[&str]) -> String {
    let mut all = String::new();
    for path in paths {
        all.push_str(&app.get(path).send().await.text());
    }
    all
}

#[tokio::test]
async fn uploads_can_be_resumed_if_the_configuration_says_so() {
    let options =
        |app: &App| app.request(gin_worker::axum::http::Method::OPTIONS, "/tus").header("tus-resumable", "1.0.0");
    let off = app().await;
    options(&off).send().await.assert_status(404);
    let on = app_with(|config| config.uploads.resumable = true).await;
    options(&on).send().await.assert_status(204).assert_header("tus-version", "1.0.0");
}
