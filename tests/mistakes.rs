//! Mistakes in handlers are told by the compiler in words that help: see `tests/fixtures/mistakes.rs`. The documents' mistakes are in
//! `seeds.rs`.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::docs::root;

const FILE: &str = "tests/fixtures/mistakes.rs";

/// Words that must be said of a line, by its number: behind its `//~`, separated by ` | `.
fn expected() -> BTreeMap<u64, Vec<String>> {
    let text = std::fs::read_to_string(root().join(FILE)).unwrap();
    let words = |(number, line): (u64, &str)| {
        let (_, words) = line.split_once("//~ ")?;
        Some((number, words.split(" | ").map(str::to_owned).collect()))
    };
    (1..).zip(text.lines()).filter_map(words).collect()
}

/// The compiler's errors in the file, by the line at which each points.
fn said() -> BTreeMap<u64, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace, so that its crates are those that are built already.
    let what = ["--workspace", "--features", "gin-tests/mistakes", "--bin", "mistakes"];
    let output = Command::new(cargo)
        .args(["check", "--quiet", "--locked", "--offline", "--message-format", "json"])
        .args(what)
        .current_dir(root())
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut said = BTreeMap::<u64, String>::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let error = &message["message"];
        if error["level"] != "error" {
            continue;
        }
        for span in error["spans"].as_array().into_iter().flatten() {
            let is_ours = span["file_name"].as_str().is_some_and(|file| file.ends_with(FILE));
            if let Some(line) = span["line_start"].as_u64().filter(|_| is_ours && span["is_primary"] == true) {
                said.entry(line).or_default().push_str(error["rendered"].as_str().unwrap_or_default());
            }
        }
    }
    assert!(!said.is_empty(), "the compiler says nothing: {}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn mistakes_in_handlers_are_told_in_words_that_help() {
    let (expected, said) = (expected(), said());
    assert!(expected.len() >= 10, "{expected:?}");
    let nothing = String::new();
    let mut complaints = Vec::new();
    for (line, words) in &expected {
        let text = said.get(line).unwrap_or(&nothing);
        let missing: Vec<_> = words.iter().filter(|words| !text.contains(words.as_str())).collect();
        if !missing.is_empty() {
            complaints.push(format!("{FILE}:{line}: {missing:?} is not in:\n{text}"));
        }
    }
    for (line, text) in said.iter().filter(|(line, _)| !expected.contains_key(line)) {
        complaints.push(format!("{FILE}:{line}: an error that nobody has marked:\n{text}"));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
