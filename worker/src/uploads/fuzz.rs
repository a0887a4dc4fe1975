//! Ways for the fuzz target into private code.

use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use futures_util::stream;

use super::directory::Directory;
use super::names::Name;
use super::types::Check;
use super::{Form, Uploads};
use crate::config;

/// The uploads of this directory, by the default settings and 1 MiB a file.
///
/// # Panics
/// If there is no such directory.
#[must_use]
pub fn uploads(directory: &Path) -> Uploads {
    let uploads = Uploads::new(config::Uploads { file: 1 << 20, ..config::Uploads::default() });
    uploads.open(Directory::open(directory).expect("a directory"));
    uploads
}

/// A form of this boundary whose body comes in these pieces. `None`: it is none.
#[must_use]
pub fn form(uploads: &Uploads, boundary: &str, pieces: Vec<Bytes>) -> Option<Form> {
    let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}")).ok()?;
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    Form::new(uploads.clone(), &headers, Body::from_stream(pieces)).ok()
}

/// The name of a file that a client calls so.
#[must_use]
pub fn name(original: &str, number: u64) -> Option<String> {
    let name = Name::of(original, number, &config::Uploads::default().allow).ok()?;
    Some(name.as_str().to_owned())
}

/// True for a name that is downloaded and removed.
#[must_use]
pub fn is_name(text: &str) -> bool {
    Name::parse(text).is_some()
}

/// The media type of a file of this name, whose bytes come in pieces of `size`. `None`: it is refused.
#[must_use]
pub fn kind(name: &str, bytes: &[u8], size: usize) -> Option<&'static str> {
    let mut check = Check::new(&Name::parse(name)?);
    bytes.chunks(size.max(1)).try_for_each(|piece| check.block(piece)).ok()?;
    check.end().ok()
}
