//! The worker's own listener: over it the supervisor asks just this worker, before and beside the public.
//!
//! This listener is there from the start to the end, whatever the public ones do. All of the system's endpoints are answered here
//! ([`crate::system`]), with `features.pprof` those under `/debug/`, everything else by the application. Its connections keep no drain
//! waiting.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::Router;
use gin_shared::inherit::{Inherited, PRIVATE};

use crate::connections::{Hub, Listener, accept::accept};
use crate::graceful::{Life, Phase};
use crate::websocket::KnownSessions;
use crate::{Config, StartError};

/// Number of connections at once: the supervisor's, and the operators'.
const CONNECTIONS: usize = 64;

/// Serves it until the process ends.
pub(super) fn serve(fd: OwnedFd, config: &Config, endpoints: Router, router: &Router) -> Result<(), StartError> {
    let listener = Listener::adopt(Inherited { name: PRIVATE.to_owned(), fd }).map_err(StartError::Inherit)?;
    // A life of its own, so that its connections are not counted with the others.
    let own = Life::default();
    own.reach(Phase::Serving);
    let router = endpoints.fallback_service(router.clone());
    let sessions = Arc::new(KnownSessions::default());
    let hub = Hub::start(config, own, router, sessions, CONNECTIONS).map_err(StartError::Inherit)?;
    tokio::spawn(accept(listener, hub));
    Ok(())
}
