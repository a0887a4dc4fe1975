//! Imports run one way in each crate, in the order that ARCHITECTURE.md draws, and its large rooms stay small.
//!
//! The order stands in one block for each crate, opened by three backticks, `layers` and the crate's directory. Each line
//! is a layer, the top one first, with the modules in it. A module imports modules of lower layers alone. A listed module
//! covers its children, unless a child is listed itself; what is within one listed module imports freely. `lib` and `main`
//! are the root files.
//!
//! `GIN_ARROWS=print cargo nextest run -p gin-tests -E 'test(arrows::)' --no-capture` prints the imports of each crate, and
//! an order that would fit.

mod item;
mod limits;
mod order;
mod picture;
mod source;

use order::blocks;
use source::Crate;

use crate::docs::{root, rust_files};

const PAGE: &str = "ARCHITECTURE.md";

/// Directory of each crate, and the name by which its library is imported.
const CRATES: [(&str, &str); 7] = [
    ("shared", "gin_shared"),
    ("shared/otlp", "gin_otlp"),
    ("supervisor", "gin_supervisor"),
    ("supervisor/ctl", "gin_ctl"),
    ("worker", "gin_worker"),
    ("worker/server", "gin_server"),
    ("tests/harness", "harness"),
];

fn on_disk(file: &str) -> Option<String> {
    std::fs::read_to_string(root().join(file)).ok()
}

fn page() -> String {
    on_disk(PAGE).expect("it is there")
}

/// The crate in `dir` imports as its block says.
fn follows(dir: &str) {
    let library = CRATES.iter().find(|(name, _)| *name == dir).expect("a crate").1;
    let krate = Crate::read(dir, library, &on_disk);
    if std::env::var("GIN_ARROWS").is_ok_and(|value| value == "print") {
        println!("{}", picture::draw(&krate));
    }
    let blocks = blocks(&page(), "layers");
    let block = blocks.iter().find(|block| block.about == dir);
    let block = block.unwrap_or_else(|| panic!("{PAGE} has no block ```layers {dir}"));
    let complaints = order::complaints(&krate, block, PAGE);
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn shared_imports_in_the_order_that_is_drawn() {
    follows("shared");
}

#[test]
fn gin_otlp_imports_in_the_order_that_is_drawn() {
    follows("shared/otlp");
}

#[test]
fn the_supervisor_imports_in_the_order_that_is_drawn() {
    follows("supervisor");
}

#[test]
fn gin_ctl_imports_in_the_order_that_is_drawn() {
    follows("supervisor/ctl");
}

#[test]
fn the_worker_imports_in_the_order_that_is_drawn() {
    follows("worker");
}

#[test]
fn gin_server_imports_in_the_order_that_is_drawn() {
    follows("worker/server");
}

#[test]
fn the_harness_imports_in_the_order_that_is_drawn() {
    follows("tests/harness");
}

#[test]
fn every_block_is_of_a_crate_and_every_crate_has_one_block_at_most() {
    let blocks = blocks(&page(), "layers");
    for block in &blocks {
        assert!(CRATES.iter().any(|(dir, _)| *dir == block.about), "no crate {:?}", block.about);
        assert_eq!(blocks.iter().filter(|other| other.about == block.about).count(), 1, "{}", block.about);
    }
}

#[test]
fn files_structs_and_functions_stay_within_their_limits() {
    let blocks = blocks(&page(), "limits");
    let directories: Vec<&str> = blocks.iter().flat_map(|block| &block.lines).map(|(_, line)| line.trim()).collect();
    assert!(!directories.is_empty(), "{PAGE} has no block ```limits with a directory in it");
    let mut complaints = Vec::new();
    for directory in directories {
        let files = files_of(directory);
        assert!(!files.is_empty(), "{PAGE} limits {directory}, and there is no Rust in it");
        files.iter().for_each(|file| complaints.extend(limits::complaints(file, &on_disk(file).unwrap())));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// All Rust files below a directory, and the file beside it that has its name: the two are one module.
fn files_of(directory: &str) -> Vec<String> {
    let beside = format!("{directory}.rs");
    Some(beside).into_iter().filter(|file| root().join(file).exists()).chain(rust_files(directory)).collect()
}

/// The complaints about a crate of these files, under these layers.
fn complain(files: &[(&str, &str)], layers: &str) -> Vec<String> {
    let read =
        |path: &str| files.iter().find(|(name, _)| format!("x/src/{name}") == path).map(|(_, text)| (*text).to_owned());
    let krate = Crate::read("x", "x", &read);
    let page = format!("# Page\n\n```layers x\n{layers}\n```\n");
    order::complaints(&krate, &blocks(&page, "layers")[0], "PAGE")
}

/// Modules `high` and `low` with these texts; the layers are `lib`, `high`, `low`.
fn two(high: &str, low: &str) -> Vec<String> {
    complain(&[("lib.rs", "mod high;\nmod low;\n"), ("high.rs", high), ("low.rs", low)], "lib\nhigh\nlow")
}

const NONE: [&str; 0] = [];

#[test]
fn an_arrow_down_is_allowed_and_one_up_is_told_with_its_place() {
    assert_eq!(two("use crate::low::Low;\npub struct High(Low);", "pub struct Low;"), NONE);
    let up = two("pub struct High;", "\nuse crate::high::High;\npub struct Low(High);");
    assert_eq!(up, ["x/src/low.rs:2: low imports high (crate::high::High); PAGE:6 forbids it: low stands below high"]);
}

#[test]
fn modules_of_one_layer_import_nothing_from_one_another() {
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", "use super::b::B;"), ("b.rs", "pub struct B;")];
    let beside = complain(&files, "lib\na b");
    assert_eq!(beside, ["x/src/a.rs:1: a imports b (super::b::B); PAGE:5 forbids it: a stands beside b"]);
}

#[test]
fn paths_in_code_in_macros_and_in_attributes_are_found() {
    for low in [
        "fn f() { crate::high::run() }",
        "fn f(x: Option<super::high::High>) {}",
        "fn f() { println!(\"{}\", crate::high::run()) }",
        "#[arg(parser = crate::high::run)] struct Low;",
        "macro_rules! m { () => { $crate::high::run() } }",
        "impl crate::high::Trait for u8 {}",
        "use crate::high; fn f() { high::run() }",
        "mod inner { fn f() { super::super::high::run() } }",
    ] {
        assert!(!two("pub fn run() {} pub struct High; pub trait Trait {}", low).is_empty(), "{low}");
    }
}

#[test]
fn words_that_look_like_imports_are_none() {
    for low in [
        "fn f() { let high = 1; high.pow(2); }",
        "fn f() { ::high::run() } use ::high::x;",
        "pub(in crate::high) struct Low;",
        "/// Like `crate::high::run`.\nfn f() { \"crate::high::run()\"; }",
        "use std::high::run; fn f() { std::high::run(); other::high::run() }",
    ] {
        assert_eq!(two("pub fn run() {}", low), NONE, "{low}");
    }
}

#[test]
fn groups_nest_and_each_leaf_is_an_arrow() {
    let low = "use crate::{low::{self}, high::{self, deep::{Deep as D, Other}}};";
    let files = [
        ("lib.rs", "mod high;\nmod low;\n"),
        ("high.rs", "pub mod deep;"),
        ("high/deep.rs", "pub struct Deep; pub struct Other;"),
        ("low.rs", low),
    ];
    let all = complain(&files, "lib\nhigh\nlow");
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(all.iter().any(|text| text.contains("low imports high::deep (crate::high::deep::Deep)")), "{all:#?}");
}

#[test]
fn super_super_leads_to_the_grandparent() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "mod inner;"),
        ("a/inner.rs", "mod deep;"),
        ("a/inner/deep.rs", "use super::super::super::b::B; use super::super::Own;"),
        ("b.rs", "pub struct B;"),
    ];
    let up = "x/src/a/inner/deep.rs:1: a::inner::deep imports b (super::super::super::b::B); PAGE:6 forbids it: a stands below b";
    assert_eq!(complain(&files, "lib\nb\na"), [up]);
}

#[test]
fn code_for_tests_does_not_count() {
    let high = "pub struct High;";
    for low in [
        "#[cfg(test)] mod tests { use crate::high::High; }",
        "#[cfg(test)] use crate::high::High;",
        "#[cfg(test)] mod tests;",
        "#[cfg(all(test, unix))] fn f(_: crate::high::High) {}",
        "struct Low; impl Low { #[cfg(test)] fn f(_: crate::high::High) {} }",
        "#[test] fn f() { crate::high::run() }",
    ] {
        assert_eq!(two(high, low), NONE, "{low}");
    }
    for low in ["#[cfg(not(test))] use crate::high::High;", "#[cfg(any(test, unix))] use crate::high::High;"] {
        assert_eq!(two(high, low).len(), 1, "{low}");
    }
}

#[test]
fn what_a_module_exports_again_is_of_the_module_that_it_comes_from() {
    let root = "mod high;\nmod low;\npub use high::High;\npub use low::*;\nmod mid;";
    let files = |mid: &'static str| {
        [("lib.rs", root), ("high.rs", "pub struct High;"), ("mid.rs", mid), ("low.rs", "pub struct Low;")]
    };
    let layers = "lib\nhigh\nmid\nlow";
    assert_eq!(complain(&files("use crate::Low;"), layers), NONE);
    let up = complain(&files("use crate::High;"), layers);
    assert_eq!(up, ["x/src/mid.rs:1: mid imports high (crate::High); PAGE:6 forbids it: mid stands below high"]);
    // The file that exports it again imports it.
    assert_eq!(complain(&files(""), "high\nlib\nmid low").len(), 1);
    // Nothing of this crate is imported where the name comes from another one.
    let other = [("lib.rs", "mod a; pub use other::Other;"), ("a.rs", "use crate::Other;")];
    assert_eq!(complain(&other, "lib\na"), NONE);
    // What the root defines itself is the root's.
    let own = [("lib.rs", "mod a; pub struct Own;"), ("a.rs", "use crate::Own;")];
    assert_eq!(complain(&own, "lib\na").len(), 1);
}

#[test]
fn a_program_imports_its_library() {
    let files = [("lib.rs", "pub mod a;"), ("a.rs", "pub struct A;"), ("main.rs", "mod b; use x::a::A;"), ("b.rs", "")];
    assert_eq!(complain(&files, "main\nb\nlib\na"), NONE);
    assert_eq!(complain(&files, "a\nmain\nb\nlib").len(), 1);
}

#[test]
fn a_child_that_is_listed_stands_for_itself() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "mod leaf;\nuse crate::b::B;"),
        ("a/leaf.rs", ""),
        ("b.rs", "use crate::a::leaf;"),
    ];
    assert_eq!(complain(&files, "lib\na\nb\na::leaf"), NONE);
    assert_eq!(complain(&files, "lib\na\nb").len(), 1);
}

#[test]
fn modules_and_layers_match_one_another() {
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", ""), ("b.rs", "")];
    assert_eq!(
        complain(&files, "lib\na\na\nc"),
        ["PAGE:6: a stands twice", "PAGE:7: x has no module c", "PAGE: the block of x has no layer for b",]
    );
}

#[test]
fn what_is_too_large_is_told() {
    let fields: String = (0..13).map(|n| format!("f{n}: u8, ")).collect();
    let arguments = "a: u8, b: u8, c: u8, d: u8, e: u8, f: u8";
    let text = format!(
        "struct Large {{ {fields} }}\nimpl Large {{ fn fits(&self, {arguments}) {{}} }}\nfn wide({arguments}, g: u8) {{}}"
    );
    assert_eq!(
        limits::complaints("a.rs", &text),
        ["a.rs:1: Large has 13 fields, and 12 are allowed", "a.rs:3: wide has 7 arguments, and 6 are allowed",]
    );
    assert_eq!(limits::complaints("a.rs", &"\n".repeat(401)), ["a.rs: 401 lines, and 400 are allowed"]);
    assert_eq!(limits::complaints("a.rs", &"\n".repeat(400)), NONE);
}
