//! Accepts connections of one listener, as long as there is room for them and until the worker drains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connections::connection::ActiveConnection;
use crate::connections::hub::Hub;
use crate::connections::listener::Listener;
use crate::connections::room::Slot;
use crate::connections::turn::Turns;
use crate::graceful::Phase;

/// Pause after an error such as too many open files: some may be closed meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the worker drains.
pub(crate) async fn accept(listener: Listener, hub: Arc<Hub>) {
    let mut phases = hub.life().phases();
    let (mut is_failing, mut asked) = (false, None);
    let mut turns = Turns::default();
    loop {
        // Room first: a connection that there is no room for waits in the queue, where another worker may take it.
        let accepted = tokio::select! {
            biased;
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return,
            accepted = async {
                let slot = slot(&listener, &hub, &mut asked).await;
                (listener.accept().await, slot)
            } => accepted,
        };
        match accepted {
            (Ok(stream), slot) => {
                is_failing = false;
                let (peer, facts) = (stream.peer(), Arc::clone(listener.facts()));
                // Behind a proxy the client's address is not known yet: it comes in the header.
                let client = peer.filter(|_| facts.proxy.is_none()).map(|peer| peer.ip());
                match hub.room().place(slot, client) {
                    Some(place) => {
                        Arc::clone(&hub).serve(ActiveConnection::accepted(stream, peer, place, facts));
                    }
                    // It has as many as one client may have.
                    None => hub.life().count_refused(),
                }
                if let Some(pause) = turns.after_accept(Instant::now(), hub.life().connections(), hub.peers()) {
                    tokio::time::sleep(pause).await;
                }
            }
            (Err(error), _) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(name = listener.name, "accept: {error}; trying again every {PAUSE:?}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection that no listener has accepted: one end of a socket pair.
#[cfg(any(test, fuzzing))]
pub(crate) fn serve_pair(hub: &Arc<Hub>, stream: std::os::unix::net::UnixStream) -> std::io::Result<()> {
    use crate::connections::connection::ListenerFacts;
    use crate::connections::transport::RawStream;
    use crate::tls::TlsContext;

    let full = || std::io::Error::other("there is no room for one more connection");
    let slot = hub.room().free_slot().ok_or_else(full)?;
    let place = hub.room().place(slot, None).ok_or_else(full)?;
    let stream = RawStream::Unix(stream).into_stream(None, &TlsContext::none())?;
    let facts = Arc::new(ListenerFacts::named("pair"));
    Arc::clone(hub).serve(ActiveConnection::accepted(stream, None, place, facts));
    Ok(())
}

/// A slot for the next connection. Where there is none, and somebody waits, the longest idle connections make room.
/// `asked`: when that was last.
async fn slot(listener: &Listener, hub: &Hub, asked: &mut Option<Instant>) -> Slot {
    if let Some(slot) = hub.room().free_slot() {
        return slot;
    }
    loop {
        // Nothing wakes a task whose listener is not accepted from.
        if asked.is_none_or(|asked| asked.elapsed() >= PAUSE) && listener.has_waiting() {
            hub.make_room();
            *asked = Some(Instant::now());
        }
        tokio::select! {
            biased;
            slot = hub.room().slot() => return slot,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
