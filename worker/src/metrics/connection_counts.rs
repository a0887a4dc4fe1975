//! Counts of connections, beside those that [`crate::Life`] has of its own worker.

use gin_shared::metrics::{Cells, Definition, Shape};

use super::Registry;

/// Counts of connections, which all workers have in common.
#[derive(Debug)]
pub(crate) struct ConnectionCounts {
    open: Cells,
    accepted: Cells,
    taken_over: Cells,
    closed_for_room: Cells,
    handed_over_for_room: Cells,
    refused: Cells,
    /// In the order in which their labels were given.
    drained: Vec<Cells>,
}

impl ConnectionCounts {
    /// Counts that begin with this namespace. `drained` has the fate and the protocol of each count of connections that a drain ended.
    pub(crate) fn new(
        registry: &Registry,
        namespace: &str,
        drained: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Self {
        let definition = |name: &str, help: &str, shape| Definition {
            name: format!("{namespace}_{name}"),
            help: help.to_owned(),
            shape,
        };
        // Few connections come and go at once, compared with requests: one shard.
        let counter = |name, help| registry.series(&definition(name, help, Shape::Counter), &[], 1);
        let ends =
            definition("connections_drained", "What became of connections of workers that drained", Shape::Counter);
        let own = Self {
            open: registry.series(&definition("connections", "Connections that are open", Shape::IntGauge), &[], 1),
            accepted: counter(
                "connections_accepted",
                "Connections that workers have had, with those that another worker had before",
            ),
            taken_over: counter("connections_taken_over", "Of them, those that another worker had before"),
            closed_for_room: counter(
                "connections_closed_for_room",
                "Idle connections that were closed before their time to make room for new ones",
            ),
            handed_over_for_room: counter(
                "connections_handed_over_for_room",
                "Idle connections that other workers got to make room for new ones",
            ),
            refused: counter(
                "connections_refused",
                "Connections that were closed as they came, because their client had as many as it may have",
            ),
            drained: drained
                .into_iter()
                .map(|(fate, protocol)| registry.series(&ends, &[("fate", fate), ("protocol", protocol)], 1))
                .collect(),
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
        if let Some(cells) = self.drained.get(place) {
            cells.add(0, count as u64);
        }
    }
}
