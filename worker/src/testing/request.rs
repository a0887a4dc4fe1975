//! A request as a value, and the status that it must be answered with.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;

use super::multipart::MultipartForm;

/// Bytes of a body that a message shows.
const SHOWN: usize = 500;

/// A request that is not sent yet, and what its answer must be. [`UnderLoad`](crate::testing::UnderLoad) sends it many times.
///
/// Only a status from 200 to 299 is a success, unless [`expects`](Self::expects) says another one.
///
/// ```
/// use gin_worker::serde_json::json;
/// use gin_worker::testing::Request;
///
/// let create = Request::post("/api/v1/users").bearer("secret").json(json!({ "name": "Ann" })).expects(201);
/// let stranger = Request::get("/api/v1/users").expects(401);
/// assert_eq!(create.to_string(), r#"POST /api/v1/users {"name":"Ann"}"#);
/// # drop(stranger);
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is sent by `UnderLoad`"]
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    expected: Option<StatusCode>,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("Makes a `", stringify!($method), "` request for this path, which may have a query string.")]
        pub fn $name(path: impl Into<String>) -> Self {
            Self::new(Method::$method, path)
        }
    )*};
}

impl Request {
    /// Makes a request of any method.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), expected: None }
    }

    methods! { get GET  post POST  put PUT  patch PATCH  delete DELETE  head HEAD }

    /// Adds a header.
    ///
    /// # Panics
    /// If the name or the value cannot be one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let (name, value) = header_field(name, value);
        self.headers.append(name, value);
        self
    }

    /// Sets `Authorization: Bearer` with this token.
    ///
    /// # Panics
    /// If the token cannot stand in a header.
    pub fn bearer(mut self, token: &str) -> Self {
        let (name, value) = bearer_field(token);
        self.headers.insert(name, value);
        self
    }

    /// Adds a cookie.
    ///
    /// # Panics
    /// If it cannot stand in a header.
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.cookies(&format!("{name}={value}"))
    }

    /// Adds cookies to those that are there: all of them stand in one header (RFC 6265, section 5.4).
    pub(super) fn cookies(mut self, more: &str) -> Self {
        let before = self.headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
        let all = before.map_or_else(|| more.to_owned(), |before| format!("{before}; {more}"));
        let (name, value) = header_field("cookie", &all);
        self.headers.insert(name, value);
        self
    }

    /// Sets the body: this value as JSON.
    ///
    /// # Panics
    /// If the value cannot be JSON.
    pub fn json(self, value: impl Serialize) -> Self {
        let body = serde_json::to_vec(&value).unwrap_or_else(|error| panic!("the body cannot be JSON: {error}"));
        self.typed("application/json", body)
    }

    /// Sets the body: these fields, as a browser sends a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.typed("application/x-www-form-urlencoded", body)
    }

    /// Sets the body: fields and files, as a browser sends a form with files.
    pub fn multipart(self, form: &MultipartForm) -> Self {
        let (kind, body) = form.encode();
        self.typed(&kind, body)
    }

    /// Sets the body, and its type as `Content-Type` says it.
    ///
    /// # Panics
    /// If the type cannot stand in a header.
    pub fn typed(mut self, kind: &str, body: impl Into<Bytes>) -> Self {
        let (name, value) = header_field("content-type", kind);
        self.headers.insert(name, value);
        self.body(body)
    }

    /// Sets the body, without a type.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Makes this status the only success: 201, say, or a 404 that is meant.
    ///
    /// # Panics
    /// If this is no status.
    pub fn expects(mut self, status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("{status} is no status of HTTP"));
        self.expected = Some(status);
        self
    }

    /// True if an answer with this status is a success.
    pub(super) fn accepts(&self, status: StatusCode) -> bool {
        self.expected.map_or_else(|| status.is_success(), |expected| status == expected)
    }
}

/// Method, path and the beginning of the body. Headers are left out: they may carry secrets.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.body.is_empty() { Ok(()) } else { write!(f, " {}", excerpt(&self.body)) }
    }
}

/// The beginning of a body, as text.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let rest = if body.len() > SHOWN { "..." } else { "" };
    format!("{}{rest}", text.trim_end())
}

pub(super) fn header_field(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    let name = HeaderName::try_from(name).unwrap_or_else(|_| panic!("no header can be named {name:?}"));
    let value = HeaderValue::try_from(value).unwrap_or_else(|_| panic!("no header can say {value:?}"));
    (name, value)
}

pub(super) fn bearer_field(token: &str) -> (HeaderName, HeaderValue) {
    header_field("authorization", &format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_a_success_unless_another_status_is_expected() {
        let accepts = |request: &Request, status| request.accepts(StatusCode::from_u16(status).unwrap());
        let plain = Request::get("/");
        for (status, is_success) in [(200, true), (204, true), (301, false), (401, false), (404, false), (500, false)] {
            assert_eq!(accepts(&plain, status), is_success, "{status}");
        }
        let absent = Request::get("/").expects(404);
        assert!(accepts(&absent, 404) && !accepts(&absent, 200));
    }

    #[test]
    fn a_message_shows_the_body_and_no_header() {
        let request = Request::post("/login").bearer("secret").json(serde_json::json!({ "a": 1 }));
        assert_eq!(request.to_string(), r#"POST /login {"a":1}"#);
        assert_eq!(excerpt(&[b'x'; 501]), format!("{}...", "x".repeat(500)));
    }

    #[test]
    fn cookies_stand_in_one_header_and_a_body_has_one_type() {
        let request = Request::post("/").cookie("a", "1").cookie("b", "2").json(1).form(&[("x", "y z")]);
        assert_eq!(request.headers[header::COOKIE], "a=1; b=2");
        let kinds: Vec<_> = request.headers.get_all(header::CONTENT_TYPE).iter().collect();
        assert_eq!(kinds, ["application/x-www-form-urlencoded"]);
        assert_eq!(request.body, "x=y+z");
    }
}
