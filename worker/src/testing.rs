//! Tests of one's own service: over a real socket, through everything that stands around its handlers; and through restarts under
//! load.
//!
//! ```
//! use gin_worker::testing::TestServer;
//! use gin_worker::{Config, Server};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let app = TestServer::start(Server::new(&Config::<()>::default()).get("/", || async { "hello" })).await;
//! app.get("/").send().await.assert_status(200).assert_text("hello");
//! app.get("/nowhere").send().await.assert_status(404);
//! # }
//! ```
//!
//! A failure is a panic that says what was asked and what was answered.

mod client;
mod restart;

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::worker::{TestRun, Worker};
use crate::{Life, Server};
use client::Client;
pub use restart::{Outcome, UnderLoad};

/// A server of its own on a port of its own. Its background tasks run; they end, and its shutdown hooks run, at [`Self::stop`].
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    life: Life,
    /// `None` once it is being stopped.
    run: Option<TestRun>,
}

impl TestServer {
    /// Serves it on 127.0.0.1, whatever its configuration says.
    ///
    /// # Panics
    /// If it cannot start.
    pub async fn start(server: Server) -> Self {
        let life = server.life();
        let worker = server.worker(None).unwrap_or_else(|error| panic!("the server does not start: {error}"));
        let run = Worker::serve_for_test(worker).unwrap_or_else(|error| panic!("the server does not start: {error}"));
        // Whoever asks for it may await it, and a later version may have to.
        std::future::ready(Self { address: run.address, life, run: Some(run) }).await
    }

    /// Stops as a worker does at SIGTERM, and waits for the end: requests under way have `timeouts.shutdown`, background tasks and shutdown
    /// hooks have their own time.
    ///
    /// # Panics
    /// If a background task or a shutdown hook fails, panics or takes too long.
    pub async fn stop(mut self) {
        let Some(run) = self.run.take() else { return };
        let failures = run.stop().await;
        assert!(failures.is_empty(), "the server did not end well: {}", failures.join("; "));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` and the path, for a client of one's own.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let headers = HeaderMap::new();
        TestRequest { address: self.address, method, path: path.to_owned(), headers, body: Bytes::new() }
    }

    /// `GET`
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// `POST`
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// `PUT`
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// `PATCH`
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH, path)
    }

    /// `DELETE`
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.life.reach(crate::graceful::Phase::Cut);
    }
}

/// A request that is not sent yet.
#[derive(Debug, Clone)]
#[must_use = "it is sent by `send`"]
pub struct TestRequest {
    address: SocketAddr,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl TestRequest {
    /// One more header.
    ///
    /// # Panics
    /// If it cannot be one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).unwrap_or_else(|_| panic!("no header can be named {name:?}"));
        let value = HeaderValue::try_from(value).unwrap_or_else(|_| panic!("no header can say {value:?}"));
        self.headers.append(name, value);
        self
    }

    /// With this body as JSON.
    ///
    /// # Panics
    /// If it cannot be JSON.
    pub fn json(self, value: impl Serialize) -> Self {
        let body = serde_json::to_vec(&value).unwrap_or_else(|error| panic!("the body cannot be JSON: {error}"));
        self.typed("application/json", body.into())
    }

    /// With these fields, as a form in a browser sends them.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.typed("application/x-www-form-urlencoded", body.into())
    }

    /// With this body, of this type.
    pub fn typed(mut self, kind: &'static str, body: Bytes) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = body;
        self
    }

    /// With this body, of no type.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and reads the whole answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn send(self) -> TestResponse {
        let asked = format!("{} {}", self.method, self.path);
        let answer = async {
            let mut client = Client::connect(self.address).await?;
            client.send(&self.method, &self.path, &self.headers, self.body.clone()).await
        };
        let answer = answer.await.unwrap_or_else(|error| panic!("{asked}: no answer: {error}"));
        let (parts, body) = answer.into_parts();
        TestResponse { asked, status: parts.status, headers: parts.headers, body }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct TestResponse {
    asked: String,
    /// 200, 404, ...
    pub status: StatusCode,
    /// All of them.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

impl TestResponse {
    /// # Panics
    /// If it is another one: with the body, which says why.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert!(self.status.as_u16() == status, "{}: {} and not {status}: {}", self.asked, self.status, self.text());
        self
    }

    /// # Panics
    /// If the body is another one.
    #[track_caller]
    pub fn assert_text(&self, text: &str) -> &Self {
        assert!(self.text() == text, "{}: {:?} and not {text:?}", self.asked, self.text());
        self
    }

    /// # Panics
    /// If the body is other JSON, or none.
    #[track_caller]
    pub fn assert_json(&self, expected: impl Serialize) -> &Self {
        let value: serde_json::Value = self.json();
        let expected = serde_json::to_value(expected).unwrap_or_else(|error| panic!("no JSON: {error}"));
        assert!(value == expected, "{}: {value} and not {expected}", self.asked);
        self
    }

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
    /// If it is none, or another type's.
    #[track_caller]
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Config;

    #[tokio::test]
    async fn what_is_asked_is_answered() {
        let echo = async |body: axum::Json<serde_json::Value>| body;
        let app = TestServer::start(Server::new(&Config::<()>::default()).post("/echo", echo)).await;
        let answer = app.post("/echo").json(json!({ "a": 1 })).send().await;
        answer.assert_status(200).assert_json(json!({ "a": 1 })).assert_header("content-type", "application/json");
        app.post("/echo").body("{").header("content-type", "application/json").send().await.assert_status(400);
        app.put("/echo").send().await.assert_status(405).assert_header("allow", "POST");
    }

    #[tokio::test]
    async fn axums_own_extractor_of_the_clients_address_works() {
        use axum::extract::ConnectInfo;
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
        let app = TestServer::start(Server::bare(&Config::<()>::default()).get("/", peer)).await;
        app.get("/").send().await.assert_status(200).assert_text("127.0.0.1");
    }

    #[tokio::test]
    #[should_panic(expected = "GET /: 404 Not Found and not 200")]
    async fn what_is_wrong_is_told() {
        let app = TestServer::start(Server::new(&Config::<()>::default())).await;
        app.get("/").send().await.assert_status(200);
    }
}
