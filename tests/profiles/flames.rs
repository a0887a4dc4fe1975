//! A flame graph in Chromium, with the headers that it is sent with: `tests/fixtures/flames.py` is the reader. Pictures go to `flames` in
//! the directory of the tests' artefacts.

use std::path::Path;
use std::process::Command;

use harness::{Load, alone, fixture};
use serde_json::Value;

use super::site::{TOKEN, with_token};

/// Width of the whole picture's frames.
const WHOLE: f64 = 1180.0;

#[test]
fn a_browser_shows_a_flame_graph_whose_frames_are_clicked_on_and_searched() {
    let server = alone(&with_token());
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flames");
    std::fs::create_dir_all(&shots).unwrap();
    let load = Load::new().keep_alive(server.address(), 4);
    let url = format!("http://{}/debug/pprof/profile?seconds=2&flame", server.tcp());
    let mut reader = Command::new("/usr/bin/python3");
    reader.arg(fixture("flames.py")).args([&url, TOKEN]).arg(&shots).arg("gin_");
    let output = reader.output().unwrap();
    load.finish().assert_unhurt();
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{said}");
    let seen: Value = serde_json::from_str(&told).unwrap();
    println!("{seen}; pictures in {}", shots.display());
    let number = |name: &str| seen[name].as_f64().unwrap();
    assert!(number("frames") > 10.0, "{seen}");
    // A click shows the frame as wide as the picture, and back shows all of them.
    assert!(number("before") < WHOLE && (number("zoomed") - WHOLE).abs() < 1.0, "{seen}");
    assert!((number("back") - number("before")).abs() < 0.1, "{seen}");
    assert!(number("marked") > 0.0 && seen["told"].as_str().unwrap().contains('%'), "{seen}");
    assert_eq!(seen["errors"], serde_json::json!([]), "the page's own headers forbid none of its parts");
}
