//! Protocols that are spoken on a connection: HTTP/1.1, HTTP/2, and the one to which HTTP/1.1 was upgraded.
//!
//! What comes before a protocol, as the handshake of TLS, is in `open`. A protocol serves an active connection until it leaves, and
//! returns how it left: [`Left`]. It decides nothing else: not where the connection waits, nor who has it next. A further protocol that stays until its end is a file here, and a line in
//! [`serve`]. One that is parked or handed over must be told from HTTP/1.1 in `ActiveConnection` and in `gin_shared::handover`, too.
//!
//! Between two requests nothing of an HTTP/1.1 connection is in hyper but a few bytes read ahead. So it can be taken out at any such
//! moment, and be parked, handed over, and served again. So can one of HTTP/2, with its state, when it rests: see `http2`. A WebSocket
//! belongs to its handler ([`crate::websocket`]), which gives it back between two messages.

mod answer;
mod events;
mod goodbye;
mod http1;
mod http2;
mod left;
mod open;
mod redirect;
mod request;
mod response;
mod sniff;
mod timer;
mod well_formed;

use std::sync::Arc;

use crate::connections::activity::Activity;
use crate::connections::connection::{ActiveConnection, Opening};
use crate::connections::context::Context;
use crate::connections::io::Io;
use crate::connections::machine::State;
use crate::graceful::Spoken;
pub(crate) use goodbye::{close, say_goodbye};
pub(crate) use left::Left;
use open::{Opened, open};
pub(crate) use request::Verdict as BodyVerdict;
use sniff::{Sniffed, sniff};
use timer::Timer;

/// Serves a connection until it leaves. A client's mistake ends its connection and nothing else.
pub(crate) async fn serve(connection: ActiveConnection, context: &Arc<Context>) -> Left {
    let connection = match connection.info.stage {
        Opening::Done => connection,
        // The future of a handshake is large, and cleartext does not pay for it.
        Opening::Proxy | Opening::Handshake => match Box::pin(open(connection, context)).await {
            Opened::Ready(connection) => connection,
            Opened::Paused(connection) => return Left::Paused(connection),
            Opened::Nothing => return Left::Closed,
        },
    };
    let ActiveConnection { stream, place, info, progress, ahead, http2: state } = connection;
    let activity = Arc::new(Activity::resume(&progress));
    if info.tls.is_some() {
        activity.speak_tls();
    }
    let mut io = Io::new(stream, place, ahead, Arc::clone(&activity), &context.drain.bounds);
    // A later request says nothing new of the protocol.
    if state.is_some() || progress.requests > 0 {
        let timer = Timer::new(&context.drain, &activity, State::Active(info.hold), info.opened);
        return match state {
            None => http1::serve(io, context, timer, info).await,
            // Connections of HTTP/1.1 do not pay for the size of this future.
            Some(_) => Box::pin(http2::serve(io, state, context, timer, info)).await,
        };
    }
    let mut timer = Timer::new(&context.drain, &activity, State::Accepted(info.hold), info.opened);
    match sniff(&mut io, &mut timer).await.settled_by(info.tls.as_deref()) {
        Sniffed::Http1 => {
            activity.ending.speaks(Spoken::Http1);
            http1::serve(io, context, timer, info).await
        }
        Sniffed::Http2 => Box::pin(http2::serve(io, None, context, timer, info)).await,
        Sniffed::Paused => {
            let (stream, place, ahead) = io.into_parts();
            match activity.idle() {
                Some(progress) => {
                    let info = info.released();
                    Left::Paused(ActiveConnection { stream, place, info, progress, ahead, http2: None })
                }
                None => Left::Closed,
            }
        }
        Sniffed::Nothing => {
            close(io, context).await;
            Left::Closed
        }
    }
}
