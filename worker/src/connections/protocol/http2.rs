//! HTTP/2: served by hyper until it ends. Such a connection is neither parked nor handed over: its state is hyper's.
//!
//! In a drain, and when it has been idle for too long, the client is told by GOAWAY, and has `timeouts.idle_grace` to close.

use std::sync::Arc;
use std::time::Instant;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::connections::activity::Due;
use crate::connections::bounds::Bounds;
use crate::connections::connection::ConnectionInfo;
use crate::connections::context::{Connection, Context};
use crate::connections::io::Io;
use crate::connections::machine::HOLD;
use crate::connections::protocol::answer::answer;
use crate::connections::protocol::left::report;
use crate::connections::protocol::timer::Timer;
use crate::connections::streams::{Streams, Verdict};
use crate::graceful::Phase;

/// Bytes of a body that a client may send before they are read.
const WINDOW: u32 = 64 << 10;
/// Time for the answer to a PING, in `timeouts.read`: it may have to wait behind a slow download.
const PONG: u32 = 4;
/// Largest window of a connection (RFC 9113, section 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Bytes of a response that hyper takes before the client has taken them.
const SEND_MAX: usize = 64 << 10;

/// Serves a connection that speaks HTTP/2.
pub(super) async fn serve(io: Io, context: &Arc<Context>, mut timer: Timer<'_>, info: ConnectionInfo) {
    let activity = timer.activity;
    let (probe, spread) = (io.probe(), timer.spread);
    activity.speak_http2();
    let bounds = &context.drain.bounds;
    let streams = Streams::new(usize::try_from(bounds.limits.body).unwrap_or(usize::MAX));
    let (known, own) = (Arc::clone(activity), Connection::new(info, context, Some(Arc::clone(&streams))));
    let service = service_fn(move |request| answer(request, own.clone(), &known, spread));
    let connection = builder(&streams, bounds).serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut closing: Option<Instant> = None;
    loop {
        let due = tokio::select! {
            biased;
            ended = connection.as_mut() => return report(ended),
            due = timer.next() => due,
            () = context.drain.life.reached(Phase::Cut) => return,
        };
        let grace = context.drain.bounds_now().timeouts.idle_grace.max(HOLD);
        match streams.look(Instant::now(), bounds) {
            Verdict::Wait(next) => timer.look_by(next),
            Verdict::EndConnection => return tracing::debug!("connection dropped: the client takes nothing"),
        }
        let closes = match (due, closing) {
            (Due::Abort(why), _) => return tracing::debug!("connection dropped: {why}"),
            // A client that is there has answered (h2 asks it by a PING), and closed.
            (_, Some(began)) => match activity.idle_since() {
                // What it has not taken yet is looked after by its stream.
                Some(since) if since.max(began).elapsed() >= grace && !streams.has_waiting() => return,
                Some(_) | None => {
                    timer.look(grace);
                    false
                }
            },
            (Due::Wait(_) | Due::CloseIdle, None) if timer.is_draining() => true,
            (Due::Wait(_) | Due::Park, None) => false,
            (Due::CloseIdle, None) if streams.has_waiting() => {
                timer.look(grace);
                false
            }
            (Due::CloseIdle, None) => timer.closes(probe.has_bytes()),
        };
        if closes {
            closing = Some(Instant::now());
            activity.ending.tell();
            connection.as_mut().graceful_shutdown();
            timer.look(grace);
        }
    }
}

/// Settings of hyper: streams that a connection may have open, and bytes that it may hold.
fn builder(streams: &Arc<Streams>, bounds: &Bounds) -> http2::Builder<StreamTasks> {
    let Bounds { timeouts, limits } = bounds;
    let mut builder = http2::Builder::new(StreamTasks(Arc::clone(streams)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head)
        // Room for what each stream may send: bodies that wait for their turn must not keep back the one that has it.
        .initial_connection_window_size(WINDOW.saturating_mul(limits.streams).min(WINDOW_MAX))
        .initial_stream_window_size(WINDOW)
        .max_send_buf_size(SEND_MAX)
        // A client that is gone, while its requests are answered, is noticed by a PING without an answer.
        .keep_alive_interval(Some(timeouts.idle))
        .keep_alive_timeout(timeouts.read * PONG);
    builder
}

/// Spawns a task for each stream, and lets the streams know it.
#[derive(Clone)]
struct StreamTasks(Arc<Streams>);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawned(tokio::spawn(stream).abort_handle());
    }
}
