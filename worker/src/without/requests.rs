//! In place of `observed::requests`, without the feature `profile`: no request and no task is known.

#![allow(dead_code, reason = "the rest uses what it needs of the names of `observed::requests`")]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;

use crate::request_id::RequestId;

/// Requests and tasks that are alive: none is known.
#[derive(Debug)]
pub(crate) struct Requests(());

impl Requests {
    pub(crate) fn new(_: Duration) -> &'static Self {
        &Self(())
    }

    #[inline(always)]
    pub(crate) fn enter(&'static self, _: What) -> Watch {
        Watch(())
    }
}

/// Something that is polled.
#[derive(Debug)]
pub(crate) enum What {
    Request { method: Method, route: &'static str, id: RequestId },
    Task { name: Arc<str> },
}

/// A request or a task that nobody watches.
#[derive(Debug)]
pub(crate) struct Watch(());

impl Watch {
    #[inline(always)]
    pub(crate) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }

    #[inline(always)]
    pub(crate) fn body(&self, body: Body, _: u8) -> Body {
        body
    }
}

/// A thing that is waited for: nothing is.
#[derive(Debug)]
#[must_use]
pub(crate) struct Waiting(());

/// Nothing waits.
#[inline(always)]
pub(crate) fn wait_for(_: u8) -> Option<Waiting> {
    None
}
