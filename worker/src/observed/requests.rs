//! Requests and tasks that are alive, and the polls of them that block their thread.

#![allow(dead_code, reason = "nothing enters it yet")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;

use crate::request_id::RequestId;

/// Requests and tasks that are alive.
#[derive(Debug)]
pub(crate) struct Requests(());

/// A request or a task that is alive.
#[derive(Debug)]
pub(crate) struct Alive {
    pub(crate) what: What,
    pub(crate) since: Instant,
}

/// Something that is polled.
#[derive(Debug)]
pub(crate) enum What {
    Request { method: Method, route: &'static str, id: RequestId },
    Task { name: Arc<str> },
}

/// A request or a task, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(());

/// Polls that have blocked their thread, of one route or task.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) name: String,
    pub(crate) handler: Option<String>,
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

impl Requests {
    /// Makes the list. A poll that takes longer than `block` blocks its thread.
    pub(crate) fn new(_: Duration) -> &'static Self {
        &Self(())
    }

    /// Adds a request or a task.
    #[inline(always)]
    pub(crate) fn enter(&'static self, _: What) -> Watch {
        Watch(())
    }

    /// All that are alive, the oldest first.
    pub(crate) fn alive(&self) -> Vec<Arc<Alive>> {
        Vec::new()
    }

    /// Polls that have blocked their thread, by route or task.
    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        Vec::new()
    }
}

impl Watch {
    /// Runs one poll.
    #[inline(always)]
    pub(crate) fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }
}
