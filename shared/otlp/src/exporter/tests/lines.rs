//! A log that counts the exporter's lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines so far. A clone counts the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    warnings: AtomicU64,
    others: AtomicU64,
}

impl Lines {
    pub(super) fn warnings(&self) -> u64 {
        self.0.warnings.load(Ordering::Relaxed)
    }

    pub(super) fn others(&self) -> u64 {
        self.0.others.load(Ordering::Relaxed)
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "gin_otlp"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let is_warning = *event.metadata().level() == Level::WARN;
        let lines = if is_warning { &self.0.warnings } else { &self.0.others };
        lines.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
