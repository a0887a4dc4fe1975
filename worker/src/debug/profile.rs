//! Profiles of the CPU and of the heap.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::form::Form;
use super::{Asked, Door};
use crate::graceful::Phase;
use crate::profile::{self, Cpu, ProfileError};
use crate::{Error, Life, Result};

/// Takes a profile of the CPU. It ends early when this worker drains, or when its client goes. One that begins in the drain has the time
/// that is left, if it keeps no drain waiting: on the private listener.
///
/// # Errors
/// 409 while another one is taken; 501 if there can be none.
pub(super) fn cpu(asked: &Asked<'_>, what: Cpu, form: Form) -> Result<Response> {
    if asked.is_head() {
        return Ok(form.head().into_response());
    }
    let running = profile::begin(what).map_err(refused)?;
    let life = asked.debug.life.clone();
    let until = until(asked.door, &life);
    Ok(form.later(running.finish(async move { life.reached(until).await })))
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
/// 501 if the allocator tells nothing.
pub(super) async fn heap(form: Form) -> Result<Response> {
    form.now(profile::heap().await.map_err(refused)?).await
}

fn refused(error: ProfileError) -> Error {
    match error {
        ProfileError::Busy => Error::conflict(error.to_string()).code("BUSY").retry_after(Duration::from_secs(1)),
        ProfileError::Signal | ProfileError::NoHeap(_) => Error::new(StatusCode::NOT_IMPLEMENTED, error.to_string()),
        ProfileError::Io(_) => Error::internal(error),
    }
}
