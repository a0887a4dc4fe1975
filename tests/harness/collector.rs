//! A receiver of traces in the test's process: OTLP over gRPC or HTTP/1.1. It takes spans, or fails as it is told to.
//!
//! It reads the bytes by gin's own protobuf reader, for speed; `tests/traces/others.rs` has receivers that are not ours.

mod behaviour;
mod decoded;
mod grpc;
mod http;
mod tree;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use gin_shared::trace_endpoint::Protocol;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::{PATIENCE, free_port};
pub use behaviour::Behaviour;
use behaviour::Verdict;
pub use decoded::Span;
pub use tree::Trace;

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct Collector {
    shared: Arc<Shared>,
    address: SocketAddr,
    protocol: Protocol,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A request of an exporter.
#[derive(Debug, Clone)]
pub struct Export {
    /// The time at which all of it was there.
    pub at: Instant,
    /// Path of the request.
    pub path: String,
    /// Headers of the request, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Number of its spans.
    pub spans: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    exports: Vec<Export>,
    spans: Vec<Span>,
    /// The first request that could not be read.
    malformed: Option<String>,
}

type Body = BoxBody<Bytes, Infallible>;

impl Collector {
    /// Starts a receiver over gRPC.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn grpc() -> Self {
        Self::at(([127, 0, 0, 1], free_port()).into(), Protocol::Grpc)
    }

    /// Starts a receiver over HTTP/1.1.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn http() -> Self {
        Self::at(([127, 0, 0, 1], free_port()).into(), Protocol::Http)
    }

    /// Starts a receiver at this address: one that has stopped comes back.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn at(address: SocketAddr, protocol: Protocol) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (end, ended) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run(listener, protocol, &own, ended));
        Self { shared, address, protocol, end: Some(end), thread: Some(thread) }
    }

    /// The URL for `monitoring.jaeger.endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self.protocol {
            Protocol::Grpc => format!("http://{}", self.address),
            Protocol::Http => format!("http://{}/v1/traces", self.address),
        }
    }

    /// Behaves so from the next request on. Requests that hang keep hanging.
    pub fn behave(&self, how: Behaviour) {
        self.shared.state().behaviour = how;
    }

    /// Spans that have come so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.shared.state().spans.clone()
    }

    /// Requests that have come so far, whatever the answer to them was.
    #[must_use]
    pub fn exports(&self) -> Vec<Export> {
        self.shared.state().exports.clone()
    }

    /// Waits for so many spans; gives all that have come.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn until(&self, count: usize) -> Vec<Span> {
        self.shared.until(&format!("{count} spans"), |state| (state.spans.len() >= count).then(|| state.spans.clone()))
    }

    /// Waits for so many requests; gives all that have come.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn until_asked(&self, count: usize) -> Vec<Export> {
        let what = format!("{count} requests");
        self.shared.until(&what, |state| (state.exports.len() >= count).then(|| state.exports.clone()))
    }

    /// Waits for a trace that satisfies `has`.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn until_trace(&self, has: impl Fn(&Trace) -> bool) -> Trace {
        self.shared.until("a trace", |state| Trace::all(&state.spans).into_iter().find(&has))
    }

    /// Waits until the spans that have come satisfy `has`.
    ///
    /// # Panics
    /// If they do not.
    pub fn until_all(&self, what: &str, has: impl Fn(&[Span]) -> bool) {
        self.shared.until(what, |state| has(&state.spans).then_some(()));
    }

    /// Stops it: its listener and all connections are closed. Gives its address, at which another one can begin.
    ///
    /// # Panics
    /// If its thread has panicked.
    #[must_use]
    pub fn stop(mut self) -> SocketAddr {
        self.close();
        self.address
    }

    fn close(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a receiver never panics");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let began = Instant::now();
        let mut state = self.state();
        loop {
            assert!(state.malformed.is_none(), "an export cannot be read: {:?}", state.malformed);
            if let Some(found) = look(&state) {
                return found;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(!left.is_zero(), "not within {PATIENCE:?}: {what}; seen: {}", tree::of(&state.spans));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes a request as the behaviour says.
    fn take(&self, path: &str, headers: &HeaderMap, message: Result<&[u8], String>) -> Verdict {
        let mut state = self.state();
        let decoded = message.and_then(|message| decoded::spans(message).map_err(|error| error.to_string()));
        let mut spans = match decoded {
            Ok(spans) => spans,
            Err(error) => {
                state.malformed.get_or_insert(error);
                Vec::new()
            }
        };
        let text = |value: &::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        state.exports.push(Export { at: Instant::now(), path: path.to_owned(), headers, spans: spans.len() });
        let verdict = state.behaviour.verdict();
        if let Verdict::Taken { rejected } = verdict {
            let rejected = usize::try_from(rejected).unwrap_or(usize::MAX).min(spans.len());
            state.spans.extend(spans.drain(rejected..));
        }
        drop(state);
        self.changed.notify_all();
        verdict
    }
}

fn run(listener: TcpListener, protocol: Protocol, shared: &Arc<Shared>, mut end: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(connection(stream, protocol, Arc::clone(shared)));
                    }
                }
                _ = &mut end => return,
            }
        }
    });
    // All connections are closed with the runtime.
}

async fn connection(stream: TcpStream, protocol: Protocol, shared: Arc<Shared>) {
    let dies = Arc::new(Notify::new());
    let own = Arc::clone(&dies);
    let service = service_fn(move |request| {
        let (shared, dies) = (Arc::clone(&shared), Arc::clone(&own));
        async move { Ok::<_, Infallible>(exchange(protocol, &shared, &dies, request).await) }
    });
    let stream = TokioIo::new(stream);
    let served = async {
        // A client that goes away is no failure of the receiver.
        let _ = match protocol {
            Protocol::Http => http1::Builder::new().serve_connection(stream, service).await,
            Protocol::Grpc => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        };
    };
    tokio::select! {
        () = served => {}
        () = dies.notified() => {}
    }
}

async fn exchange(protocol: Protocol, shared: &Shared, dies: &Notify, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return std::future::pending().await };
    let body = body.to_bytes();
    let message = match protocol {
        Protocol::Http => Ok(&*body),
        Protocol::Grpc => grpc::message(&body),
    };
    match shared.take(head.uri.path(), &head.headers, message) {
        Verdict::Hang => std::future::pending().await,
        Verdict::Die => {
            dies.notify_one();
            std::future::pending().await
        }
        Verdict::Taken { rejected } => match protocol {
            Protocol::Http => http::taken(rejected),
            Protocol::Grpc => grpc::taken(rejected),
        },
        Verdict::Refused { status, after } => match protocol {
            Protocol::Http => http::refused(status, after),
            Protocol::Grpc => grpc::refused(status, after),
        },
    }
}
