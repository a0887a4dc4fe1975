//! A file as it is sent: plain or in a coding, from memory or from the disk, as a whole or in parts.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::Asking;
use super::cache::{Stamp, Whole};
use super::conditional::{self, Validators, Verdict};
use super::encoding::Coding;
use super::range::{self, Asked};
use crate::Connection;

/// Read at once of a large file.
const CHUNK: u64 = 256 * 1024;

/// What is sent: a file, in a coding or plain.
pub(super) struct Representation {
    pub(super) stamp: Stamp,
    pub(super) coding: Option<Coding>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Memory(Arc<Whole>),
    Disk(Arc<File>, Stamp),
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Memory(whole) => whole.bytes.len() as u64,
            Self::Disk(_, stamp) => stamp.length,
        }
    }

    /// A strong validator (RFC 9110, section 8.8.3): other bytes have another one, and so has each coding.
    fn etag(&self, coding: Option<Coding>) -> String {
        let tag = match self {
            Self::Memory(whole) => whole.tag(),
            Self::Disk(_, stamp) => stamp.tag(),
        };
        let coding = coding.map(|coding| format!("-{}", coding.name())).unwrap_or_default();
        format!("\"{tag}{coding}\"")
    }

    fn part(&self, part: Range<u64>, extensions: &Extensions) -> Body {
        match self {
            Self::Memory(whole) => {
                let bytes = &whole.bytes;
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Body::from(bytes.slice(place(part.start)..place(part.end)))
            }
            Self::Disk(file, _) => Body::from_stream(read_on(Arc::clone(file), part, extensions.get().cloned())),
        }
    }
}

/// A large file, piece by piece; the connection is cut if it has become shorter.
fn read_on(
    file: Arc<File>,
    part: Range<u64>,
    connection: Option<Connection>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    futures_util::stream::try_unfold(part, move |part| {
        let file = Arc::clone(&file);
        let chunk = connection.as_ref().map_or(CHUNK, |connection| connection.read_ahead(CHUNK));
        async move {
            if part.is_empty() {
                return Ok(None);
            }
            let length = usize::try_from(chunk.min(part.end - part.start)).unwrap_or(0);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, part.start).map(|()| (Bytes::from(bytes), part.start))
            });
            let (bytes, start) = read.await.map_err(io::Error::other)??;
            let next = start + bytes.len() as u64..part.end;
            Ok(Some((bytes, next)))
        }
    })
}

/// The response with a file of this media type: all of it, parts of it, or word that the client has it.
pub(super) fn send(request: &Asking<'_>, chosen: &Representation, kind: &HeaderValue) -> Response {
    let Asking { method, headers, extensions, .. } = *request;
    let Representation { stamp, coding, content } = chosen;
    let validators = Validators { etag: content.etag(*coding), modified: stamp.modified() };
    let length = content.length();
    let verdict = conditional::judge(method, headers, &validators);
    let asked = match verdict {
        Verdict::Answer { ranges: true } => {
            let value = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
            value.map_or(Asked::All, |value| range::parse(value, length))
        }
        Verdict::Answer { ranges: false } | Verdict::NotModified | Verdict::Failed => Asked::All,
    };
    // With room for what stands around it.
    let mut own = HeaderMap::with_capacity(20);
    own.insert(header::ETAG, HeaderValue::try_from(validators.etag).expect("hexadecimal digits"));
    let modified = httpdate::fmt_http_date(validators.modified.clamp(SystemTime::UNIX_EPOCH, last()));
    own.insert(header::LAST_MODIFIED, HeaderValue::try_from(modified).expect("a date"));
    own.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = coding {
        own.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    let whole = |own: &mut HeaderMap| {
        own.insert(header::CONTENT_TYPE, kind.clone());
        own.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    };
    let (status, body) = match (verdict, asked) {
        (Verdict::NotModified, _) => {
            own.remove(header::CONTENT_ENCODING);
            (StatusCode::NOT_MODIFIED, Body::empty())
        }
        (Verdict::Failed, _) => (StatusCode::PRECONDITION_FAILED, Body::empty()),
        (_, Asked::Nothing) => {
            own.insert(header::CONTENT_RANGE, header_of(&format!("bytes */{length}")));
            (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty())
        }
        (_, Asked::All) => {
            whole(&mut own);
            let body = if method == Method::HEAD { Body::empty() } else { content.part(0..length, extensions) };
            (StatusCode::OK, body)
        }
        (_, Asked::Parts(parts)) if parts.len() == 1 => {
            let part = parts[0].clone();
            own.insert(header::CONTENT_TYPE, kind.clone());
            own.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
            own.insert(header::CONTENT_RANGE, header_of(&format!("bytes {}-{}/{length}", part.start, part.end - 1)));
            (StatusCode::PARTIAL_CONTENT, content.part(part, extensions))
        }
        (_, Asked::Parts(parts)) => {
            let boundary = format!("gin-{:016x}", boundary(stamp, length));
            own.insert(header::CONTENT_TYPE, header_of(&format!("multipart/byteranges; boundary={boundary}")));
            (StatusCode::PARTIAL_CONTENT, several(content, &parts, kind, &boundary, extensions))
        }
    };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, own);
    response
}

fn header_of(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("plain ASCII")
}

/// One that stands in no file by chance.
fn boundary(stamp: &Stamp, length: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((stamp.length, length))
}

/// RFC 9110, section 14.6.
fn several(
    content: &Content,
    parts: &[Range<u64>],
    kind: &HeaderValue,
    boundary: &str,
    extensions: &Extensions,
) -> Body {
    use futures_util::StreamExt;
    let length = content.length();
    let kind = kind.to_str().unwrap_or_default();
    let mut pieces = Vec::new();
    for part in parts {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        let head = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
        pieces.push(Body::from(head));
        pieces.push(content.part(part.clone(), extensions));
    }
    pieces.push(Body::from(format!("\r\n--{boundary}--\r\n")));
    Body::from_stream(futures_util::stream::iter(pieces).flat_map(Body::into_data_stream))
}

/// The last time that is written with four digits of a year, or nearly: 9999-01-01.
pub(super) fn last() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_370_764_800)
}
