//! Counts of connections, beside those that [`crate::Life`] has of its own worker.

use std::sync::OnceLock;
use std::time::Duration;

use gin_shared::metrics::{Cells, Definition, Shape};

use super::Registry;

/// Labels of a series.
type Labels = Vec<(&'static str, &'static str)>;

/// Upper bounds of the time of handshakes, in seconds.
const HANDSHAKE_BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// A second, in the parts in which it is kept.
const SECOND: u64 = 1_000_000_000;

/// Beginnings of connections that some listener expects. Their series are told from the start, at 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) tls: bool,
    pub(crate) proxy: bool,
}

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
    handshake_seconds: Group,
    drained: Group,
    handed_over: Group,
    parked: Group,
    handshakes: Group,
    proxy_refused: Group,
}

/// Series of one name, each made at the latest when it first counts: many combinations of labels never do.
#[derive(Debug)]
struct Group {
    registry: &'static Registry,
    definition: Definition,
    /// In the order in which their labels were given.
    series: Vec<(Labels, OnceLock<Cells>)>,
}

impl Group {
    /// The series at this place. Locks may be held here, so nobody is told of a lack of room: the next one who asks for a series is.
    fn at(&self, place: usize) -> Option<Cells> {
        let (labels, cells) = self.series.get(place)?;
        Some(*cells.get_or_init(|| self.registry.series(&self.definition, labels, 1)))
    }

    fn add(&self, place: usize, count: u64) {
        if let Some(cells) = self.at(place) {
            cells.add(0, count);
        }
    }
}

/// Makes the series of one namespace.
struct Maker<'a> {
    registry: &'static Registry,
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

    /// A group of which those are made now that are expected.
    fn group(&self, definition: Definition, labels: &[Labels], is_expected: impl Fn(&Labels) -> bool) -> Group {
        let series = labels.iter().map(|labels| (labels.clone(), OnceLock::new())).collect();
        let group = Group { registry: self.registry, definition, series };
        let expected = (0..labels.len()).filter(|place| is_expected(&labels[*place]));
        expected.for_each(|place| _ = group.at(place));
        group
    }

    fn definition(&self, name: &str, help: &str, shape: Shape) -> Definition {
        Definition { name: format!("{}_{name}", self.namespace), help: help.to_owned(), shape }
    }
}

impl ConnectionCounts {
    /// Counts that begin with this namespace.
    pub(crate) fn new(
        registry: &'static Registry,
        namespace: &str,
        labels: &ConnectionLabels,
        expected: Expected,
    ) -> Self {
        let make = Maker { registry, namespace };
        let group = |name: &str, help: &str, shape: Shape, labels: &[Labels], is_expected: &dyn Fn(&Labels) -> bool| {
            make.group(make.definition(name, help, shape), labels, is_expected)
        };
        let durations = Shape::Histogram { bounds: HANDSHAKE_BOUNDS.to_vec(), scale: SECOND, count_as: None };
        let by_tls = |labels: &Labels| expected.tls || !labels.contains(&("tls", "true"));
        let idle = |labels: &Labels| by_tls(labels) && can_idle(labels);
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
            handshake_seconds: group(
                "tls_handshake_seconds",
                "From the first byte of a handshake of TLS to its end",
                durations,
                &[Labels::new()],
                &|_| expected.tls,
            ),
            drained: group(
                "connections_drained",
                "What became of connections of workers that drained",
                Shape::Counter,
                &labels.drained,
                &by_tls,
            ),
            handed_over: group(
                "connections_handed_over",
                "Connections that other workers got, by the reason",
                Shape::Counter,
                &labels.handed_over,
                &idle,
            ),
            parked: group(
                "connections_parked",
                "Idle connections that cost no more than a socket and some counters",
                Shape::IntGauge,
                &labels.parked,
                &idle,
            ),
            handshakes: group(
                "tls_handshakes",
                "Handshakes of TLS, by their outcome",
                Shape::Counter,
                &labels.handshakes,
                &|_| expected.tls,
            ),
            proxy_refused: group(
                "proxy_refused",
                "Connections that were closed because of their PROXY header",
                Shape::Counter,
                &labels.proxy_refused,
                &|_| expected.proxy,
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
        self.drained.add(place, count as u64);
    }

    /// Counts a connection that another worker has now, by the place of its labels.
    pub(crate) fn handed_over(&self, place: usize) {
        self.handed_over.add(place, 1);
    }

    /// Counts a connection that is parked from now on, or no more, by the place of its labels.
    pub(crate) fn parked(&self, place: usize, is_parked: bool) {
        if let Some(cells) = self.parked.at(place) {
            cells.add_int(0, if is_parked { 1 } else { -1 });
        }
    }

    /// Counts a handshake, by the place of its labels. `took`: `None` if it has failed.
    pub(crate) fn handshake(&self, place: usize, took: Option<Duration>) {
        self.handshakes.add(place, 1);
        if let (Some(took), Some(seconds)) = (took, self.handshake_seconds.at(0)) {
            let bucket = HANDSHAKE_BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
            seconds.observe(0, bucket, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Counts a connection that was closed because of its PROXY header, by the place of its labels.
    pub(crate) fn proxy_refused(&self, place: usize) {
        self.proxy_refused.add(place, 1);
    }
}

/// True if connections of this protocol are idle as a rule: most of those that are parked, or that other workers get.
fn can_idle(labels: &[(&str, &str)]) -> bool {
    ["http1", "http2"].iter().any(|protocol| labels.contains(&("protocol", *protocol)))
}
