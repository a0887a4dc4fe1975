//! Profiles of the CPU and of the heap.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;

use super::form::Form;
use super::{Asked, Door};
use crate::graceful::Phase;
use crate::metrics::profiles;
use crate::profile::{self, Cpu, ProfileError};
use crate::{Error, Life, Result, ResultExt};

/// Takes a profile of the CPU. It ends early when this worker drains, or when its client goes. One that begins in the drain has the time
/// that is left, if it keeps no drain waiting: on the private listener.
///
/// # Errors
/// 409 while another one of the CPU is taken; 501 if there can be none.
pub(super) async fn cpu(asked: &Asked<'_>, what: Cpu, form: Form) -> Result<Response> {
    if asked.is_head() {
        return Ok(form.head().into_response());
    }
    // A timer for each thread takes a while.
    let running = spawn_blocking(move || profile::begin(what)).await.internal()?.map_err(refused)?;
    let (life, namespace) = (asked.debug.life.clone(), asked.debug.namespace.clone());
    let until = until(asked.door, &life);
    Ok(form.later(async move {
        let profile = running.finish(async move { life.reached(until).await }).await?;
        profiles::taken(&namespace, "cpu");
        Ok(profile)
    }))
}

/// The phase of the worker that ends a profile which begins now.
pub(super) fn until(door: Door, life: &Life) -> Phase {
    match door {
        Door::Private if life.phase() >= Phase::Draining => Phase::Cut,
        Door::Private | Door::Public => Phase::Draining,
    }
}

/// Takes a profile of the heap.
///
/// # Errors
/// 409 while another one of the heap is taken; 501 if the allocator tells nothing.
pub(super) async fn heap(asked: &Asked<'_>, form: Form) -> Result<Response> {
    if asked.is_head() {
        return Ok(form.head().into_response());
    }
    let profile = profile::heap().await.map_err(refused)?;
    profiles::taken(&asked.debug.namespace, "heap");
    form.now(profile).await
}

fn refused(error: ProfileError) -> Error {
    match error {
        ProfileError::Busy => Error::conflict(error.to_string()).code("BUSY").retry_after(Duration::from_secs(1)),
        ProfileError::Signal | ProfileError::NoHeap(_) => Error::new(StatusCode::NOT_IMPLEMENTED, error.to_string()),
        ProfileError::Io(_) => Error::internal(error),
    }
}
