//! A name for each request, to find it by in logs: `X-Request-Id`.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::live::Snapshot;

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// A longer one is replaced.
const LENGTH_MAX: usize = 128;

/// A request's name, for handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Snapshot>().and_then(|snapshot| snapshot.1.as_ref()).or_else(|| extensions.get())
    }

    pub(super) fn into_value(self) -> HeaderValue {
        self.0
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    /// An empty one, if nobody has given it a name.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions).cloned().unwrap_or(Self(HeaderValue::from_static(""))))
    }
}

/// Takes the name that the client or a proxy has given, else makes one; the answer has it, too.
pub async fn request_id(mut request: Request, next: Next) -> Response {
    let id = name(&request);
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(HEADER, id.0);
    response
}

pub(super) fn name(request: &Request) -> RequestId {
    let given = request.headers().get(HEADER).filter(|value| is_name(value)).cloned();
    RequestId(given.unwrap_or_else(new))
}

/// What can stand in a log as it is.
fn is_name(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=LENGTH_MAX).contains(&value.len()) && value.as_bytes().iter().all(is_plain)
}

/// 64 bits of this process, and a number.
fn new() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut text = [b'-'; 25];
    digits(*PROCESS, &mut text[..16]);
    digits(number, &mut text[17..]);
    HeaderValue::from_bytes(&text).expect("hexadecimal digits")
}

/// Hexadecimal, the last ones that fit: each request needs some.
fn digits(mut value: u64, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_stand_in_a_log_is_kept() {
        for (given, is_kept) in [("abc-1", true), ("a b", false), ("a\"b", false), ("", false), ("{}", false)] {
            assert_eq!(is_name(&HeaderValue::from_str(given).unwrap()), is_kept, "{given}");
        }
        assert!(!is_name(&HeaderValue::from_str(&"x".repeat(129)).unwrap()));
        let (one, other) = (new(), new());
        assert!(one != other && is_name(&one));
    }
}
