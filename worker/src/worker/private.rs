//! This worker's own listener: how the supervisor asks just this worker, before and beside the public.
//!
//! It is there from the start to the end, whatever the public listeners do. The system's endpoints are answered here, all of them
//! ([`crate::system`]), everything else by the application.

use axum::Router;
use gin_shared::inherit::{Inherited, PRIVATE};
use std::os::fd::OwnedFd;

use crate::connections::accept;
use crate::connections::listener::Listener;
use crate::connections::protocol::http1::Shared;
use crate::graceful::{Life, Phase};
use crate::websocket::Kinds;
use crate::{Config, StartError};

/// Connections at once: the supervisor's, and the operators'.
const CONNECTIONS: usize = 64;

/// Serves it until the process ends.
pub(crate) fn serve(fd: OwnedFd, config: &Config, endpoints: Router, router: &Router) -> Result<(), StartError> {
    let listener = Listener::adopt(Inherited { name: PRIVATE.to_owned(), fd }).map_err(StartError::Inherit)?;
    // A life of its own: what is asked here keeps no drain waiting.
    let own = Life::default();
    own.reach(Phase::Serving);
    let router = endpoints.fallback_service(router.clone());
    let shared = Shared::new(config.timeouts, own, router, Kinds::new(), CONNECTIONS).map_err(StartError::Inherit)?;
    tokio::spawn(accept::accept(listener, shared));
    Ok(())
}
