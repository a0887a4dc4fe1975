//! Metrics of a service, for Prometheus: those of its requests and connections, and the application's own.
//!
//! Metrics of the application: one call makes a counter, a gauge or a histogram. It can be made anywhere and at any time, also before the
//! server starts; the same call once more gives the same one.
//!
//! ```
//! use std::sync::LazyLock;
//! use std::time::Instant;
//!
//! use gin_worker::metrics::{Counter, Histogram, counter, gauge, histogram};
//! use gin_worker::testing::TestServer;
//! use gin_worker::{Config, Server};
//!
//! static ORDERS: LazyLock<Counter> = LazyLock::new(|| counter("shop_orders", "Orders that were placed"));
//! static BREWING: LazyLock<Histogram> =
//!     LazyLock::new(|| histogram("shop_brewing_seconds", "Time to make a cup", &[0.5, 1.0, 30.0]));
//!
//! async fn order() -> &'static str {
//!     let began = Instant::now();
//!     ORDERS.with(&[("kind", "tea")]).add(1);
//!     gauge("shop_cups", "Cups in the cupboard").set(11.0);
//!     BREWING.observe(began.elapsed().as_secs_f64());
//!     "ordered"
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let mut config = Config::<()>::default();
//! config.server.public.push("/metrics".to_owned());
//!
//! let app = TestServer::start(Server::new(&config).post("/orders", order)).await;
//! app.post("/orders").send().await.assert_status(200);
//! let text = app.get("/metrics").send().await.text();
//! for line in ["shop_orders_total{kind=\"tea\"} 1", "shop_cups 11", "shop_brewing_seconds_count 1"] {
//!     assert!(text.contains(line), "{text}");
//! }
//! # }
//! ```
//!
//! # What is told
//!
//! Under a supervisor all workers count in one memory. So `/metrics` tells the sum over all workers, whichever of them answers, and counters
//! and histograms go on when workers are replaced, end or are killed. Gauges are those of the workers that live. `/metrics?by=worker`
//! tells the living workers apart, by the labels `generation` and `slot`. The text is OpenMetrics if `Accept` asks for it, else that
//! of Prometheus. Without a supervisor a worker tells its own metrics.
//!
//! | name, after `monitoring.prometheus.namespace` | is |
//! |---|---|
//! | `_http_requests_total`, `_http_request_duration_seconds` | answers by method, route and status; `monitoring.buckets` are the bounds |
//! | `_http_requests_in_flight` | requests that wait for their answer |
//! | `_connections` | connections that are open |
//! | `_connections_accepted_total`, `_connections_taken_over_total` | connections so far, and those of them that another worker had before |
//! | `_connections_refused_total` | connections closed as they came, because their client had as many as it may have |
//! | `_connections_closed_for_room_total`, `_connections_handed_over_for_room_total` | idle connections that made room for new ones |
//! | `_connections_drained_total` | what became of connections in a drain, by `fate`, `protocol` and `tls` |
//! | `_connections_handed_over_total` | connections that other workers got, by `protocol`, `tls` and `why`: `drain`, `room`, `share` |
//! | `_connections_parked` | idle connections that cost no more than a socket and some counters, by `protocol` and `tls` |
//! | `_tls_handshakes_total`, `_tls_handshake_seconds` | handshakes by `result`, and the time of those that did not fail |
//! | `_proxy_refused_total` | connections closed because of their PROXY header, by `reason` |
//! | `_trace_spans_total` | spans by `result`: `sent`, `refused` by the receiver, `dropped` for want of room, `lost` at a worker's end |
//! | `_trace_waiting_bytes` | memory of spans that wait or are being sent |
//! | `_profiles_total` | profiles that were taken, by `kind`: `cpu`, `heap` |
//! | `_build_info` | workers, by the application's `version` and `release` |
//! | `_metrics_overflow_total` | times that a series found no room |
//!
//! Series of TLS and of PROXY headers begin with the first listener that has them; a rare combination of labels with its first connection.
//! Series of spans are there where `features.tracing` is on, with the feature `otel`. Names of the application's own stand as they are given.
//!
//! # Names and labels
//!
//! A name that Prometheus does not take, one that a histogram's parts have already (a gauge `a_count` beside a histogram `a`), or one with
//! another kind, other bounds or other labels than at its first use, is a [`StartError`](crate::StartError) that names the place. If it
//! comes up only while the server runs, the log has it as an error, once, and nothing is counted there. Nothing here panics.
//!
//! Each combination of values of labels is a series. A worker has room for `metrics.series` of them: what comes then is counted in one
//! series for each name, whose labels say `overflow`. So a label should have few values: never what a client may choose.
//!
//! [`counter`], [`Counter::with`] and their like take a lock and look names and labels up. What is counted very often keeps what they give,
//! as the statics above do. Counting itself takes no lock.
//!
//! # In tests
//!
//! The metrics of requests and connections are each server's own. The application's are the process's, as its statics are: all
//! [`TestServer`](crate::testing::TestServer)s of a process tell the same ones.

mod application;
mod connection_counts;
mod point;
#[cfg(feature = "profile")]
pub(crate) mod profiles;
mod registry;
mod scrapes;
#[cfg(test)]
mod tests;
#[cfg(feature = "otel")]
pub(crate) mod traces;

use std::panic::Location;

use gin_shared::metrics::{Definition, Shape};

use crate::shard::shard;
use application::{Application, Instrument};
pub(crate) use connection_counts::{ConnectionCounts, ConnectionLabels, Expected};
pub(crate) use registry::Registry;

/// Names of this library's own metrics, without the namespace.
const NAMES: [&str; 17] = [
    "build_info",
    "connections",
    "connections_accepted",
    "connections_closed_for_room",
    "connections_drained",
    "connections_handed_over",
    "connections_handed_over_for_room",
    "connections_parked",
    "connections_refused",
    "connections_taken_over",
    "http_request_duration_seconds",
    "http_requests",
    "http_requests_in_flight",
    "metrics_overflow",
    "proxy_refused",
    "tls_handshake_seconds",
    "tls_handshakes",
];

/// Gives the counter of this name, which counts from 0 upwards. Prometheus sees `_total` behind the name: it may be given, or left
/// out. `help` says in a line what is counted.
#[must_use]
#[track_caller]
pub fn counter(name: &str, help: &str) -> Counter {
    let name = name.strip_suffix("_total").unwrap_or(name);
    Counter(Application::of_process().register(definition(name, help, Shape::Counter), Location::caller()))
}

/// Gives the gauge of this name: a value that goes up and down, 0 at first. Prometheus sees the sum over all workers that live.
#[must_use]
#[track_caller]
pub fn gauge(name: &str, help: &str) -> Gauge {
    Gauge(Application::of_process().register(definition(name, help, Shape::Gauge), Location::caller()))
}

/// Gives the histogram of this name. It counts values in buckets with these upper bounds: 1 to 40, finite and ascending. The unit belongs
/// into the name: `_seconds`, `_bytes`.
#[must_use]
#[track_caller]
pub fn histogram(name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let shape = Shape::Histogram { bounds: bounds.to_vec(), scale: scale(bounds), count_as: None };
    Histogram(Application::of_process().register(definition(name, help, shape), Location::caller()))
}

fn definition(name: &str, help: &str, shape: Shape) -> Definition {
    Definition { name: name.to_owned(), help: help.to_owned(), shape }
}

/// Parts of 1 in which a histogram's sum is kept: as fine as it can be, if billions of values at the last bound are to fit into 64 bits.
fn scale(bounds: &[f64]) -> u64 {
    let most = bounds.last().copied().unwrap_or(1.0);
    let mut scales = (0..=9).rev().map(|digits| 10_u64.pow(digits));
    scales.find(|scale| most * *scale as f64 <= 1e10).unwrap_or(1)
}

/// A counter of the application's: see [`counter`]. A copy is the same counter.
#[derive(Debug, Clone, Copy)]
pub struct Counter(Instrument);

impl Counter {
    /// The series with these labels, and no others: those of an earlier call are not kept.
    #[must_use]
    #[track_caller]
    pub fn with(&self, labels: &[(&str, &str)]) -> Self {
        Self(self.0.with(labels, Location::caller()))
    }

    /// Adds to it.
    pub fn add(&self, by: u64) {
        self.0.count(|cells| cells.add(shard(), by), |early| early.add(by));
    }
}

/// A gauge of the application's: see [`gauge`]. A copy is the same gauge.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(Instrument);

impl Gauge {
    /// The series with these labels, and no others: those of an earlier call are not kept.
    #[must_use]
    #[track_caller]
    pub fn with(&self, labels: &[(&str, &str)]) -> Self {
        Self(self.0.with(labels, Location::caller()))
    }

    /// Sets this worker's value. A value that is not finite changes nothing.
    pub fn set(&self, value: f64) {
        if value.is_finite() {
            self.0.count(|cells| cells.set(value), |early| early.set(value));
        }
    }

    /// Adds to this worker's value; a number below 0 takes away. One that is not finite changes nothing.
    pub fn add(&self, by: f64) {
        if by.is_finite() {
            self.0.count(|cells| cells.add_float(by), |early| early.add_float(by));
        }
    }
}

/// A histogram of the application's: see [`histogram`]. A copy is the same histogram.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(Instrument);

impl Histogram {
    /// The series with these labels, and no others: those of an earlier call are not kept.
    #[must_use]
    #[track_caller]
    pub fn with(&self, labels: &[(&str, &str)]) -> Self {
        Self(self.0.with(labels, Location::caller()))
    }

    /// Counts a value. One below 0 counts as 0 in the sum, which cannot go back; one that is not finite is not counted.
    pub fn observe(&self, value: f64) {
        let Some(Shape::Histogram { bounds, scale, .. }) = self.0.shape().filter(|_| value.is_finite()) else { return };
        let bucket = bounds.partition_point(|bound| *bound < value);
        // No number below 0 is left, and one that is too large becomes the largest.
        let sum = (value.max(0.0) * *scale as f64).round() as u64;
        self.0.count(|cells| cells.observe(shard(), bucket, sum), |early| early.observe(bucket, sum));
    }
}

/// Says what is wrong with the application's metrics, if something is.
///
/// # Errors
/// A line for each name or label that cannot be, with its place.
pub(crate) fn check(namespace: &str) -> Result<(), String> {
    Application::of_process().check(namespace)
}

/// Has the application's metrics counted here from now on, with all that they have counted before. The first one has them for good.
pub(crate) fn attach(registry: &'static Registry) {
    Application::of_process().attach(registry);
}
