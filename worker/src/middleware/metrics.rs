//! Requests in numbers, for Prometheus: how many, how long, how many at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::extract::MatchedPath;
use axum::http::{Extensions, Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::Life;
use crate::route_name;
use crate::shard::{SHARDS, shard};

/// The media type of what [`Metrics::text`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Paths without a route: whatever clients try, it is one label.
const UNMATCHED: &str = "unmatched";
/// In seconds: Prometheus' usual ones, and finer ones below, for most answers take less than 5 ms.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The numbers of one worker.
#[derive(Debug)]
pub(crate) struct Metrics {
    namespace: String,
    routes: Arc<Routes>,
}

/// By template, then by method. Nothing is ever removed, and there are as many as routes: so they are never freed either, and nobody
/// counts who uses them.
#[derive(Debug, Default)]
struct Routes {
    known: ArcSwap<HashMap<&'static str, Vec<&'static Asked>>>,
    adding: Mutex<()>,
}

/// A method of a route.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    in_flight: [Own<AtomicI64>; SHARDS],
    answered: ArcSwap<Vec<&'static Answered>>,
    adding: Mutex<()>,
}

/// And a status.
#[derive(Debug)]
struct Answered {
    status: u16,
    shards: [Own<Counts>; SHARDS],
}

#[derive(Debug, Default)]
struct Counts {
    nanos: AtomicU64,
    /// Those of each bucket alone, and those above the last.
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

/// In cache lines of its own (two: the processor fetches pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Own<T>(T);

/// A method that everybody knows; clients may make up others.
fn known(method: &Method) -> &'static str {
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    all.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

impl Routes {
    fn of(&self, route: &str, method: &'static str) -> &'static Asked {
        let find = |all: &HashMap<&'static str, Vec<&'static Asked>>| {
            all.get(route)?.iter().find(|asked| asked.method == method).copied()
        };
        if let Some(asked) = find(&self.known.load()) {
            return asked;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have come first.
        if let Some(asked) = find(&self.known.load()) {
            return asked;
        }
        let (in_flight, answered, adding) = (Default::default(), ArcSwap::default(), Mutex::default());
        let new: &'static Asked = Box::leak(Box::new(Asked { method, in_flight, answered, adding }));
        let mut all = HashMap::clone(&self.known.load());
        match all.get_mut(route) {
            Some(methods) => methods.push(new),
            None => drop(all.insert(Box::leak(route.into()), vec![new])),
        }
        self.known.store(Arc::new(all));
        new
    }
}

impl Asked {
    fn answered(&self, status: u16) -> &'static Answered {
        let find = |all: &[&'static Answered]| all.iter().find(|answered| answered.status == status).copied();
        if let Some(answered) = find(&self.answered.load()) {
            return answered;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answered) = find(&self.answered.load()) {
            return answered;
        }
        let new: &'static Answered = Box::leak(Box::new(Answered { status, shards: Default::default() }));
        let mut all = Vec::clone(&self.answered.load());
        all.push(new);
        self.answered.store(Arc::new(all));
        new
    }

    fn in_flight(&self) -> i64 {
        self.in_flight.iter().map(|own| own.0.load(Ordering::Relaxed)).sum()
    }
}

impl Answered {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        let own = &self.shards[shard()].0;
        own.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        own.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn counts(&self) -> [u64; BUCKETS.len() + 1] {
        let of = |bucket: usize| self.shards.iter().map(|own| own.0.buckets[bucket].load(Ordering::Relaxed)).sum();
        std::array::from_fn(of)
    }

    fn took(&self) -> Duration {
        Duration::from_nanos(self.shards.iter().map(|own| own.0.nanos.load(Ordering::Relaxed)).sum())
    }
}

impl Metrics {
    /// All names begin with `namespace`.
    pub(crate) fn new(namespace: &str) -> Arc<Self> {
        Arc::new(Self { namespace: namespace.to_owned(), routes: Arc::default() })
    }

    /// As Prometheus reads it (OpenMetrics 1.0).
    pub(crate) fn text(&self, life: &Life) -> String {
        let mut registry = Registry::with_prefix(&self.namespace);
        registry.register_collector(Box::new(Shown(Arc::clone(&self.routes))));
        let gauge = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
        registry.register("connections", "Connections that are open", gauge(life.connections() as u64));
        let help = "Idle connections that were closed before their time to make room for new ones";
        registry.register("connections_closed_for_room", help, ConstCounter::new(life.closed_for_room()));
        let help = "Idle connections that other workers got to make room for new ones";
        registry.register("connections_handed_over_for_room", help, ConstCounter::new(life.handed_over_for_room()));
        let help = "Connections that were closed as they came, because their client had as many as it may have";
        registry.register("connections_refused", help, ConstCounter::new(life.refused()));
        registry.register("connections_accepted", "Connections that there have been", gauge(life.accepted()));
        let help = "Of them, those that another worker had before";
        registry.register("connections_taken_over", help, gauge(life.taken_over()));
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// The requests, as they are told.
#[derive(Debug)]
struct Shown(Arc<Routes>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let routes = self.0.known.load();
        let mut all: Vec<(&str, &Asked)> =
            routes.iter().flat_map(|(route, all)| all.iter().map(move |asked| (*route, *asked))).collect();
        all.sort_by_key(|(route, asked)| (*route, asked.method));
        let answered: Vec<_> = all
            .iter()
            .flat_map(|(route, asked)| {
                let all = Vec::clone(&asked.answered.load());
                all.into_iter().map(|answered| {
                    let status = answered.status.to_string();
                    (
                        [
                            ("method", asked.method.to_owned()),
                            ("route", route_name::of(route).to_owned()),
                            ("status", status),
                        ],
                        answered,
                    )
                })
            })
            .collect();
        let mut requests =
            encoder.encode_descriptor("http_requests", "Requests that were answered", None, MetricType::Counter)?;
        for (labels, answered) in &answered {
            let count: u64 = answered.counts().iter().sum();
            requests.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let help = "From a request's head to its answer's";
        let mut durations =
            encoder.encode_descriptor("http_request_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, answered) in &answered {
            let counts = answered.counts();
            let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let sum = answered.took().as_secs_f64();
            durations.encode_family(labels)?.encode_histogram::<NoLabelSet>(
                sum,
                counts.iter().sum(),
                &buckets,
                None,
            )?;
        }
        let help = "Requests that wait for their answer";
        let mut in_flight = encoder.encode_descriptor("http_requests_in_flight", help, None, MetricType::Gauge)?;
        for (route, asked) in all {
            let labels = [("method", asked.method), ("route", route_name::of(route))];
            ConstGauge::new(asked.in_flight()).encode(in_flight.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A request that is being answered.
pub(super) struct Counted {
    asked: &'static Asked,
    /// Which number was raised: it may end on another thread.
    shard: usize,
    began: Instant,
}

impl Counted {
    pub(super) fn begin(metrics: &Metrics, method: &Method, extensions: &Extensions, began: Instant) -> Self {
        let route = extensions.get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
        let asked = metrics.routes.of(route, known(method));
        let shard = shard();
        asked.in_flight[shard].0.fetch_add(1, Ordering::Relaxed);
        Self { asked, shard, began }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        self.asked.answered(status.as_u16()).observe(self.began.elapsed());
    }
}

/// Also of a request whose client has gone.
impl Drop for Counted {
    fn drop(&mut self) {
        self.asked.in_flight[self.shard].0.fetch_sub(1, Ordering::Relaxed);
    }
}
