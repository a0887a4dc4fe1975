//! Chromium on the pages of `upload` and `full`: `tests/fixtures/clicker.py` is the people. Pictures go to `programs` in the directory of
//! the tests' artefacts.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Address, Supervisor, fixture};
use serde_json::{Value, json};

use crate::programs::full;
use crate::programs::site::site;

/// The documents' limit of a file.
const LARGE: usize = 10 << 20;
/// A picture that takes more than a second at the clicker's speed.
const PICTURE: usize = 6 << 20;

/// Files to upload.
fn files() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let mut picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    picture.resize(PICTURE, 0);
    for (name, contents) in [
        ("notes.txt", b"hello".to_vec()),
        ("setup.exe", b"MZ".to_vec()),
        ("long.txt", vec![b'a'; LARGE + 1]),
        ("photo.png", picture),
    ] {
        fs::write(directory.path().join(name), contents).unwrap();
    }
    directory
}

fn shots(program: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs").join(program);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn clicker(program: &str, gin: &Supervisor, files: &Path) -> Child {
    let Address::Tcp(address) = gin.tcp() else { panic!("it listens on TCP") };
    Command::new("/usr/bin/python3")
        .arg(fixture("clicker.py"))
        .args([program, &format!("http://{address}/")])
        .arg(shots(program))
        .arg(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// All that it has still to say.
fn end(mut clicker: Child, mut told: impl Read) -> Value {
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert!(clicker.wait().unwrap().success(), "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The page told of each file in Chinese, showed how far the largest one was, and lists what was stored.
fn assert_uploaded(seen: &Value) {
    let told = json!({
        "notes.txt": "文件上传成功",
        "setup.exe": "不支持的文件类型",
        "long.txt": "文件大小超过限制（10MB）",
        "photo.png": "文件上传成功",
    });
    assert_eq!(seen["told"], told);
    let progress: Vec<f64> = seen["progress"].as_array().unwrap().iter().map(|part| part.as_f64().unwrap()).collect();
    assert!(progress.len() > 2 && progress.is_sorted() && progress.last() == Some(&1.0), "{progress:?}");
    let listed: Vec<&str> = seen["listed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    // The newest first.
    assert!(listed[0].starts_with("photo_") && listed[1].starts_with("notes_"), "{listed:?}");
}

#[test]
#[ignore = "needs the program and Chromium: tests/run --services"]
fn a_page_shows_the_progress_of_uploads_and_lists_the_files() {
    let (gin, files) = (site("upload", 2, &[]).start(), files());
    let mut clicker = clicker("upload", &gin, files.path());
    let told = clicker.stdout.take().unwrap();
    let seen = end(clicker, told);
    println!("pictures in {}", shots("upload").display());
    assert_uploaded(&seen);
    assert_eq!(seen["english"], json!(["Upload", "Files"]));
    gin.ends_sound();
}

#[test]
#[ignore = "needs the program and Chromium: tests/run --services"]
fn people_log_in_upload_and_talk_over_two_workers_through_restarts() {
    let (gin, files) = (site("full", 2, &[full::SECTIONS]).start(), files());
    let mut clicker = clicker("full", &gin, files.path());
    let mut told = BufReader::new(clicker.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n", "{}", gin.log());
    for _ in 0..3 {
        gin.restart();
    }
    clicker.stdin.take().unwrap().write_all(b"enough\n").unwrap();
    let seen = end(clicker, told);
    println!("pictures in {}", shots("full").display());
    assert_eq!(seen["wrong"], "用户名或密码错误");
    assert_eq!(seen["who"], json!(["admin (1)", "user2 (2)"]));
    assert_eq!(seen["admin"][0].as_array().unwrap().len(), 8, "{}", seen["admin"]);
    assert_eq!(seen["user2"], json!([[], "you may not do that"]));
    assert_uploaded(&seen["upload"]);
    assert_talked(&seen);
    assert_refused(&seen["foreign"]);
    gin.ends_sound();
}

/// The page that stayed open has heard everything once, over one connection that several workers have served.
fn assert_talked(seen: &Value) {
    assert_ne!(seen["workers"][0], seen["workers"][1], "two workers serve the two pages");
    let chat = &seen["chat"];
    assert_eq!(chat["sockets"], 1, "it had to connect again: {chat}");
    let served = chat["served"].as_array().unwrap();
    assert!(served.len() > 2, "more than one restart: {served:?}");
    let texts = |all: &Value| {
        let mut all: Vec<String> =
            all.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(texts(&chat["said"]), texts(&seen["said"]), "nothing is lost, doubled or from elsewhere");
}

/// A page of another port could do nothing, though the browser has sent the cookie of the session with its forms.
fn assert_refused(foreign: &Value) {
    for form in ["urlencoded", "multipart", "plain", "query"] {
        assert_eq!(foreign[form]["code"], "CSRF", "{form}: {foreign}");
    }
    // Of these a page learns nothing; nobody was logged out, and nothing was said.
    assert_eq!((&foreign["text"], &foreign["logout"]), (&json!("opaque"), &json!("opaque")));
    assert_eq!((&foreign["json"], &foreign["websocket"]), (&json!("refused"), &json!("refused")));
}
