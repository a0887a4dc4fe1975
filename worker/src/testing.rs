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
//! app.stop().await;
//! # }
//! ```
//!
//! A failure is a panic that says what was asked and what was answered.
//!
//! | a test needs | it uses |
//! |---|---|
//! | a server | [`TestServer`] |
//! | requests with JSON, a form, files, a token | [`TestRequest`], [`MultipartForm`] |
//! | a user with cookies | [`TestServer::client`] |
//! | an answer that comes in pieces | [`TestRequest::stream`] |
//! | a WebSocket | `TestRequest::websocket` |
//! | what shutdown hooks and background tasks did | [`TestServer::stop`] |
//! | to know that nobody notices a restart | [`UnderLoad`] |

mod client;
mod crowd;
mod jar;
mod multipart;
mod outcome;
mod request;
mod response;
mod stream;
mod supervisor;
#[cfg(feature = "websocket")]
mod talk;
mod test_client;
#[cfg(test)]
mod tests;
mod under_load;
#[cfg(feature = "websocket")]
mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;

use crate::graceful::Phase;
use crate::worker::{TestRun, Worker};
use crate::{Life, Server};
pub use multipart::MultipartForm;
pub use outcome::{Failure, Outcome};
pub use request::Request;
pub use response::TestResponse;
pub use stream::TestStream;
#[cfg(feature = "websocket")]
pub use talk::Talk;
pub use test_client::{TestClient, TestRequest};
pub use under_load::UnderLoad;
#[cfg(feature = "websocket")]
pub use websocket::TestWebSocket;

/// Longest wait for the next thing that a server under test sends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of its own, on a port of its own, for one test.
///
/// It serves as [`Server::run`] does: background tasks run beside the requests. [`stop`](Self::stop) ends it as SIGTERM ends a worker:
/// requests under way are finished, the background tasks end, the shutdown hooks run. A server that is only dropped closes what is open,
/// and the rest runs beside the test, for as long as the test's runtime does: nobody waits for it.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use gin_worker::axum::Json;
/// use gin_worker::serde_json::{Value, json};
/// use gin_worker::testing::TestServer;
/// use gin_worker::{Config, Server};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let saved = Arc::new(AtomicBool::new(false));
/// let mark = Arc::clone(&saved);
/// let server: Server = Server::new(&Config::<()>::default())
///     .post("/echo", async |Json(body): Json<Value>| Json(body))
///     .on_shutdown("save", Duration::from_secs(5), move || async move {
///         mark.store(true, Ordering::Relaxed);
///         Ok(())
///     });
///
/// let app = TestServer::start(server).await;
/// app.post("/echo").json(json!({ "a": 1 })).send().await.assert_status(200).assert_json(json!({ "a": 1 }));
/// app.stop().await;
/// assert!(saved.load(Ordering::Relaxed));
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    anybody: TestClient,
    life: Life,
    /// `None` once it is being stopped.
    run: Option<TestRun>,
}

impl TestServer {
    /// Serves on 127.0.0.1, on a free port, whatever the configuration says. A database, a cache and sessions are open, and the background
    /// tasks have begun, when this returns.
    ///
    /// # Panics
    /// If the server cannot start.
    pub async fn start(server: Server) -> Self {
        let life = server.life();
        let worker = server.worker(None).unwrap_or_else(|error| panic!("the server does not start: {error}"));
        let served = Worker::serve_for_test(worker).await;
        let run = served.unwrap_or_else(|error| panic!("the server does not start: {error}"));
        Self { anybody: TestClient::without_cookies(run.address), life, run: Some(run) }
    }

    /// Stops as a worker does at SIGTERM, and waits for the end: idle connections are closed, requests under way have
    /// `timeouts.shutdown`, background tasks and shutdown hooks have their own time.
    ///
    /// # Panics
    /// If a background task or a shutdown hook fails, panics or takes too long.
    pub async fn stop(mut self) {
        let Some(run) = self.run.take() else { return };
        let failures = run.stop().await;
        assert!(failures.is_empty(), "the server did not end well: {}", failures.join("; "));
    }

    /// The address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.anybody.address()
    }

    /// `http://127.0.0.1:PORT` and the path, for a client of one's own.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A client that keeps its cookies: one user of the service. Each call makes a new user.
    pub fn client(&self) -> TestClient {
        TestClient::with_cookies(self.address())
    }

    /// A request of any method, which is sent on a connection of its own, without cookies.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        self.anybody.request(method, path)
    }

    /// A `GET` request.
    pub fn get(&self, path: &str) -> TestRequest {
        self.anybody.get(path)
    }

    /// A `POST` request.
    pub fn post(&self, path: &str) -> TestRequest {
        self.anybody.post(path)
    }

    /// A `PUT` request.
    pub fn put(&self, path: &str) -> TestRequest {
        self.anybody.put(path)
    }

    /// A `PATCH` request.
    pub fn patch(&self, path: &str) -> TestRequest {
        self.anybody.patch(path)
    }

    /// A `DELETE` request.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.anybody.delete(path)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.life.reach(Phase::Cut);
    }
}
