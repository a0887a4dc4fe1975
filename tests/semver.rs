//! Public types of gin-worker that will get new keys or variants are `#[non_exhaustive]`: a new one breaks no application. What of other
//! crates is part of its API is told by its documentation, with the version.

use syn::{Attribute, Fields, Item, Visibility};

use crate::docs::{root, rust_files};

/// Where such types are.
const FILES: [&str; 4] =
    ["worker/src/config.rs", "worker/src/error.rs", "worker/src/graceful.rs", "worker/src/websocket/message.rs"];
/// The same, with all files below them.
const DIRECTORIES: [&str; 3] = ["worker/src/api", "worker/src/config", "worker/src/testing"];

/// Types that stay as they are: a WebSocket's message is text or bytes (RFC 6455, section 5.6).
const CLOSED: [&str; 1] = ["Message"];

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// True for a struct that others could write down, field by field. One without names (`Created(..)`) is what it wraps, and nothing more.
fn is_bare(fields: &Fields) -> bool {
    matches!(fields, Fields::Named(named) if !named.named.is_empty() && named.named.iter().all(|field| is_public(&field.vis)))
}

fn is_open(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"))
}

/// Public types of a file that cannot grow, and the number of those that can.
fn closed(text: &str) -> (Vec<String>, usize) {
    let (mut closed, mut open) = (Vec::new(), 0);
    for item in syn::parse_file(text).expect("it compiles").items {
        let (name, attributes) = match item {
            Item::Struct(item) if is_public(&item.vis) && is_bare(&item.fields) => (item.ident, item.attrs),
            Item::Enum(item) if is_public(&item.vis) => {
                // A variant with named fields gets new ones, too.
                let named = item.variants.iter().filter(|variant| matches!(variant.fields, Fields::Named(_)));
                let stiff = named.filter(|variant| !is_open(&variant.attrs));
                closed.extend(stiff.map(|variant| format!("{}::{}", item.ident, variant.ident)));
                (item.ident, item.attrs)
            }
            _ => continue,
        };
        if is_open(&attributes) {
            open += 1;
        } else if CLOSED.iter().all(|closed| name != *closed) {
            closed.push(name.to_string());
        }
    }
    (closed, open)
}

#[test]
fn what_will_grow_breaks_nobody() {
    let below = DIRECTORIES.iter().flat_map(|directory| rust_files(directory));
    let files = FILES.iter().map(|file| (*file).to_owned()).chain(below);
    let mut sum = 0;
    for file in files {
        let (closed, open) = closed(&std::fs::read_to_string(root().join(&file)).unwrap());
        assert!(closed.is_empty(), "{file}: {closed:?} need #[non_exhaustive]");
        sum += open;
    }
    assert!(sum > 20, "{sum} types");
}

#[test]
fn a_type_that_cannot_grow_is_found() {
    let text = "pub struct A { pub x: u8 } #[non_exhaustive] pub struct B { pub x: u8 } pub struct C { pub x: u8, y: u8 }\n\
                pub enum D { X } #[derive(Debug)] #[non_exhaustive] pub enum E { X } pub enum Message { Text } enum F { X }\n\
                pub(crate) struct G { pub x: u8 } pub struct H(pub u8);\n\
                #[non_exhaustive] pub enum I { X { y: u8 }, #[non_exhaustive] Y { y: u8 }, Z(u8) }";
    assert_eq!(closed(text), (["A", "D", "I::X"].map(str::to_owned).to_vec(), 3));
}

/// A version in the workspace's manifest: that of a crate, or of Rust.
fn version_of(name: &str) -> String {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
    line.split('"').find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap().to_owned()
}

#[test]
fn the_documentation_tells_the_versions_that_an_application_needs() {
    let page = std::fs::read_to_string(root().join("worker/src/lib.rs")).unwrap();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (axum, garde, rust) = (version_of("axum"), version_of("garde"), version_of("rust-version"));
    for words in [format!("axum {axum}"), format!("garde {garde}"), format!("Rust {rust}")] {
        assert!(page.contains(&words), "worker/src/lib.rs: {words}");
    }
    // Their macros name them by their paths.
    for dependency in [format!("`garde = \"{garde}\"`"), format!("`axum = \"{axum}\"`")] {
        assert!(page.contains(&dependency) && readme.contains(&dependency), "{dependency}");
    }
    assert!(readme.contains(&format!("Rust {rust}")), "README.md: Rust {rust}");
}
