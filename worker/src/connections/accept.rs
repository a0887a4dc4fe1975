//! Takes connections off a listener, as long as there is room for them and until the worker drains.

use std::sync::Arc;
use std::time::Duration;

use crate::connections::connection::Live;
use crate::connections::io::Held;
use crate::connections::listener::Listener;
use crate::connections::protocol::http1::{Shared, serve};
use crate::graceful::Phase;

/// After an error such as too many open files: some may be closed meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn accept(listener: Listener, shared: Arc<Shared>) {
    let name: Arc<str> = Arc::from(listener.name.as_str());
    let mut phases = shared.life.phases();
    let mut failing = false;
    loop {
        // Room first: what we have no room for waits in the queue, where another worker may take it.
        let accepted = tokio::select! {
            biased;
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return,
            accepted = async {
                let slot = Arc::clone(&shared.slots).acquire_owned().await.ok();
                (listener.accept().await, slot)
            } => accepted,
        };
        match accepted {
            (Ok(stream), slot) => {
                failing = false;
                let held = Held { open: shared.life.open(), slot };
                tokio::spawn(serve(Live::accepted(stream, held, Arc::clone(&name)), Arc::clone(&shared)));
            }
            (Err(error), _) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(name = listener.name, "accept: {error}; trying again every {PAUSE:?}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
