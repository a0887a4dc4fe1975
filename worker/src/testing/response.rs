//! A whole answer, and what a test says of it.

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A whole answer. Each `assert_` returns the answer again, so that the next one can follow.
///
/// ```
/// use gin_worker::serde_json::{Value, json};
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Server, axum::Json};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let user = async || Json(json!({ "id": 7 }));
/// let app = TestServer::start(Server::new(&Config::<()>::default()).get("/user", user)).await;
/// let answer = app.get("/user").send().await;
/// answer.assert_status(200).assert_header("content-type", "application/json").assert_json(json!({ "id": 7 }));
/// let user: Value = answer.json();
/// assert_eq!(user["id"], 7);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestResponse {
    pub(super) asked: String,
    /// The status: 200, 404, ...
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl TestResponse {
    /// Asserts this status.
    ///
    /// # Panics
    /// If the status is another one: with the body, which says why.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert!(self.status.as_u16() == status, "{}: {} and not {status}: {}", self.asked, self.status, self.text());
        self
    }

    /// Asserts that the body is this text.
    ///
    /// # Panics
    /// If the body is another one.
    #[track_caller]
    pub fn assert_text(&self, text: &str) -> &Self {
        assert!(self.text() == text, "{}: {:?} and not {text:?}", self.asked, self.text());
        self
    }

    /// Asserts that the body is this JSON, whatever the order of its keys.
    ///
    /// # Panics
    /// If the body is other JSON, or none.
    #[track_caller]
    pub fn assert_json(&self, expected: impl Serialize) -> &Self {
        let value: serde_json::Value = self.json();
        let expected = serde_json::to_value(expected).unwrap_or_else(|error| panic!("no JSON: {error}"));
        assert!(value == expected, "{}: {value} and not {expected}", self.asked);
        self
    }

    /// Asserts a header's value.
    ///
    /// # Panics
    /// If the header says something else, or is not there.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: &str) -> &Self {
        let said = self.header(name);
        assert!(said == Some(value), "{}: {name}: {said:?} and not {value:?}", self.asked);
        self
    }

    /// The first header of this name, if there is one that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, read from JSON.
    ///
    /// # Panics
    /// If the body is no JSON, or another type's.
    #[track_caller]
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text()))
    }
}
