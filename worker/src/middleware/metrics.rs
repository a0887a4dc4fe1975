//! Metrics of requests, for Prometheus: how many, how long, how many at once.
//!
//! A request takes no lock here and allocates nothing: a route's counts are found in a table that only grows, by a hash of its words,
//! and its answers' counts in a list. Both are as long as the routes and their answers are many, so they are never freed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::MatchedPath;
use axum::http::{Extensions, Method, StatusCode};
use bytes::Bytes;
use gin_shared::inherit::identity;
use gin_shared::metrics::{Cells, Definition, Shape};
use tokio::task::JoinError;

use crate::config::Config;
use crate::graceful::{Ends, HandoverReason, Handshake, Kind, Life, ProxyRefusal};
use crate::metrics::{ConnectionCounts, ConnectionLabels, Expected, Registry};
use crate::route_name;
use crate::shard::{SHARDS, shard};

/// Paths without a route: whatever clients try, it is one label.
const UNMATCHED: &str = "unmatched";
/// A second, in the parts in which durations are counted.
const SECOND: u64 = 1_000_000_000;
/// Number of lists of routes, a power of two. With more routes than these the lists are longer.
const LISTS: usize = 512;

/// The metrics of one server.
pub(crate) struct Metrics {
    registry: &'static Registry,
    durations: Definition,
    in_flight: Definition,
    /// Upper bounds of durations, in nanoseconds.
    bounds: Vec<u64>,
    /// By what [`list_of`] gives.
    routes: Vec<List<Asked>>,
    adding: Mutex<()>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("durations", &self.durations.name).finish_non_exhaustive()
    }
}

/// A method of a route.
struct Asked {
    /// In the words of axum's router.
    route: Box<str>,
    method: Known,
    in_flight: Cells,
    answers: List<Answered>,
}

/// And a status.
struct Answered {
    status: u16,
    durations: Cells,
}

/// A list that only grows. Readers take no lock; whoever adds has the one of [`Metrics`].
struct List<T: 'static>(OnceLock<&'static Item<T>>);

struct Item<T: 'static> {
    value: T,
    rest: List<T>,
}

impl<T: 'static> Default for List<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: 'static> List<T> {
    /// The first one of which `is_it` is true.
    #[inline]
    fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<&'static T> {
        let mut list = self;
        while let Some(item) = list.0.get() {
            if is_it(&item.value) {
                return Some(&item.value);
            }
            list = &item.rest;
        }
        None
    }

    /// Adds one at the end.
    fn push(&self, value: T) -> &'static T {
        let mut list = self;
        while let Some(item) = list.0.get() {
            list = &item.rest;
        }
        &list.0.get_or_init(|| Box::leak(Box::new(Item { value, rest: Self::default() }))).value
    }
}

/// Methods that everybody knows; clients may make up others.
static METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];

/// Place of a method in [`METHODS`], or behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known(usize);

impl Known {
    #[inline]
    fn of(method: &Method) -> Self {
        Self(METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len()))
    }

    fn name(self) -> &'static str {
        METHODS.get(self.0).map_or("OTHER", Method::as_str)
    }
}

/// The list of a route and a method. Routes are the program's own, so nobody can choose those that share one.
#[inline]
fn list_of(route: &str, method: Known) -> usize {
    // The upper bits of a product depend on all bits of its factors (Fibonacci hashing).
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |all: u64, word: u64| (all ^ word).wrapping_mul(GOLDEN).rotate_left(32);
    let (words, rest) = route.as_bytes().as_chunks::<8>();
    let begin = ((route.len() as u64) << 4) | method.0 as u64;
    let all = words.iter().fold(begin, |all, word| mix(all, u64::from_ne_bytes(*word)));
    let all = mix(all, rest.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)));
    (all.rotate_left(32) >> (u64::BITS - LISTS.trailing_zeros())) as usize
}

impl Metrics {
    /// The metrics of a server whose application has this version, and of its connections. Never freed.
    pub(crate) fn new(registry: &'static Registry, config: &Config, version: &str, life: &Life) -> &'static Self {
        let expected = expected(config);
        let config = &config.monitoring;
        let (named, helped) = (|name: &str| format!("{}_{name}", config.namespace), str::to_owned);
        let durations = Definition {
            name: named("http_request_duration_seconds"),
            help: helped("From a request's head to its answer's"),
            shape: Shape::Histogram {
                bounds: config.buckets.iter().map(Duration::as_secs_f64).collect(),
                scale: SECOND,
                count_as: Some((named("http_requests"), helped("Requests that were answered"))),
            },
        };
        let in_flight = Definition {
            name: named("http_requests_in_flight"),
            help: helped("Requests that wait for their answer"),
            shape: Shape::IntGauge,
        };
        tell_build(registry, &named("build_info"), version);
        life.count_in(ConnectionCounts::new(registry, &config.namespace, &connection_labels(), expected));
        let bounds = config.buckets.iter().map(|bound| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)).collect();
        let routes = std::iter::repeat_with(List::default).take(LISTS).collect();
        Box::leak(Box::new(Self { registry, durations, in_flight, bounds, routes, adding: Mutex::default() }))
    }

    /// The metrics as text: see [`Registry::scrape`].
    pub(crate) async fn scrape(&self, by_worker: bool, accept: &str) -> Result<(&'static str, Bytes), JoinError> {
        self.registry.scrape(by_worker, accept).await
    }

    fn adding(&self) -> MutexGuard<'_, ()> {
        self.adding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn asked(&self, route: &str, method: Known) -> &'static Asked {
        let list = &self.routes[list_of(route, method)];
        match list.find(|asked| asked.method == method && *asked.route == *route) {
            Some(asked) => asked,
            None => self.ask(list, route, method),
        }
    }

    #[cold]
    fn ask(&self, list: &List<Asked>, route: &str, method: Known) -> &'static Asked {
        let guard = self.adding();
        // Another may have come first.
        if let Some(asked) = list.find(|asked| asked.method == method && *asked.route == *route) {
            return asked;
        }
        let labels = [("method", method.name()), ("route", route_name::of(route))];
        let in_flight = self.registry.series(&self.in_flight, &labels, SHARDS);
        let asked = list.push(Asked { route: route.into(), method, in_flight, answers: List::default() });
        drop(guard);
        self.registry.tell();
        asked
    }

    #[cold]
    fn answer(&self, asked: &Asked, status: u16) -> &'static Answered {
        let guard = self.adding();
        if let Some(answered) = asked.answers.find(|answered| answered.status == status) {
            return answered;
        }
        let told = status.to_string();
        let labels = [("method", asked.method.name()), ("route", route_name::of(&asked.route)), ("status", &told)];
        let durations = self.registry.series(&self.durations, &labels, SHARDS);
        let answered = asked.answers.push(Answered { status, durations });
        drop(guard);
        self.registry.tell();
        answered
    }
}

/// Beginnings of connections that the listeners expect.
fn expected(config: &Config) -> Expected {
    let tables = config.listeners.iter().map(|(_, settings)| settings);
    let all: Vec<_> = tables.chain([&config.listener_default]).collect();
    Expected {
        tls: all.iter().any(|settings| settings.tls.is_some()),
        proxy: all.iter().any(|settings| settings.proxy.is_some()),
    }
}

fn connection_labels() -> ConnectionLabels {
    ConnectionLabels {
        drained: Ends::labels().collect(),
        handed_over: HandoverReason::labels().collect(),
        parked: Kind::labels().collect(),
        handshakes: Handshake::labels().collect(),
        proxy_refused: ProxyRefusal::labels().collect(),
    }
}

/// Tells which version and release this worker is.
fn tell_build(registry: &Registry, name: &str, version: &str) {
    let help = "Workers, by the application's version and its release".to_owned();
    let definition = Definition { name: name.to_owned(), help, shape: Shape::Gauge };
    let release = identity().and_then(|identity| identity.release).unwrap_or_default();
    let labels = [("version", version), ("release", release.as_str())];
    let known = if release.is_empty() { &labels[..1] } else { &labels[..] };
    registry.series(&definition, known, 1).set(1.0);
}

/// A request that is being answered.
pub(super) struct Counted {
    metrics: &'static Metrics,
    asked: &'static Asked,
    /// The shard whose number was raised: the request may end on another thread.
    shard: usize,
    began: Instant,
}

impl Counted {
    pub(super) fn begin(metrics: &'static Metrics, method: &Method, extensions: &Extensions, began: Instant) -> Self {
        let route = extensions.get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
        let asked = metrics.asked(route, Known::of(method));
        let shard = shard();
        asked.in_flight.add_int(shard, 1);
        Self { metrics, asked, shard, began }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let status = status.as_u16();
        let answered = match self.asked.answers.find(|answered| answered.status == status) {
            Some(answered) => answered,
            None => self.metrics.answer(self.asked, status),
        };
        let took = self.began.elapsed();
        let nanos = took.as_secs().saturating_mul(SECOND).saturating_add(u64::from(took.subsec_nanos()));
        let bounds = &self.metrics.bounds;
        let bucket = bounds.iter().position(|bound| nanos <= *bound).unwrap_or(bounds.len());
        answered.durations.observe(shard(), bucket, nanos);
    }
}

/// Also of a request whose client has gone.
impl Drop for Counted {
    fn drop(&mut self) {
        self.asked.in_flight.add_int(self.shard, -1);
    }
}

#[cfg(test)]
mod tests {
    use gin_shared::config::listen::ListenSettings;

    use super::*;

    #[test]
    fn a_listener_expects_what_its_settings_say() {
        let mut config = Config::default();
        assert_eq!(expected(&config), Expected::default());
        let settings = ListenSettings { proxy: Some(vec!["10.0.0.0/8".to_owned()]), ..ListenSettings::default() };
        config.listeners.push(("http".to_owned(), settings));
        assert_eq!(expected(&config), Expected { tls: false, proxy: true });
    }

    #[test]
    fn a_list_finds_what_was_added_and_only_that() {
        let list = List::default();
        assert!(list.find(|_: &u32| true).is_none());
        for number in 0..3_u32 {
            assert_eq!(*list.push(number), number);
        }
        assert_eq!(list.find(|number| *number > 0), Some(&1));
        assert_eq!(list.find(|number| *number > 2), None);
    }

    #[test]
    fn routes_are_spread_over_the_lists() {
        let kinds = ["users", "orders", "carts", "items", "stock", "prices", "offers", "people"];
        let routes = kinds.iter().flat_map(|kind| {
            ["", "/", "/{id}", "/{id}/edit", "/{id}/parts/{part}"].map(|rest| format!("/api/v1/{kind}{rest}"))
        });
        let lists: std::collections::HashSet<usize> =
            routes.map(|route| list_of(&route, Known::of(&Method::GET))).collect();
        assert!(lists.len() >= 32, "{}", lists.len());
        for short in ["/", "/a", "/b", "unmatched"] {
            assert!(list_of(short, Known::of(&Method::POST)) < LISTS);
        }
        assert_ne!(list_of("/a", Known::of(&Method::GET)), list_of("/b", Known::of(&Method::GET)));
        assert_ne!(list_of("/a", Known::of(&Method::GET)), list_of("/a", Known::of(&Method::POST)));
    }
}
