//! A server that is replaced by a new one at each rest of its connection.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use axum::http::{HeaderMap, Request, Response};
use bytes::{Buf, Bytes};
use h2::server::{Connection, SendResponse};
use h2::{RecvStream, server};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::connections::http2::{Http2State, OwnSettings, Tap};

pub(super) const OWN: OwnSettings =
    OwnSettings { max_streams: 100, window: 65_536, connection_window: 6_553_600, head_list: 65_536 };

/// When a server is replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) own: OwnSettings,
    pub(super) moves: bool,
    /// New requests wait once the server has one: for so many polls, and then for as many not.
    pub(super) gate: Option<usize>,
    /// Number of moves after which the server says goodbye.
    pub(super) goodbye_after: Option<usize>,
}

impl Plan {
    pub(super) const MOVES: Self = Self { own: OWN, moves: true, gate: None, goodbye_after: None };
    pub(super) const GATED: Self = Self { gate: Some(50), ..Self::MOVES };
    /// The gate opens by a move alone.
    pub(super) const SHUT: Self = Self { gate: Some(usize::MAX / 2), ..Self::MOVES };
    pub(super) const STAYS: Self = Self { moves: false, ..Self::MOVES };
}

/// What the servers of one connection have done.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) moves: usize,
    pub(super) largest: usize,
    pub(super) resets: u32,
    /// `None`: the last server has ended without an error.
    pub(super) error: Option<String>,
}

struct Shared {
    wire: Option<DuplexStream>,
    ahead: Bytes,
    tap: Tap,
    is_flushed: bool,
    has_heard: bool,
    reader: Option<Waker>,
}

impl Shared {
    fn new(wire: DuplexStream, ahead: Bytes, tap: Tap) -> Self {
        Self { wire: Some(wire), ahead, tap, is_flushed: false, has_heard: false, reader: None }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let wire = self.wire.as_mut().expect("it is there until the server has gone");
        while !self.tap.for_wire().is_empty() {
            let count = ready!(Pin::new(&mut *wire).poll_write(cx, self.tap.for_wire()))?;
            self.tap.for_wire().advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the client into the tap. 0: the client has closed.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            self.tap.from_wire(&ahead);
            return Poll::Ready(Ok(ahead.len()));
        }
        let mut space = [0; 4096];
        let mut buffer = ReadBuf::new(&mut space);
        let wire = self.wire.as_mut().expect("it is there until the server has gone");
        ready!(Pin::new(wire).poll_read(cx, &mut buffer))?;
        self.tap.from_wire(buffer.filled());
        self.has_heard |= !buffer.filled().is_empty();
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

#[derive(Clone)]
struct TapIo(Arc<Mutex<Shared>>);

impl AsyncRead for TapIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let shared = &mut *self.0.lock().unwrap();
        shared.reader = Some(cx.waker().clone());
        loop {
            let _ = shared.flush(cx)?;
            let waiting = shared.tap.for_hyper();
            if !waiting.is_empty() {
                let count = waiting.len().min(buffer.remaining());
                buffer.put_slice(&waiting.split_to(count));
                return Poll::Ready(Ok(()));
            }
            if !shared.tap.may_read() {
                return Poll::Pending;
            }
            if ready!(shared.fill(cx))? == 0 {
                shared.tap.client_closed();
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TapIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let shared = &mut *self.0.lock().unwrap();
        shared.is_flushed = false;
        if shared.tap.for_wire().len() > 64 << 10 {
            ready!(shared.flush(cx))?;
        }
        shared.tap.from_hyper(bytes);
        let _ = shared.flush(cx)?;
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let shared = &mut *self.0.lock().unwrap();
        ready!(shared.flush(cx))?;
        shared.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let shared = &mut *self.0.lock().unwrap();
        loop {
            ready!(shared.flush(cx))?;
            if !shared.tap.holds() || ready!(shared.fill(cx))? == 0 {
                break;
            }
            shared.tap.for_hyper().clear();
        }
        let wire = shared.wire.as_mut().expect("it is there until the server has gone");
        Pin::new(wire).poll_shutdown(cx)
    }
}

/// Number of moves so far.
pub(super) type Moves = Arc<AtomicUsize>;

/// Serves a connection until it ends.
pub(super) async fn serve(wire: DuplexStream, plan: Plan, moves: Moves) -> Report {
    let mut report = Report::default();
    let mut shared = Shared::new(wire, Bytes::new(), Tap::fresh(plan.own));
    loop {
        let io = TapIo(Arc::new(Mutex::new(shared)));
        let ended = serve_once(io.clone(), plan, report.moves).await;
        let mut last = io.0.lock().unwrap();
        report.resets = last.tap.resets();
        if let Some(ended) = ended {
            report.error = ended.err();
            return report;
        }
        let (state, unread) = last.tap.leave();
        let ahead = [unread, std::mem::take(&mut last.ahead)].concat();
        let mut message = Vec::new();
        state.write(&mut message);
        assert_eq!(Http2State::read(&message).as_ref(), Ok(&state));
        report.moves += 1;
        moves.store(report.moves, Ordering::Relaxed);
        report.largest = report.largest.max(message.len());
        shared = Shared::new(last.wire.take().unwrap(), ahead.into(), Tap::resume(state).unwrap());
    }
}

/// One server. `None`: its connection rests.
async fn serve_once(io: TapIo, plan: Plan, moves: usize) -> Option<Result<(), String>> {
    let mut handshake = Box::pin(
        server::Builder::new()
            .max_concurrent_streams(plan.own.max_streams)
            .initial_window_size(plan.own.window)
            .initial_connection_window_size(plan.own.connection_window)
            .max_header_list_size(plan.own.head_list)
            .handshake::<_, Bytes>(io.clone()),
    );
    let (mut connection, mut requests, mut polls) = (None::<Connection<TapIo, Bytes>>, 0, 0_usize);
    std::future::poll_fn(|cx| {
        if connection.is_none() {
            match handshake.as_mut().poll(cx) {
                Poll::Ready(Ok(made)) => connection = Some(made),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.to_string()))),
                Poll::Pending => {}
            }
        }
        while let Some(connection) = &mut connection {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    requests += 1;
                    tokio::spawn(answer(request, respond));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.to_string()))),
                Poll::Ready(None) => return Poll::Ready(Some(Ok(()))),
                Poll::Pending if plan.goodbye_after.is_some_and(|after| moves >= after) && requests > 0 => {
                    connection.graceful_shutdown();
                    if connection.poll_accept(cx).is_pending() {
                        break;
                    }
                }
                Poll::Pending => break,
            }
        }
        let shared = &mut *io.0.lock().unwrap();
        let _ = shared.flush(cx);
        if let Some(times) = plan.gate.filter(|_| requests > 0) {
            if polls % (2 * times) < times {
                shared.tap.close_gate();
                cx.waker().wake_by_ref();
            } else {
                shared.tap.open_gate();
                shared.reader.take().inspect(Waker::wake_by_ref);
            }
            polls += 1;
        }
        let rests = plan.moves && shared.is_flushed && shared.has_heard && shared.tap.is_quiet();
        if rests { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let digest = digest(request.uri().path(), request.headers());
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut response = Response::builder().header("x-digest", digest).header("x-same", "always the same");
    let length = match path.split_once("/size/") {
        _ if path == "/early" => 0,
        Some((_, length)) => length.parse().unwrap(),
        None => {
            let mut length = 0;
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                length += data.len();
            }
            length
        }
    };
    if path == "/large" {
        response = response.header("x-large", "h".repeat(40_000));
    }
    let has_trailers = path == "/trailers";
    // A client may have gone.
    let Ok(mut stream) = respond.send_response(response.body(()).unwrap(), length == 0 && !has_trailers) else {
        return;
    };
    if length > 0 {
        let _ = stream.send_data(vec![b'x'; length].into(), !has_trailers);
    }
    if has_trailers {
        let _ = stream.send_trailers([("x-sum".parse().unwrap(), "1".parse().unwrap())].into_iter().collect());
    }
}

/// What must be the same at both ends.
pub(super) fn digest(path: &str, headers: &HeaderMap) -> u64 {
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    all.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (path, all).hash(&mut hasher);
    hasher.finish()
}
