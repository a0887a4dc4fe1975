//! Counts of connections, beside those that [`crate::Life`] has of its own worker.

use std::time::Duration;

use gin_shared::metrics::{Cells, Definition, Shape};

use super::Registry;

/// Labels of a series.
type Labels = Vec<(&'static str, &'static str)>;

/// Upper bounds of the time of handshakes, in seconds.
const HANDSHAKE_BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// A second, in the parts in which it is kept.
const SECOND: u64 = 1_000_000_000;

/// Labels of the counts that are told apart, for each count those of its series, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct ConnectionLabels {
    pub(crate) drained: Vec<Labels>,
    pub(crate) handed_over: Vec<Labels>,
    pub(crate) parked: Vec<Labels>,
    pub(crate) handshakes: Vec<Labels>,
    pub(crate) proxy_refused: Vec<Labels>,
}

/// Counts of connections, which all workers have in common.
#[derive(Debug)]
pub(crate) struct ConnectionCounts {
    open: Cells,
    accepted: Cells,
    taken_over: Cells,
    closed_for_room: Cells,
    handed_over_for_room: Cells,
    refused: Cells,
    handshake_seconds: Cells,
    // In the order in which their labels were given.
    drained: Vec<Cells>,
    handed_over: Vec<Cells>,
    parked: Vec<Cells>,
    handshakes: Vec<Cells>,
    proxy_refused: Vec<Cells>,
}

/// Makes the series of one namespace.
struct Maker<'a> {
    registry: &'a Registry,
    namespace: &'a str,
}

impl Maker<'_> {
    fn one(&self, name: &str, help: &str, shape: Shape) -> Cells {
        // Few connections come and go at once, compared with requests: one shard.
        self.registry.series(&self.definition(name, help, shape), &[], 1)
    }

    fn counter(&self, name: &str, help: &str) -> Cells {
        self.one(name, help, Shape::Counter)
    }

    fn each(&self, name: &str, help: &str, shape: Shape, labels: &[Labels]) -> Vec<Cells> {
        let definition = self.definition(name, help, shape);
        labels.iter().map(|labels| self.registry.series(&definition, labels, 1)).collect()
    }

    fn definition(&self, name: &str, help: &str, shape: Shape) -> Definition {
        Definition { name: format!("{}_{name}", self.namespace), help: help.to_owned(), shape }
    }
}

impl ConnectionCounts {
    /// Counts that begin with this namespace.
    pub(crate) fn new(registry: &Registry, namespace: &str, labels: &ConnectionLabels) -> Self {
        let make = Maker { registry, namespace };
        let durations = Shape::Histogram { bounds: HANDSHAKE_BOUNDS.to_vec(), scale: SECOND, count_as: None };
        let own = Self {
            open: make.one("connections", "Connections that are open", Shape::IntGauge),
            accepted: make.counter(
                "connections_accepted",
                "Connections that workers have had, with those that another worker had before",
            ),
            taken_over: make.counter("connections_taken_over", "Of them, those that another worker had before"),
            closed_for_room: make.counter(
                "connections_closed_for_room",
                "Idle connections that were closed before their time to make room for new ones",
            ),
            handed_over_for_room: make.counter(
                "connections_handed_over_for_room",
                "Idle connections that other workers got to make room for new ones",
            ),
            refused: make.counter(
                "connections_refused",
                "Connections that were closed as they came, because their client had as many as it may have",
            ),
            handshake_seconds: make.one(
                "tls_handshake_seconds",
                "From the first byte of a handshake of TLS to its end",
                durations,
            ),
            drained: make.each(
                "connections_drained",
                "What became of connections of workers that drained",
                Shape::Counter,
                &labels.drained,
            ),
            handed_over: make.each(
                "connections_handed_over",
                "Connections that other workers got, by the reason",
                Shape::Counter,
                &labels.handed_over,
            ),
            parked: make.each(
                "connections_parked",
                "Idle connections that cost no more than a socket and some counters",
                Shape::IntGauge,
                &labels.parked,
            ),
            handshakes: make.each(
                "tls_handshakes",
                "Handshakes of TLS, by their outcome",
                Shape::Counter,
                &labels.handshakes,
            ),
            proxy_refused: make.each(
                "proxy_refused",
                "Connections that were closed because of their PROXY header",
                Shape::Counter,
                &labels.proxy_refused,
            ),
        };
        registry.tell();
        own
    }

    /// Counts a connection that is open from now on.
    pub(crate) fn opened(&self) {
        self.open.add_int(0, 1);
    }

    /// Counts a connection that is open no more.
    pub(crate) fn closed(&self) {
        self.open.add_int(0, -1);
    }

    pub(crate) fn accepted(&self, count: usize) {
        self.accepted.add(0, count as u64);
    }

    pub(crate) fn taken_over(&self, count: usize) {
        self.taken_over.add(0, count as u64);
    }

    pub(crate) fn closed_for_room(&self, count: usize) {
        self.closed_for_room.add(0, count as u64);
    }

    pub(crate) fn handed_over_for_room(&self, count: usize) {
        self.handed_over_for_room.add(0, count as u64);
    }

    pub(crate) fn refused(&self) {
        self.refused.add(0, 1);
    }

    /// Counts connections that a drain ended, by the place of their labels.
    pub(crate) fn drained(&self, place: usize, count: usize) {
        add(&self.drained, place, count as u64);
    }

    /// Counts a connection that another worker has now, by the place of its labels.
    pub(crate) fn handed_over(&self, place: usize) {
        add(&self.handed_over, place, 1);
    }

    /// Counts a connection that is parked from now on, or no more, by the place of its labels.
    pub(crate) fn parked(&self, place: usize, is_parked: bool) {
        if let Some(cells) = self.parked.get(place) {
            cells.add_int(0, if is_parked { 1 } else { -1 });
        }
    }

    /// Counts a handshake, by the place of its labels. `took`: `None` if it has failed.
    pub(crate) fn handshake(&self, place: usize, took: Option<Duration>) {
        add(&self.handshakes, place, 1);
        if let Some(took) = took {
            let bucket = HANDSHAKE_BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
            self.handshake_seconds.observe(0, bucket, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Counts a connection that was closed because of its PROXY header, by the place of its labels.
    pub(crate) fn proxy_refused(&self, place: usize) {
        add(&self.proxy_refused, place, 1);
    }
}

fn add(all: &[Cells], place: usize, count: u64) {
    if let Some(cells) = all.get(place) {
        cells.add(0, count);
    }
}
