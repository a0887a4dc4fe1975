//! HTTP/1.1: served by hyper until the connection ends, is upgraded, or pauses and is to leave.
//!
//! No connection is closed under a request that is on its way. Where no other worker takes it, an idle connection gets one more answer
//! in a drain, with `Connection: close`. It is closed only when no request came within `timeouts.idle_grace`, and no byte has come.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::connections::activity::Due;
use crate::connections::connection::{ActiveConnection, ConnectionInfo};
use crate::connections::context::{Connection, Context};
use crate::connections::io::Io;
use crate::connections::protocol::answer::answer;
use crate::connections::protocol::left::{Left, join, report};
use crate::connections::protocol::timer::Timer;
use crate::graceful::Phase;

/// Fields of a head without a word of ours. hyper has room for these on the stack, and allocates for any other number.
const HYPERS_FIELDS: u32 = 100;

/// Serves a connection that speaks HTTP/1.1.
pub(super) async fn serve(io: Io, context: &Arc<Context>, mut timer: Timer<'_>, info: ConnectionInfo) -> Left {
    let activity = timer.activity;
    let (probe, before, spread) = (io.probe(), activity.requests(), timer.spread);
    let (known, own) = (Arc::clone(activity), Connection::new(info.clone(), context, None));
    let service = service_fn(move |request| answer(request, own.clone(), &known, spread));
    // Without a timer hyper has no timeouts of its own: ours tell a head from idleness.
    // A client that has closed its side after its request (`nc -N`) gets its answer all the same.
    let limits = context.drain.bounds.limits;
    let mut builder = http1::Builder::new();
    // hyper may read more than a head into its buffer, and looks at the buffer's size only while the head has no end: so the head's own
    // size is set, too. It is that of a chunked body's trailers as well.
    let head = limits.head as usize;
    builder.half_close(true).max_buf_size(head).max_header_size(head);
    if limits.head_fields != HYPERS_FIELDS {
        builder.max_headers(limits.head_fields as usize);
    }
    let mut connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    let mut is_closing = false;
    let progress = loop {
        // All that hyper can do now is done when it is pending: what it holds then is no more than what was read ahead.
        let check = timer.pause_check();
        let step = poll_fn(|cx| {
            let has_unread = activity.is_unread();
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Err(ended));
            }
            if has_unread {
                activity.passed_over();
            }
            let idle = if check.leaves(|| activity.requests() > before) { activity.idle() } else { None };
            idle.map_or(Poll::Pending, |progress| Poll::Ready(Ok(progress)))
        });
        tokio::select! {
            biased;
            step = step => match step {
                Ok(progress) => break progress,
                Err(ended) => {
                    report(ended);
                    return if activity.is_upgraded() { Left::Upgraded } else { Left::Closed };
                }
            },
            due = timer.next_duty(), if !is_closing => match due {
                // The worker begins to drain.
                Some(Due::Wait(_)) => {}
                Some(Due::Park) => if let Some(progress) = activity.idle() {
                    break progress;
                },
                Some(Due::CloseIdle) => if timer.closes(probe.has_bytes()) {
                    is_closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                },
                Some(Due::Abort(why)) => {
                    tracing::debug!("connection dropped: {why}");
                    return Left::Closed;
                }
                None => return Left::Closed,
            },
            () = context.drain.life.reached(Phase::Cut), if is_closing => return Left::Closed,
        }
    };
    let Some(parts) = connection.into_parts() else { return Left::Closed };
    let (stream, place, unread) = parts.io.into_inner().into_parts();
    let (info, progress) = (info.released(), progress.with(&parts.read_buf));
    let ahead = join(parts.read_buf, unread);
    Left::Paused(ActiveConnection { stream, place, info, progress, ahead, http2: None })
}
