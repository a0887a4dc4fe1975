//! This worker's own listener: how the supervisor asks just this worker, before and beside the public.
//!
//! It is there from the start to the end, whatever the public listeners do. `/livez`, `/readyz` and `/info` are answered
//! here, everything else by the application.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use gin_shared::inherit::{Inherited, PRIVATE, identity};
use serde_json::json;
use std::os::fd::OwnedFd;

use super::accept;
use super::connection::Shared;
use super::listeners::Listener;
use super::websocket::Kinds;
use crate::graceful::{Life, Phase};
use crate::{Config, Error};

/// Connections at once: the supervisor's, and the operators'.
const CONNECTIONS: usize = 64;

/// Serves it until the process ends.
pub(super) fn serve(fd: OwnedFd, config: &Config, life: &Life, router: &Router) -> Result<(), Error> {
    let listener = Listener::adopt(Inherited { name: PRIVATE.to_owned(), fd }).map_err(Error::Inherit)?;
    // A life of its own: what is asked here keeps no drain waiting.
    let own = Life::default();
    own.reach(Phase::Serving);
    let router = endpoints(life).fallback_service(router.clone());
    let shared = Shared::new(config.timeouts, own, router, Kinds::new(), CONNECTIONS).map_err(Error::Inherit)?;
    tokio::spawn(accept::accept(listener, shared));
    Ok(())
}

fn endpoints(life: &Life) -> Router {
    let (ready, about) = (life.clone(), life.clone());
    let readyz = async move || match ready.phase() {
        Phase::Waiting | Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::LameDuck | Phase::Draining | Phase::Cut => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    };
    let info = async move || {
        let identity = identity();
        axum::Json(json!({
            "pid": std::process::id(),
            "instance": identity.as_ref().map(|identity| &identity.instance),
            "generation": identity.as_ref().map(|identity| identity.generation),
            "slot": identity.as_ref().map(|identity| identity.slot),
            "release": identity.as_ref().and_then(|identity| identity.release.as_ref()),
            "phase": format!("{:?}", about.phase()).to_lowercase(),
            "connections": about.connections(),
            "accepted": about.accepted(),
            "taken_over": about.taken_over(),
        }))
    };
    Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz)).route("/info", get(info))
}
