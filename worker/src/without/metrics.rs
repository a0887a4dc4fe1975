//! In place of the middleware's numbers, without the feature `metrics`.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{Extensions, Method, StatusCode};

use crate::Life;

/// The media type of no numbers.
pub(crate) const CONTENT_TYPE: &str = "text/plain";

/// Numbers that nobody counts.
#[derive(Debug)]
pub(crate) struct Metrics(());

impl Metrics {
    pub(crate) fn new(_: &str) -> Arc<Self> {
        Arc::new(Self(()))
    }

    pub(crate) fn text(&self, _: &Life) -> String {
        String::new()
    }
}

/// A request that is not counted.
#[derive(Debug)]
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn begin(_: &Metrics, _: &Method, _: &Extensions, _: Instant) -> Self {
        Self(())
    }

    pub(crate) fn answered(&self, _: StatusCode) {}
}
