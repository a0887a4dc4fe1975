//! Accepts connections of one listener, as long as there is room for them and until the worker drains.

use std::sync::Arc;
use std::time::Duration;

use crate::connections::connection::ActiveConnection;
use crate::connections::hub::Hub;
use crate::connections::listener::Listener;
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
                let slot = hub.room().slot().await;
                (listener.accept().await, slot)
            } => accepted,
        };
        match accepted {
            (Ok(stream), slot) => {
                is_failing = false;
                let place = hub.room().place(slot);
                Arc::clone(&hub).serve(ActiveConnection::accepted(stream, place, Arc::clone(&name)));
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
