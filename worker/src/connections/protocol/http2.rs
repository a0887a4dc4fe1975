//! HTTP/2: served by hyper until it ends. Such a connection is neither parked nor handed over: its state is hyper's.
//!
//! In a drain, and when it has been idle for too long, the client is told by GOAWAY, and has `timeouts.idle_grace` to close.

use std::sync::Arc;
use std::time::Instant;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::connections::activity::Due;
use crate::connections::connection::ConnectionInfo;
use crate::connections::context::{Connection, Context};
use crate::connections::io::Io;
use crate::connections::machine::HOLD;
use crate::connections::protocol::answer::answer;
use crate::connections::protocol::left::report;
use crate::connections::protocol::timer::Timer;
use crate::graceful::Phase;

/// Serves a connection that speaks HTTP/2.
pub(super) async fn serve(io: Io, context: &Arc<Context>, mut timer: Timer<'_>, info: ConnectionInfo) {
    let activity = timer.activity;
    let probe = io.probe();
    activity.speak_http2();
    let (known, own) = (Arc::clone(activity), Connection::new(info, context));
    let service = service_fn(move |request| answer(request, own.clone(), &known));
    let connection =
        http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut closing: Option<Instant> = None;
    let grace = context.drain.timeouts.idle_grace.max(HOLD);
    loop {
        let due = tokio::select! {
            biased;
            ended = connection.as_mut() => return report(ended),
            due = timer.next() => due,
            () = context.drain.life.reached(Phase::Cut) => return,
        };
        let closes = match (due, closing) {
            (Due::Abort(why), _) => return tracing::debug!("connection dropped: {why}"),
            // A client that is there has answered (h2 asks it by a PING), and closed.
            (_, Some(began)) => match activity.idle_since() {
                Some(since) if since.max(began).elapsed() >= grace => return,
                Some(_) | None => {
                    timer.look(grace);
                    false
                }
            },
            (Due::Wait(_) | Due::CloseIdle, None) if timer.is_draining() => true,
            (Due::Wait(_) | Due::Park, None) => false,
            (Due::CloseIdle, None) => timer.closes(probe.has_bytes()),
        };
        if closes {
            closing = Some(Instant::now());
            if timer.is_draining() {
                context.drain.life.tally().closes();
            }
            connection.as_mut().graceful_shutdown();
            timer.look(grace);
        }
    }
}
