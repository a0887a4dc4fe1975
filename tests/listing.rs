//! A directory listing in a real browser.

use std::process::Command;

use harness::{Address, alone_in, fixture};
use serde_json::Value;

#[test]
fn a_person_finds_their_way_through_a_directory() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let files = dir.path().join("files");
    std::fs::create_dir_all(files.join("a folder/deeper")).unwrap();
    for (name, bytes) in
        [("b.txt", 2000), ("a <b>&\"c\".txt", 5), ("报告 100%.txt", 7), ("a folder/in it.txt", 9), (".secret", 1)]
    {
        std::fs::write(files.join(name), "x".repeat(bytes)).unwrap();
    }
    let sections = format!("[static]\ndir = {files:?}\nurl_prefix = \"/files\"\nenable_directory_listing = true\n");
    let server = alone_in(dir, &sections);
    let Address::Tcp(address) = server.address() else { panic!("TCP") };
    let shots = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("listing");
    std::fs::create_dir_all(&shots).unwrap();
    let output = Command::new("/usr/bin/python3")
        .arg(fixture("visitor.py"))
        .arg(format!("http://{address}/files/"))
        .arg(&shots)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("pictures in {}", shots.display());
    let names = |at: &str| seen[at].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        names("top"),
        ["a folder/", "a <b>&\"c\".txt", "b.txt", "报告 100%.txt"],
        "folders first, and nothing hidden"
    );
    assert_eq!(names("folder"), ["../", "deeper/", "in it.txt"]);
    assert_eq!(seen["read"], "x".repeat(7), "names of any kind lead to their files");
    assert_eq!(seen["odd"], "x".repeat(5));
    assert_eq!(seen["back"], seen["start"]);
    assert!(seen["errors"].as_array().unwrap().is_empty(), "{seen}");
}
