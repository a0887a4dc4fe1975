//! One connection, from its first byte to its last: HTTP/1.1 or HTTP/2 by preface, timers, and the drain.
//!
//! No idle connection is closed under a request that is on its way: while the worker drains, an idle HTTP/1.1 connection
//! gets one more answer, with `Connection: close`; only when none was asked for within `timeouts.idle_grace`, and no byte
//! has come, is it closed. HTTP/2 has GOAWAY for that.

use std::convert::Infallible;
use std::future::Future;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, Version, header};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

use super::activity::{Activity, Verdict};
use super::io::{Held, Io, Stream, has_bytes};
use crate::config::Timeouts;
use crate::graceful::{Life, Phase};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes have come in the very moment of closing: hyper gets this long to see them.
const SECOND_LOOK: Duration = Duration::from_millis(10);

/// What all connections of a worker share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) life: Life,
    timeouts: Timeouts,
    router: Router,
}

impl Shared {
    pub(super) fn new(timeouts: Timeouts, life: Life, router: Router) -> Self {
        Self { life, timeouts, router }
    }
}

/// Serves it. What a client does wrong ends its connection and nothing else.
pub(super) async fn serve(stream: Stream, held: Held, shared: Arc<Shared>) {
    let activity = Arc::new(Activity::new());
    let mut io = Io::new(stream, held, Arc::clone(&activity));
    let fd = io.raw_fd();
    let protocol = tokio::select! {
        biased;
        protocol = sniff(&mut io, Timer::new(&shared, &activity)) => protocol,
        () = shared.life.reached(Phase::Cut) => return,
    };
    let service = service_fn({
        let (shared, activity) = (Arc::clone(&shared), Arc::clone(&activity));
        move |request| answer(request, Arc::clone(&shared), Arc::clone(&activity))
    });
    let timer = Timer::new(&shared, &activity);
    match protocol {
        Protocol::Http2 => {
            activity.speak_http2();
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(io), service);
            keep(connection, http2::Connection::graceful_shutdown, fd, timer, true).await;
        }
        Protocol::Http1 => {
            // Without a timer hyper has no timeouts of its own: ours know a head from idleness.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service).with_upgrades();
            keep(connection, http1::UpgradeableConnection::graceful_shutdown, fd, timer, false).await;
        }
        Protocol::None => {
            tokio::select! { _ = io.shutdown() => {}, () = shared.life.reached(Phase::Cut) => {} }
        }
    }
}

/// What a client speaks.
enum Protocol {
    Http1,
    Http2,
    /// Nothing came in time, or the client has left.
    None,
}

/// Reads until it is clear which protocol is spoken.
async fn sniff(io: &mut Io, mut timer: Timer<'_>) -> Protocol {
    let mut start = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() && start[..length] == PREFACE[..length] {
        tokio::select! {
            biased;
            read = io.read(&mut start[length..]) => match read {
                Ok(count) if count > 0 => length += count,
                Ok(_) | Err(_) => return Protocol::None,
            },
            verdict = timer.next() => match verdict {
                Verdict::Wait(_) => {}
                Verdict::CloseIdle if has_bytes(io.raw_fd()) => timer.look_again(),
                Verdict::CloseIdle | Verdict::Abort(_) => return Protocol::None,
            },
        }
    }
    io.unread(Bytes::copy_from_slice(&start[..length]));
    if start[..length] == PREFACE[..] { Protocol::Http2 } else { Protocol::Http1 }
}

/// Drives a connection, and its timer beside it.
async fn keep<C>(connection: C, mut close: impl FnMut(Pin<&mut C>), fd: RawFd, mut timer: Timer<'_>, is_http2: bool)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = std::pin::pin!(connection);
    let life = &timer.shared.life;
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection: {error}");
                }
                return;
            }
            verdict = timer.next(), if !closing => match verdict {
                Verdict::Wait(_) if is_http2 && timer.draining.is_some() => {
                    closing = true;
                    close(connection.as_mut());
                }
                Verdict::Wait(_) => {}
                Verdict::CloseIdle if has_bytes(fd) => timer.look_again(),
                Verdict::CloseIdle => {
                    closing = true;
                    close(connection.as_mut());
                }
                Verdict::Abort(why) => {
                    tracing::debug!("connection dropped: {why}");
                    return;
                }
            },
            () = life.reached(Phase::Cut) => {
                return;
            }
        }
    }
}

/// A connection's one timer: coarse, and re-armed only when it fires.
struct Timer<'a> {
    shared: &'a Shared,
    activity: &'a Activity,
    draining: Option<Instant>,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl<'a> Timer<'a> {
    fn new(shared: &'a Shared, activity: &'a Activity) -> Self {
        let sleep = Box::pin(tokio::time::sleep(shared.timeouts.read.min(shared.timeouts.idle)));
        Self { shared, activity, draining: None, sleep }
    }

    /// What is to be done, when it is time or the worker begins to drain.
    async fn next(&mut self) -> Verdict {
        tokio::select! {
            () = self.shared.life.draining(), if self.draining.is_none() => self.draining = Some(Instant::now()),
            () = self.sleep.as_mut() => {}
        }
        let verdict = self.activity.verdict(Instant::now(), &self.shared.timeouts, self.draining);
        if let Verdict::Wait(until) = verdict {
            self.sleep.as_mut().reset(until.into());
        }
        verdict
    }

    fn look_again(&mut self) {
        self.sleep.as_mut().reset((Instant::now() + SECOND_LOOK).into());
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
) -> Result<Response<Guarded>, Infallible> {
    activity.begin();
    let guard = Busy(activity);
    let is_http1 = request.version() <= Version::HTTP_11;
    let mut response = match shared.router.clone().oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if is_http1 && shared.life.phase() >= Phase::Draining && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Guarded { body, _guard: guard }))
}

/// A request is being answered for as long as this lives.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A response's body; its end is the end of the request.
struct Guarded {
    body: Body,
    _guard: Busy,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
