//! Accepts connections of one listener, as long as there is room for them and until the worker drains.

use std::sync::Arc;
use std::time::Duration;

use crate::connections::connection::ActiveConnection;
use crate::connections::hub::Hub;
use crate::connections::listener::Listener;
use crate::connections::room::Slot;
use crate::graceful::Phase;

/// Pause after an error such as too many open files: some may be closed meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the worker drains.
pub(crate) async fn accept(listener: Listener, hub: Arc<Hub>) {
    let name: Arc<str> = Arc::from(listener.name.as_str());
    let mut phases = hub.life().phases();
    let mut is_failing = false;
    loop {
        // Room first: a connection that there is no room for waits in the queue, where another worker may take it.
        let accepted = tokio::select! {
            biased;
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return,
            accepted = async {
                let slot = slot(&hub).await;
                (listener.accept().await, slot)
            } => accepted,
        };
        match accepted {
            (Ok(stream), slot) => {
                is_failing = false;
                let peer = stream.peer();
                match hub.room().place(slot, peer.map(|peer| peer.ip())) {
                    Some(place) => {
                        Arc::clone(&hub).serve(ActiveConnection::accepted(stream, peer, place, Arc::clone(&name)));
                    }
                    // It has as many as one client may have.
                    None => hub.life().count_refused(),
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

/// A slot for the next connection. Where there is none, the longest idle connections make room.
async fn slot(hub: &Hub) -> Slot {
    if let Some(slot) = hub.room().free_slot() {
        return slot;
    }
    loop {
        hub.make_room();
        tokio::select! {
            biased;
            slot = hub.room().slot() => return slot,
            // All may have been busy: look again.
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
