//! A worker that is killed at each step of an upload, and a disk that is full: no part of a file is ever listed, and its space comes back.

use std::path::Path;
use std::process::Command;

use harness::{Client, Failure, Response, Supervisor, eventually};
use rustix::fs::statvfs;
use serde_json::Value;

use crate::programs::site::site;

/// Steps of an upload, and the number of files that a death there leaves.
const STEPS: [(&str, usize); 5] =
    [("upload.open", 0), ("upload.write", 0), ("upload.sync", 0), ("upload.link", 0), ("upload.linked", 1)];
/// Steps of a resumable upload.
const RESUMED: [&str; 5] = ["tus.write", "tus.link", "upload.link", "upload.linked", "tus.linked"];

/// A file system of 8 MiB for the files. It is dropped before the supervisor's directory, in which it lies.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"]).arg(path).status();
        assert!(mounted.is_ok_and(|status| status.success()), "needs root");
        Self(path.to_owned())
    }

    fn used(&self) -> u64 {
        let all = statvfs(&self.0).unwrap();
        (all.f_blocks - all.f_bfree) * all.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The program `upload`, whose worker can be given orders.
struct Site {
    disk: Disk,
    gin: Supervisor,
}

impl Site {
    fn start() -> Self {
        let builder = site("upload", 1, &[]);
        let (dir, faults) = (builder.dir().join("disk"), builder.dir().join("worker-faults"));
        let disk = Disk::mount(&dir);
        let uploads = format!("[uploads]\ndir = {dir:?}\nresumable = true\n");
        let builder =
            builder.section(&uploads).replace("env = {", &format!("env = {{ GIN_WORKER_FAULTS = {faults:?},"));
        let gin = builder.start();
        let site = Self { disk, gin };
        // The lock is a file, too.
        site.sent("first.txt", "first").unwrap();
        for file in site.listed() {
            std::fs::remove_file(site.disk.0.join(file["filename"].as_str().unwrap())).unwrap();
        }
        site
    }

    fn ask(&self, head: &str, body: &[u8]) -> Result<Response, Failure> {
        let length = body.len();
        let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let mut client = Client::asking(&self.gin.tcp(), &head)?;
        client.send(body)?;
        client.response()
    }

    fn sent(&self, name: &str, contents: &str) -> Result<Response, Failure> {
        let part = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        let body = format!("--b\r\n{part}\r\n\r\n{contents}\r\n--b--\r\n");
        self.ask("POST /upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n", body.as_bytes())
    }

    fn listed(&self) -> Vec<Value> {
        self.gin.get("/files").json()["data"].as_array().unwrap().clone()
    }

    /// Orders the worker's death at this step, has `f` lead there, and waits for the next worker.
    fn dies_at(&self, step: &str, f: impl FnOnce() -> Result<Response, Failure>) {
        let before = self.gin.workers();
        self.gin.order_workers(&format!("{step} kill 0 once"));
        let answer = f();
        assert!(answer.is_err(), "{step}: it has not died: {answer:?}");
        self.gin.order_workers("");
        // The status has no event for another client.
        let others = |now: &Vec<i32>| !now.is_empty() && *now != before;
        eventually("the next worker serves", || self.gin.workers(), others);
    }

    fn tus(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Response, Failure> {
        self.ask(&format!("{method} {path} HTTP/1.1\r\nTus-Resumable: 1.0.0\r\n{headers}"), body)
    }

    /// Sends the rest of a resumable upload.
    fn goes_on(&self, path: &str, contents: &str) -> Result<Response, Failure> {
        let mut client = Client::asking(
            &self.gin.tcp(),
            &format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\r\n"),
        )?;
        let offset: usize = client.head()?.headers["upload-offset"].parse().unwrap();
        let headers = format!("Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n");
        self.tus("PATCH", path, &headers, &contents.as_bytes()[offset..])
    }
}

/// A text of 300 KB: more than a block.
fn text() -> String {
    "0123456789".repeat(30_000)
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn a_death_at_any_step_of_an_upload_leaves_nothing_or_the_whole_file() {
    for (step, files) in STEPS {
        let site = Site::start();
        let before = site.disk.used();
        site.dies_at(step, || site.sent("a.txt", &text()));
        let listed = site.listed();
        assert_eq!(listed.len(), files, "{step}: {listed:?}");
        for file in &listed {
            let path = site.disk.0.join(file["filename"].as_str().unwrap());
            assert!(std::fs::read_to_string(path).unwrap() == text(), "{step}: it is not whole");
        }
        if files == 0 {
            assert_eq!(site.disk.used(), before, "{step}: the space has not come back");
        }
        assert_eq!(site.sent("b.txt", &text()).unwrap().status, 200, "{step}");
        assert_eq!(site.listed().len(), files + 1, "{step}");
    }
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn a_step_of_an_upload_that_fails_is_told_and_leaves_nothing() {
    let site = Site::start();
    let before = site.disk.used();
    for (step, _) in STEPS {
        site.gin.order_workers(&format!("{step} ENOSPC"));
        let answer = site.sent("a.txt", &text()).unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (507, &Value::from("NO_SPACE")), "{step}");
        site.gin.order_workers("");
        assert!(site.listed().is_empty(), "{step}");
        assert_eq!(site.disk.used(), before, "{step}: the space has not come back");
    }
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn a_disk_that_is_full_is_told_and_its_space_comes_back() {
    let site = Site::start();
    let before = site.disk.used();
    // Less than `uploads.file`, and more than the disk has.
    let answer = site.sent("large.txt", &"x".repeat(9 << 20)).unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (507, &Value::from("NO_SPACE")));
    assert!(site.listed().is_empty());
    assert_eq!(site.disk.used(), before);
    assert_eq!(site.sent("small.txt", &text()).unwrap().status, 200);
    assert_eq!(site.listed().len(), 1);
}

#[test]
#[ignore = "needs the program: tests/run --services"]
fn a_death_at_any_step_of_a_resumable_upload_loses_nothing() {
    for step in RESUMED {
        let site = Site::start();
        let text = text();
        // a.txt
        let headers = format!("Upload-Length: {}\r\nUpload-Metadata: filename YS50eHQ=\r\n", text.len());
        let created = site.tus("POST", "/tus", &headers, b"").unwrap();
        assert_eq!(created.status, 201, "{step}");
        let path = created.headers["location"].clone();
        site.dies_at(step, || site.goes_on(&path, &text));
        // The sweep of the next worker may have finished it.
        for file in site.listed() {
            assert_eq!(file["size"], text.len(), "{step}: a part is listed");
        }
        assert_eq!(site.goes_on(&path, &text).unwrap().status, 204, "{step}");
        let listed = site.listed();
        assert_eq!(listed.len(), 1, "{step}: {listed:?}");
        let stored = site.disk.0.join(listed[0]["filename"].as_str().unwrap());
        assert!(std::fs::read_to_string(stored).unwrap() == text, "{step}: it is not whole");
    }
}
