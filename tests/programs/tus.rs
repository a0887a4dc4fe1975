//! Uploads that the official client of tus resumes: the worker that has its bytes drains, or is killed, and the client goes on at another
//! one.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use harness::{Address, Supervisor, fixture};

use crate::programs::site::site;

const MB: u64 = 1_000_000;
/// Bytes of the file.
const SIZE: u64 = 200 * MB;
/// The client stops there, and a restart begins.
const RESTARTS: [u64; 3] = [40 * MB, 80 * MB, 120 * MB];
/// The client stops there, and its worker is killed.
const KILL: u64 = 160 * MB;

/// The official client, while it uploads a file.
struct Client {
    node: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(address: &Address, file: &Path, marks: &[u64]) -> Self {
        let Address::Tcp(address) = address else { panic!("it listens on TCP") };
        assert!(std::env::var_os("GIN_TUS").is_some(), "tests/run --services installs the client, and sets GIN_TUS");
        let mut node = Command::new("/usr/bin/node")
            .arg(fixture("tus/upload.js"))
            .arg(format!("http://{address}/tus"))
            .arg(file)
            .args(marks.iter().map(ToString::to_string))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(node.stdout.take().unwrap()).lines();
        Self { node, lines }
    }

    /// The rest of its next line, which begins with this word.
    fn next(&mut self, word: &str) -> String {
        let line = self.lines.next().unwrap_or_else(|| panic!("{:?} and not {word:?}", self.node.wait())).unwrap();
        let rest = line.strip_prefix(word).and_then(|rest| rest.strip_prefix(' '));
        rest.unwrap_or_else(|| panic!("{line:?} and not {word:?}")).to_owned()
    }

    fn offset(&mut self, word: &str) -> u64 {
        self.next(word).parse().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// Writes a file of text. Each of its megabytes begins with another number: none can be in another's place.
fn write_text(path: &Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let filler = "0123456789 abcdefgh\n".repeat(MB as usize / 20 - 1);
    for number in 0..SIZE / MB {
        write!(file, "{number:019}\n{filler}").unwrap();
    }
    file.into_inner().unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().len(), SIZE);
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg("--").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// The worker that has the upload open.
fn writer(gin: &Supervisor) -> i32 {
    let has_it = |pid: &i32| {
        let Ok(all) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut paths = all.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        paths
            .any(|path| path.parent().is_some_and(|directory| directory.file_name().is_some_and(|name| name == ".tus")))
    };
    let workers = gin.workers();
    workers.iter().copied().find(has_it).unwrap_or_else(|| panic!("none of {workers:?} has it: {}", gin.log()))
}

/// Names in a directory that do not begin with a dot.
fn listed(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
#[ignore = "needs node and npm: tests/run --services"]
fn two_hundred_megabytes_survive_three_restarts_and_a_kill() {
    let site = site("upload", 2, &[]);
    let (files, source) = (site.dir().join("files"), site.dir().join("book.txt"));
    std::fs::create_dir(&files).unwrap();
    write_text(&source);
    let gin = site.section(&format!("[uploads]\nresumable = true\ndir = {files:?}")).start();

    let marks = [&RESTARTS[..], &[KILL]].concat();
    let mut client = Client::start(&gin.tcp(), &source, &marks);
    let mut expected = 0;
    for mark in RESTARTS {
        // What the worker before had taken is not sent again.
        assert_eq!(client.offset("from"), expected, "{}", gin.log());
        assert_eq!(client.offset("at"), mark);
        gin.restart();
        expected = mark;
    }
    assert_eq!(client.offset("from"), expected, "{}", gin.log());
    assert_eq!(client.offset("at"), KILL);
    assert!(listed(&files).is_empty(), "it is not listed before its end");
    gin.kill_worker(writer(&gin));
    // What was in the worker's memory, and in the kernel's buffers, is sent again.
    let after = client.offset("from");
    assert!((expected + 1..=KILL).contains(&after), "{after}");

    let name = client.next("done");
    assert_eq!(listed(&files), [name.as_str()]);
    assert_eq!(sha256(&files.join(&name)), sha256(&source));
    gin.ends_sound();
}
