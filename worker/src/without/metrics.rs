//! In place of the metrics, without the feature `metrics`.

use std::future::{Ready, ready};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use axum::http::{Extensions, Method, StatusCode};
use bytes::Bytes;
use tokio::task::JoinError;

use crate::Life;
use crate::config::Config;

/// No metrics of applications are known, so none is wrong.
pub(crate) fn check(_: &str) -> Result<(), String> {
    Ok(())
}

/// Counts of profiles that nobody keeps.
#[cfg(feature = "profile")]
pub(crate) mod profiles {
    pub(crate) fn taken(_: &str, _: &'static str) {}
}

/// Counts of spans that nobody keeps.
#[cfg(feature = "otel")]
pub(crate) mod traces {
    use std::sync::Arc;

    use gin_otlp::{Counts, Outcome};

    struct Uncounted;

    impl Counts for Uncounted {
        fn add(&self, _: Outcome, _: u64) {}
    }

    pub(crate) fn counts(_: &str) -> Arc<dyn Counts> {
        Arc::new(Uncounted)
    }

    pub(crate) async fn sampled(_: &str, _: impl Fn() -> usize, sending: impl Future<Output = ()>) {
        sending.await;
    }
}

/// There is nothing to count.
pub(crate) fn attach(_: &'static Registry) {}

/// No memory for metrics.
#[derive(Debug)]
pub(crate) struct Registry(());

impl Registry {
    pub(crate) fn new(_: &str, _: u32, _: Option<OwnedFd>) -> &'static Self {
        &Self(())
    }
}

/// Counts of connections that nobody keeps.
#[derive(Debug)]
pub(crate) struct ConnectionCounts(());

impl ConnectionCounts {
    pub(crate) fn opened(&self) {}

    pub(crate) fn closed(&self) {}

    pub(crate) fn accepted(&self, _: usize) {}

    pub(crate) fn taken_over(&self, _: usize) {}

    pub(crate) fn closed_for_room(&self, _: usize) {}

    pub(crate) fn handed_over_for_room(&self, _: usize) {}

    pub(crate) fn refused(&self) {}

    pub(crate) fn drained(&self, _: usize, _: usize) {}

    pub(crate) fn handed_over(&self, _: usize) {}

    pub(crate) fn parked(&self, _: usize, _: bool) {}

    pub(crate) fn handshake(&self, _: usize, _: Option<Duration>) {}

    pub(crate) fn proxy_refused(&self, _: usize) {}
}

/// Metrics that nobody counts.
#[derive(Debug)]
pub(crate) struct Metrics(());

impl Metrics {
    pub(crate) fn new(_: &'static Registry, _: &Config, _: &str, _: &Life) -> &'static Self {
        &Self(())
    }

    pub(crate) fn scrape(&self, _: bool, _: &str) -> Ready<Result<(&'static str, Bytes), JoinError>> {
        ready(Ok(("text/plain", Bytes::new())))
    }
}

/// A request that is not counted.
#[derive(Debug)]
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn begin(_: &'static Metrics, _: &Method, _: &Extensions, _: Instant) -> Self {
        Self(())
    }

    pub(crate) fn answered(&self, _: StatusCode) {}
}
