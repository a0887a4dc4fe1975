//! The name of a request, to find it by in logs. [`crate::middleware::request_id`] gives each request one.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The target of requests' lines in the log, for filters.
pub(crate) const ACCESS: &str = "gin_worker::access";
/// Limit of a name that a client gives, in bytes. A longer one is replaced.
const LENGTH_MAX: usize = 128;

/// Extractor of the request's id: the one that stands in the access log and in the answer's `X-Request-Id`. It is the client's or the
/// proxy's `X-Request-Id` if that can stand in a log, else a new one. Where nothing gives requests ids, it is made when a handler asks for
/// it, and later extractors give the same.
///
/// ```
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, RequestId, Server};
///
/// async fn order(id: RequestId) -> String {
///     format!("if it does not arrive, ask for {}", id.as_str())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).get("/order", order)).await;
/// let answer = app.get("/order").header("x-request-id", "abc-7").send().await;
/// answer.assert_text("if it does not arrive, ask for abc-7").assert_header("x-request-id", "abc-7");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The header that carries the name, in both directions.
    pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The name that the client or a proxy has given, if it can stand in a log; else a new one.
    pub(crate) fn given_or_new(request: &Request) -> Self {
        Name::of(request).id()
    }

    pub(crate) fn into_value(self) -> HeaderValue {
        self.0
    }
}

/// The name of a request, written down only when somebody asks for it: a bare server seldom needs one.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    /// Written already: by the client, a proxy or a middleware.
    Known(RequestId),
    /// Number of a request of this process.
    Numbered(u64),
}

impl Name {
    /// The name that the client or a proxy has given, if it can stand in a log; else a new one.
    pub(crate) fn of(request: &Request) -> Self {
        Self::in_headers(request.headers())
    }

    /// The same for a request's headers.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        match headers.get(RequestId::HEADER).filter(|value| is_name(value)) {
            Some(given) => Self::Known(RequestId(given.clone())),
            None => Self::Numbered(NUMBER.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// The same name at each call.
    pub(crate) fn id(&self) -> RequestId {
        match self {
            Self::Known(id) => id.clone(),
            Self::Numbered(number) => RequestId(written(*number)),
        }
    }
}

/// True for what can stand in a log as it is.
fn is_name(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=LENGTH_MAX).contains(&value.len()) && value.as_bytes().iter().all(is_plain)
}

/// 64 bits of this process, and a number.
fn written(number: u64) -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    let mut text = [b'-'; 25];
    digits(*PROCESS, &mut text[..16]);
    digits(number, &mut text[17..]);
    HeaderValue::from_bytes(&text).expect("hexadecimal digits")
}

/// Writes the last hexadecimal digits that fit: `format!` is slow for something that each request needs.
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
        let (one, other) = (Name::of(&Request::default()), Name::of(&Request::default()));
        assert!(one.id() != other.id() && one.id() == one.id() && is_name(&one.id().into_value()));
    }
}
