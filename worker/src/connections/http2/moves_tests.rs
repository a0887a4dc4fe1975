//! The hazards of HTTP/2 over a whole worker: each parking drops hyper, and the next bytes make another one.
//!
//! The tests of [`super::tests`] have servers of h2, and replace them at each rest. Here are the hub, hyper and the router. Most tests run
//! without moves, too: the answers are the same.

mod frames;
mod goodbyes;
mod half_closed;
mod handover;
mod raw;
mod resets;
mod sends;
mod tables;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, Request, Response};
use axum::routing::{get, post};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::config::Config;
use crate::connections::accept::serve_pair;
use crate::connections::hub::Hub;
use crate::graceful::{Life, Phase};
use crate::websocket::KnownSessions;

/// Without moves, and with one at each rest.
const BOTH: [bool; 2] = [false, true];

fn config(moves: bool) -> Config {
    let mut config = Config::default();
    config.timeouts.park_after = if moves { Duration::from_millis(1) } else { Duration::from_secs(3600) };
    // A client that takes nothing is found soon.
    config.timeouts.write = Duration::from_millis(500);
    config
}

async fn size(Path(length): Path<usize>) -> Vec<u8> {
    vec![b'x'; length]
}

async fn echo(body: Bytes) -> String {
    body.len().to_string()
}

async fn same(headers: HeaderMap) -> Vec<u8> {
    headers.get("x-same").map(|value| value.as_bytes().to_vec()).unwrap_or_default()
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(20)).await;
    "slow"
}

/// A worker.
struct Worker {
    hub: Arc<Hub>,
    moves: bool,
    /// Ends the requests of `/wait`.
    release: Arc<Notify>,
}

impl Worker {
    fn start(moves: bool) -> Self {
        Self::with(moves, &config(moves))
    }

    fn with(moves: bool, config: &Config) -> Self {
        let release = Arc::new(Notify::new());
        let (waits, releases) = (Arc::clone(&release), Arc::clone(&release));
        let wait = move || {
            let waits = Arc::clone(&waits);
            async move {
                waits.notified().await;
                "waited"
            }
        };
        let router = Router::new()
            .route("/size/{length}", get(size))
            .route("/echo", post(echo))
            .route("/early", post(async || "early"))
            .route("/head", get(async || ([("x-large", "h".repeat(40_000))], "")))
            .route("/same", get(same))
            .route("/slow", get(slow))
            .route("/release", get(move || std::future::ready(sends::Releasing::answer(&releases))))
            .route("/wait", get(wait));
        let life = Life::default();
        life.reach(Phase::Serving);
        let hub = Hub::start(config, life, router, Arc::new(KnownSessions::default()), 16).unwrap();
        Self { hub, moves, release }
    }

    /// A client's end of a connection that the worker serves.
    fn wire(&self) -> UnixStream {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        serve_pair(&self.hub, far).unwrap();
        UnixStream::from_std(near).unwrap()
    }

    /// Waits until so many connections are parked, if they are to move.
    async fn rests(&self, connections: usize) {
        // Nothing says when a connection is parked.
        while self.moves && self.hub.parked() < connections {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the only connection is parked, if it is to move.
    async fn rest(&self) {
        within(self.rests(1)).await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it hangs")
}

/// A client that does all right.
#[derive(Clone)]
struct Client(SendRequest<Bytes>);

impl Client {
    async fn connect(worker: &Worker, builder: &Builder) -> Self {
        let (send, connection) = builder.handshake(worker.wire()).await.unwrap();
        tokio::spawn(connection);
        Self(send)
    }

    async fn ask(&mut self, request: Request<()>, body: usize) -> Response<RecvStream> {
        self.0 = within(self.0.clone().ready()).await.unwrap();
        let (response, mut stream) = self.0.send_request(request, body == 0).unwrap();
        if body > 0 {
            // After an early answer it is reset.
            let _ = stream.send_data(vec![b'y'; body].into(), true);
        }
        within(response).await.unwrap()
    }

    /// Begins an upload that is answered before its end. Returns the length of the answer.
    async fn refused(&mut self) -> usize {
        self.0 = within(self.0.clone().ready()).await.unwrap();
        let (response, mut upload) = self.0.send_request(request("POST", "/early"), false).unwrap();
        upload.send_data(vec![b'y'; 3000].into(), false).unwrap();
        read(within(response).await.unwrap().into_body()).await.len()
    }

    /// Length of the answer to a GET.
    async fn get(&mut self, path: &str) -> usize {
        read(self.ask(request("GET", path), 0).await.into_body()).await.len()
    }

    /// The answer to a POST with a body of this length.
    async fn post(&mut self, path: &str, body: usize) -> Vec<u8> {
        read(self.ask(request("POST", path), body).await.into_body()).await
    }
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://example.com{path}")).body(()).unwrap()
}

async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        all.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    all
}
