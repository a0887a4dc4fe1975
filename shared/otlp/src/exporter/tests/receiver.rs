//! A receiver of spans in memory, which behaves as a test says.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gin_shared::protobuf::{Field, Reader};
use gin_shared::trace_endpoint::{Endpoint, Protocol};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::connection::{Connect, Stream};
use crate::grpc::prefix;

/// Answer to one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Behaviour {
    /// A status of HTTP or a code of gRPC, with headers or trailers, and a message.
    Answers(u16, &'static [(&'static str, &'static str)], &'static [u8]),
    /// It never answers.
    Hangs,
    /// It closes the connection instead of an answer.
    Dies,
    /// It refuses connections.
    Absent,
}

/// Success by both protocols.
pub(super) const fn takes(protocol: Protocol) -> Behaviour {
    match protocol {
        Protocol::Http => Behaviour::Answers(200, &[], b""),
        Protocol::Grpc => Behaviour::Answers(0, &[], b""),
    }
}

/// A request that has arrived whole.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) head: String,
    pub(super) headers: HeaderMap,
    pub(super) message: Bytes,
    pub(super) at: Instant,
}

impl Received {
    /// The messages `Span`.
    pub(super) fn spans(&self) -> Vec<Vec<u8>> {
        let resources = fields(&[self.message.to_vec()], 1);
        let scopes = fields(&resources, 2);
        fields(&scopes, 2)
    }
}

fn fields(messages: &[Vec<u8>], number: u32) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for message in messages {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next().expect("a message") {
            if let (at, Field::Bytes(bytes)) = field
                && at == number
            {
                found.push(bytes.to_vec());
            }
        }
    }
    found
}

/// A receiver. Its last behaviour goes on.
#[derive(Debug, Clone)]
pub(super) struct Receiver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    script: Mutex<VecDeque<Behaviour>>,
    received: Mutex<Vec<Received>>,
    connections: Mutex<Vec<Instant>>,
    came: Notify,
}

impl Receiver {
    pub(super) fn new(script: &[Behaviour]) -> Self {
        let script = Mutex::new(script.iter().copied().collect());
        let (received, connections, came) = (Mutex::default(), Mutex::default(), Notify::new());
        Self(Arc::new(Inner { script, received, connections, came }))
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.0.received.lock().expect("no panic").clone()
    }

    /// Number of the connections that were tried.
    pub(super) fn connections(&self) -> usize {
        self.0.connections.lock().expect("no panic").len()
    }

    /// Waits for these many requests.
    pub(super) async fn until(&self, count: usize) -> Vec<Received> {
        loop {
            let came = self.0.came.notified();
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            came.await;
        }
    }

    /// Waits until these many connections were tried.
    pub(super) async fn until_connections(&self, count: usize) {
        loop {
            let came = self.0.came.notified();
            if self.connections() >= count {
                return;
            }
            came.await;
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self.0.script.lock().expect("no panic").front(), Some(Behaviour::Absent))
    }

    fn next(&self) -> Behaviour {
        let mut script = self.0.script.lock().expect("no panic");
        let next = if script.len() > 1 { script.pop_front() } else { script.front().copied() };
        next.expect("a behaviour")
    }

    fn note(&self, head: &request::Parts, message: Bytes) {
        let (headers, at) = (head.headers.clone(), Instant::now());
        let head = format!("{} {}", head.method, head.uri);
        self.0.received.lock().expect("no panic").push(Received { head, headers, message, at });
        self.0.came.notify_waiters();
    }

    async fn serve_http(self, stream: DuplexStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let receiver = self.clone();
            async move { receiver.answer_http(request).await }
        });
        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }

    async fn answer_http(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        self.note(&head, body);
        match self.next() {
            Behaviour::Answers(status, headers, body) => {
                let mut response = Response::new(Full::new(Bytes::from_static(body)));
                *response.status_mut() = status.try_into().expect("a status");
                response.headers_mut().extend(map(headers));
                Ok(response)
            }
            Behaviour::Hangs => pending().await,
            Behaviour::Dies | Behaviour::Absent => Err(io::Error::other("the test closes it")),
        }
    }

    async fn serve_grpc(self, stream: DuplexStream) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let dies = Arc::new(Notify::new());
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let Some(Ok((request, respond))) = accepted else { return };
                    tokio::spawn(self.clone().answer_grpc(request, respond, Arc::clone(&dies)));
                }
                () = dies.notified() => return,
            }
        }
    }

    async fn answer_grpc(
        self,
        request: Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
        dies: Arc<Notify>,
    ) {
        let (head, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.expect("a whole body");
            body.flow_control().release_capacity(data.len()).expect("what has arrived");
            bytes.extend_from_slice(&data);
        }
        let message = bytes.split_off(5);
        assert_eq!(bytes, prefix(message.len()));
        self.note(&head, message.into());
        match self.next() {
            Behaviour::Answers(code, trailers, message) => {
                let mut trailers = map(trailers);
                trailers.insert("grpc-status", code.into());
                let mut response = Response::new(());
                if message.is_empty() {
                    response.headers_mut().extend(trailers);
                    respond.send_response(response, true).expect("a stream");
                } else {
                    let mut stream = respond.send_response(response, false).expect("a stream");
                    let message = [&prefix(message.len())[..], message].concat();
                    stream.send_data(message.into(), false).expect("a stream");
                    stream.send_trailers(trailers).expect("a stream");
                }
            }
            Behaviour::Hangs => pending().await,
            Behaviour::Dies | Behaviour::Absent => dies.notify_one(),
        }
    }
}

impl Connect for Receiver {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            self.0.connections.lock().expect("no panic").push(Instant::now());
            self.0.came.notify_waiters();
            if self.is_absent() {
                self.next();
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(64 * 1024);
            match endpoint.protocol {
                Protocol::Http => tokio::spawn(self.clone().serve_http(theirs)),
                Protocol::Grpc => tokio::spawn(self.clone().serve_grpc(theirs)),
            };
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}
