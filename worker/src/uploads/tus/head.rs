//! Headers of the protocol: what a request says by them, and what an answer does.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{Error, Result};

/// The version that is spoken.
pub(super) const VERSION: &str = "1.0.0";
/// The extensions that are spoken.
const EXTENSIONS: &str = "creation,creation-with-upload,termination,expiration";
/// `Content-Type` of bytes of an upload.
const BYTES: &str = "application/offset+octet-stream";
/// Longest `Upload-Metadata`, in bytes.
const METADATA_MAX: usize = 4096;

static TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
static TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
static TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
static TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
static UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
static UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
static UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
static UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
static UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
static UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
static METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
static FILENAME: HeaderName = HeaderName::from_static("x-filename");

/// Data of a request that is to begin an upload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Creation {
    /// Bytes of the file.
    pub(super) length: u64,
    /// The file's name, as the client has it.
    pub(super) original: String,
    /// `Upload-Metadata` as it came, for the answers to HEAD.
    pub(super) metadata: String,
}

impl Creation {
    /// # Errors
    /// 400 if the length or the name of the file is missing or cannot be read; 413 if the file is larger than `max`.
    pub(super) fn read(headers: &HeaderMap, max: u64) -> Result<Self> {
        for (name, why) in [
            (&UPLOAD_DEFER_LENGTH, "the length must be known from the start: send Upload-Length"),
            (&UPLOAD_CONCAT, "uploads are not joined here: send the file as one upload"),
        ] {
            if headers.contains_key(name) {
                return Err(malformed(why));
            }
        }
        let length = number(headers, &UPLOAD_LENGTH)?;
        if length > max {
            return Err(too_large(max));
        }
        let metadata = headers.get(&UPLOAD_METADATA).map_or(Ok(""), HeaderValue::to_str);
        let metadata = metadata.ok().filter(|metadata| metadata.len() <= METADATA_MAX);
        let metadata = metadata.ok_or_else(|| malformed("Upload-Metadata is too long, or no text"))?;
        let original = value(metadata, "filename").or_else(|| value(metadata, "name"));
        let original = original.ok_or_else(|| malformed("Upload-Metadata has no filename in Base64"))?;
        Ok(Self { length, original, metadata: metadata.to_owned() })
    }
}

/// True if the body is bytes of an upload.
pub(super) fn has_bytes(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(BYTES.as_bytes()))
}

/// The place at which the bytes of a request belong.
///
/// # Errors
/// 415 if the body is something else, 400 if the place cannot be read.
pub(super) fn offset(headers: &HeaderMap) -> Result<u64> {
    if !has_bytes(headers) {
        let error = Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body's Content-Type must be {BYTES}"));
        return Err(error.code("UPLOAD_MALFORMED"));
    }
    number(headers, &UPLOAD_OFFSET)
}

/// # Errors
/// 412 if the client speaks another version.
pub(super) fn check_version(headers: &HeaderMap) -> Result<()> {
    if headers.get(&TUS_RESUMABLE).is_some_and(|version| version.as_bytes() == VERSION.as_bytes()) {
        return Ok(());
    }
    let error = Error::new(StatusCode::PRECONDITION_FAILED, format!("Tus-Resumable must be {VERSION}"));
    Err(error.code("UPLOAD_MALFORMED").header(TUS_VERSION.clone(), HeaderValue::from_static(VERSION)))
}

/// The method that a POST stands for, as a client sends it that can send no other.
pub(super) fn meant(headers: &HeaderMap) -> Option<Method> {
    Method::from_bytes(headers.get(&METHOD_OVERRIDE)?.as_bytes()).ok()
}

/// The answer to a file of more than `max` bytes.
pub(super) fn too_large(max: u64) -> Error {
    let error = Error::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the file is larger than {max} bytes"));
    error.code("FILE_TOO_LARGE").header(TUS_MAX_SIZE.clone(), max.into())
}

/// Tells what is spoken here.
pub(super) fn tell_abilities(headers: &mut HeaderMap, max: u64) {
    headers.insert(&TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(&TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(&TUS_MAX_SIZE, max.into());
}

/// Tells the version: each answer does.
pub(super) fn tell_version(headers: &mut HeaderMap) {
    headers.insert(&TUS_RESUMABLE, HeaderValue::from_static(VERSION));
}

/// An upload as an answer tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) metadata: String,
    /// The upload is forgotten then.
    pub(super) expires: SystemTime,
    /// Name of the file, once the upload is whole.
    pub(super) filename: Option<String>,
}

impl Told {
    /// Tells how far the upload is.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(&UPLOAD_OFFSET, self.offset.into());
        if let Ok(expires) = HeaderValue::try_from(httpdate::fmt_http_date(self.expires)) {
            headers.insert(&UPLOAD_EXPIRES, expires);
        }
        if let Some(filename) = self.filename.as_deref().and_then(in_a_header) {
            headers.insert(&FILENAME, filename);
        }
    }

    /// Tells all of the upload: the answer to HEAD.
    pub(super) fn put_all(&self, headers: &mut HeaderMap) {
        self.put(headers);
        headers.insert(&UPLOAD_LENGTH, self.length.into());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(metadata) = HeaderValue::from_str(&self.metadata)
            && !metadata.is_empty()
        {
            headers.insert(&UPLOAD_METADATA, metadata);
        }
    }
}

/// A file's name as a header may have it: what is not of ASCII in percent signs, as in a path.
fn in_a_header(name: &str) -> Option<HeaderValue> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let text: String = name
        .bytes()
        .map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    HeaderValue::try_from(text).ok()
}

/// The number in a header.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64> {
    let mut all = headers.get_all(name).iter();
    let text = all.next().filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok());
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| malformed(format!("{name} must be there once, a number")))
}

/// The value of a key in `Upload-Metadata`: `filename d29ybGQucGRm,is_confidential`.
fn value(metadata: &str, key: &str) -> Option<String> {
    let mut pairs = metadata.split(',').map(|pair| pair.trim().split_once(' ').unwrap_or((pair.trim(), "")));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    String::from_utf8(decoded(value.trim())?).ok().filter(|text| !text.is_empty())
}

/// Bytes of Base64 (RFC 4648, section 4).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0_u32);
    for letter in text.bytes() {
        bits = (bits << 6) | u32::from(six_bits(letter)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    // A single letter at the end is no byte.
    (count < 6).then_some(bytes)
}

fn six_bits(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn malformed(why: impl Into<String>) -> Error {
    Error::bad_request(why).code("UPLOAD_MALFORMED")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        all.iter().map(pair).collect()
    }

    fn refused<T: std::fmt::Debug>(result: Result<T>) -> u16 {
        result.unwrap_err().status().as_u16()
    }

    #[test]
    fn base64_is_read_with_and_without_its_end() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zm8", Some("fo")),
            ("Z", None),
            ("Zm9v\n", None),
            ("Zm-v", None),
            ("=Zg", None),
        ] {
            assert_eq!(decoded(text).as_deref(), bytes.map(str::as_bytes), "{text:?}");
        }
        assert_eq!(decoded("5oql5ZGK").unwrap(), "报告".as_bytes());
    }

    #[test]
    fn a_creation_has_a_length_and_a_name() {
        let of = |length: &str, metadata: &str| {
            Creation::read(&headers(&[("upload-length", length), ("upload-metadata", metadata)]), 100)
        };
        let creation = of("100", "is_confidential,filename 5oql5ZGKLnR4dA==").unwrap();
        assert_eq!((creation.length, creation.original.as_str()), (100, "报告.txt"));
        assert_eq!(of("0", "name YS50eHQ=").unwrap().original, "a.txt");
        assert_eq!(refused(of("101", "filename YS50eHQ=")), 413);
        for (length, metadata) in [
            ("-1", "filename YS50eHQ="),
            ("+1", "filename YS50eHQ="),
            ("", "filename YS50eHQ="),
            ("99999999999999999999", "filename YS50eHQ="),
            ("1", ""),
            ("1", "filename"),
            ("1", "filename ???"),
            ("1", "filename /w=="),
        ] {
            assert_eq!(refused(of(length, metadata)), 400, "{length} {metadata}");
        }
        assert_eq!(refused(of("1", &format!("filename {}", "a".repeat(METADATA_MAX)))), 400);
        let deferred = headers(&[("upload-defer-length", "1"), ("upload-metadata", "filename YS50eHQ=")]);
        assert_eq!(refused(Creation::read(&deferred, 100)), 400);
        let mut twice = headers(&[("upload-length", "1"), ("upload-metadata", "filename YS50eHQ=")]);
        twice.append("upload-length", 2.into());
        assert_eq!(refused(Creation::read(&twice, 100)), 400);
    }

    #[test]
    fn bytes_have_a_type_and_a_place() {
        let of = |kind: &str, place: &str| offset(&headers(&[("content-type", kind), ("upload-offset", place)]));
        assert_eq!(of("application/offset+octet-stream", "7").unwrap(), 7);
        assert_eq!(refused(of("application/octet-stream", "7")), 415);
        assert_eq!(refused(of("application/offset+octet-stream", "seven")), 400);
    }

    #[test]
    fn another_version_is_refused_with_ours() {
        assert!(check_version(&headers(&[("tus-resumable", "1.0.0")])).is_ok());
        for other in [headers(&[]), headers(&[("tus-resumable", "0.2.2")])] {
            assert_eq!(refused(check_version(&other)), 412);
        }
        assert_eq!(meant(&headers(&[("x-http-method-override", "PATCH")])), Some(Method::PATCH));
    }

    #[test]
    fn an_answer_tells_how_far_it_is() {
        let told = Told {
            offset: 3,
            length: 7,
            metadata: "filename YS50eHQ=".to_owned(),
            expires: UNIX_EPOCH + Duration::from_secs(86400),
            filename: Some("报 a_0123456789abcdef.txt".to_owned()),
        };
        let mut answer = HeaderMap::new();
        told.put_all(&mut answer);
        assert_eq!((&answer["upload-offset"], &answer["upload-length"]), (&3.into(), &7.into()));
        assert_eq!(answer["upload-expires"], "Fri, 02 Jan 1970 00:00:00 GMT");
        assert_eq!(answer["x-filename"], "%E6%8A%A5%20a_0123456789abcdef.txt");
        assert_eq!(answer["upload-metadata"], told.metadata.as_str());
        assert_eq!(answer["cache-control"], "no-store");
    }
}
