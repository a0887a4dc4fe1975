//! A user of a service under test, and the requests that it makes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde::Serialize;

use super::client::Client;
use super::jar::Jar;
use super::multipart::MultipartForm;
use super::request::{Request, bearer_field, header_field};
use super::response::TestResponse;
use super::stream::TestStream;

/// One user of a [`TestServer`](crate::testing::TestServer): the headers that all its requests have, and its cookies.
///
/// Cookies are kept as a browser does (RFC 6265): by path, until the server removes them. `Domain` and `Secure` are passed over, as all
/// requests go to the server under test, and a cookie does not grow old during a test. A clone is the same user.
///
/// ```
/// use gin_worker::axum::http::{HeaderMap, header};
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Server};
///
/// async fn login() -> ([(header::HeaderName, &'static str); 1], &'static str) {
///     ([(header::SET_COOKIE, "session=ann; Path=/; HttpOnly")], "welcome")
/// }
///
/// async fn who(headers: HeaderMap) -> String {
///     headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned()
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).post("/login", login).get("/who", who)).await;
/// let ann = app.client();
/// ann.get("/who").send().await.assert_text("nobody");
/// ann.post("/login").send().await.assert_status(200);
/// ann.get("/who").send().await.assert_text("session=ann");
/// assert_eq!(ann.cookie("session").as_deref(), Some("ann"));
/// // Another user.
/// app.client().get("/who").send().await.assert_text("nobody");
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it asks nothing by itself"]
pub struct TestClient {
    address: SocketAddr,
    headers: HeaderMap,
    jar: Option<Arc<Mutex<Jar>>>,
}

impl TestClient {
    pub(super) fn with_cookies(address: SocketAddr) -> Self {
        Self { jar: Some(Arc::default()), ..Self::without_cookies(address) }
    }

    pub(super) fn without_cookies(address: SocketAddr) -> Self {
        Self { address, headers: HeaderMap::new(), jar: None }
    }

    /// The server's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends this header with each request from now on, unless the request has its own of this name.
    ///
    /// # Panics
    /// If the name or the value cannot be one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let (name, value) = header_field(name, value);
        self.headers.insert(name, value);
        self
    }

    /// Sends `Authorization: Bearer` with this token from now on.
    ///
    /// # Panics
    /// If the token cannot stand in a header.
    pub fn bearer(mut self, token: &str) -> Self {
        let (name, value) = bearer_field(token);
        self.headers.insert(name, value);
        self
    }

    /// Sets a cookie for all paths, as if the server had.
    pub fn with_cookie(self, name: &str, value: &str) -> Self {
        if let Some(mut jar) = self.jar() {
            jar.set(name, value);
        }
        self
    }

    /// The value of a cookie that this user has now.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar()?.value(name).map(str::to_owned)
    }

    /// A request of any method, which is sent on a connection of its own.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest { client: self.clone(), asked: Request::new(method, path) }
    }

    /// A `GET` request.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// A `POST` request.
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// A `PUT` request.
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// A `PATCH` request.
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH, path)
    }

    /// A `DELETE` request.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    fn jar(&self) -> Option<MutexGuard<'_, Jar>> {
        self.jar.as_ref().map(|jar| jar.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The request with what this user adds to each.
    fn complete(&self, mut request: Request) -> Request {
        for (name, value) in &self.headers {
            if !request.headers.contains_key(name) {
                request.headers.insert(name, value.clone());
            }
        }
        match self.jar().and_then(|jar| jar.header(without_query(&request.path))) {
            Some(cookies) => request.cookies(&cookies),
            None => request,
        }
    }

    /// Takes the cookies of an answer.
    fn keep(&self, path: &str, headers: &HeaderMap) {
        if let Some(mut jar) = self.jar() {
            jar.keep(without_query(path), headers, SystemTime::now());
        }
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// A request that is not sent yet. Its builders are those of [`Request`].
///
/// ```
/// use gin_worker::testing::{MultipartForm, TestServer};
/// use gin_worker::{Config, Server};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = TestServer::start(Server::new(&Config::<()>::default()).post("/length", async |body: String| {
///     body.len().to_string()
/// })).await;
/// app.post("/length").bearer("secret").header("accept-language", "de").body("four").send().await.assert_text("4");
/// let form = MultipartForm::new().text("title", "A picture").file("picture", "a.png", "image/png", "...");
/// app.post("/length").multipart(&form).send().await.assert_status(200);
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is sent by `send`, `stream` or `websocket`"]
pub struct TestRequest {
    client: TestClient,
    asked: Request,
}

impl TestRequest {
    /// Adds a header. See [`Request::header`].
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|asked| asked.header(name, value))
    }

    /// Sets `Authorization: Bearer` with this token. See [`Request::bearer`].
    pub fn bearer(self, token: &str) -> Self {
        self.with(|asked| asked.bearer(token))
    }

    /// Adds a cookie to this request. See [`Request::cookie`].
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.with(|asked| asked.cookie(name, value))
    }

    /// Sets the body: this value as JSON. See [`Request::json`].
    pub fn json(self, value: impl Serialize) -> Self {
        self.with(|asked| asked.json(value))
    }

    /// Sets the body: these fields, as a browser sends a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        self.with(|asked| asked.form(fields))
    }

    /// Sets the body: fields and files, as a browser sends a form with files.
    pub fn multipart(self, form: &MultipartForm) -> Self {
        self.with(|asked| asked.multipart(form))
    }

    /// Sets the body, and its type as `Content-Type` says it.
    pub fn typed(self, kind: &str, body: impl Into<Bytes>) -> Self {
        self.with(|asked| asked.typed(kind, body))
    }

    /// Sets the body, without a type.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with(|asked| asked.body(body))
    }

    /// Sends the request, and reads the whole answer.
    ///
    /// # Panics
    /// If there is no answer, or only a part of it.
    pub async fn send(self) -> TestResponse {
        self.stream().await.whole().await
    }

    /// Sends the request. Returns as soon as the answer's head is there; its body is read piece by piece.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn stream(self) -> TestStream {
        let (asked, sent) = (self.asked(), self.complete());
        let answer = async {
            let mut connection = Client::connect(self.address()).await?;
            let answer = connection.ask(&sent).await?;
            io::Result::Ok((connection, answer))
        };
        let (connection, answer) = answer.await.unwrap_or_else(|error| panic!("{asked}: no answer: {error}"));
        self.keep_cookies(answer.headers());
        TestStream::new(asked, connection, answer)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.client.address
    }

    /// What was asked, for messages.
    pub(super) fn asked(&self) -> String {
        self.asked.to_string()
    }

    /// The request as it goes out.
    pub(super) fn complete(&self) -> Request {
        self.client.complete(self.asked.clone())
    }

    /// Keeps the cookies of an answer.
    pub(super) fn keep_cookies(&self, headers: &HeaderMap) {
        self.client.keep(&self.asked.path, headers);
    }

    fn with(self, change: impl FnOnce(Request) -> Request) -> Self {
        Self { client: self.client, asked: change(self.asked) }
    }
}
