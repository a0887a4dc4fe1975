//! Public types of gin-worker that will get new keys or variants are `#[non_exhaustive]`: a new one breaks no application.

use syn::{Attribute, Fields, Item, Visibility};

use crate::docs::{root, rust_files};

/// Where such types are.
const FILES: [&str; 5] = [
    "worker/src/config.rs",
    "worker/src/error.rs",
    "worker/src/graceful.rs",
    "worker/src/testing/outcome.rs",
    "worker/src/websocket/message.rs",
];

/// Types that stay as they are: a WebSocket's message is text or bytes (RFC 6455, section 5.6).
const CLOSED: [&str; 1] = ["Message"];

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// True for a struct that others could write down, field by field.
fn is_bare(fields: &Fields) -> bool {
    fields.iter().next().is_some() && fields.iter().all(|field| is_public(&field.vis))
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
            Item::Enum(item) if is_public(&item.vis) => (item.ident, item.attrs),
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
    let files = FILES.iter().map(|file| (*file).to_owned()).chain(rust_files("worker/src/config"));
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
                pub(crate) struct G { pub x: u8 }";
    assert_eq!(closed(text), (vec!["A".to_owned(), "D".to_owned()], 2));
}
