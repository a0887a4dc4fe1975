//! Memory that one server counts in: that of all workers, if the master gives it, else one of this process alone.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use gin_shared::inherit::identity;
use gin_shared::metrics::{Cells, Definition, Format, Memory, Place, Shape, TakenNames, Writer, encode};
use tokio::task::JoinError;

use super::application::Application;
use super::scrapes::Scrapes;

/// Counts of one server, in one memory. It is never freed.
#[derive(Debug)]
pub(crate) struct Registry {
    memory: &'static Memory,
    writer: Writer,
    /// Number of times that a series found no room.
    overflow: Cells,
    /// True from the first such time on, until it is told.
    is_to_be_told: AtomicBool,
    is_told: AtomicBool,
    /// By worker or not, and in this format.
    scrapes: Scrapes<(bool, Format)>,
}

impl Registry {
    /// Counts in the memory of all workers, or in one of its own with room for so many series.
    pub(crate) fn new(namespace: &str, series: u32, given: Option<OwnedFd>) -> &'static Self {
        let (memory, writer) = given.and_then(shared).unwrap_or_else(|| own(series));
        if writer.repaired() {
            tracing::warn!(
                "a worker before has left metrics that make no sense: they are thrown away, and counted anew"
            );
        }
        let definition = Definition {
            name: format!("{namespace}_metrics_overflow"),
            help: "Times that a series found no room, and was counted in the one whose labels say \"overflow\""
                .to_owned(),
            shape: Shape::Counter,
        };
        let overflow = writer.series(&definition, &[], 1);
        let (is_to_be_told, is_told) = (AtomicBool::new(false), AtomicBool::new(false));
        let scrapes = Scrapes::new();
        Box::leak(Box::new(Self { memory, writer, overflow, is_to_be_told, is_told, scrapes }))
    }

    /// Cells of a series: see [`Writer::series`]. The caller says [`Self::tell`] when it has no lock any more.
    pub(crate) fn series(&self, definition: &Definition, labels: &[(&str, &str)], shards: usize) -> Cells {
        let cells = self.writer.series(definition, labels, shards);
        if cells.place() == Place::Overflow {
            self.overflow.add(0, 1);
            self.is_to_be_told.store(true, Ordering::Relaxed);
        }
        cells
    }

    /// Tells that a series found no room, once. Whoever writes the log may count its lines here: so nobody holds a lock meanwhile.
    pub(crate) fn tell(&self) {
        if self.is_to_be_told.load(Ordering::Relaxed) && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "there are more metrics than there is room for: new ones are counted in series whose labels say \"overflow\"; \
                 give labels fewer values, or raise metrics.series"
            );
        }
    }

    /// The metrics of all workers together, or of each that lives, as text of the media type that comes first.
    ///
    /// # Errors
    /// If a thread cannot read them.
    pub(crate) async fn scrape(
        &'static self,
        by_worker: bool,
        accept: &str,
    ) -> Result<(&'static str, Bytes), JoinError> {
        let format = Format::accepted(Some(accept));
        let text = self.scrapes.text((by_worker, format), move |_| self.text(by_worker, format)).await?;
        Ok((format.content_type(), text))
    }

    /// It takes a few milliseconds: not for a thread of the runtime.
    pub(super) fn text(&self, by_worker: bool, format: Format) -> String {
        let snapshot = if by_worker { self.memory.read_by_worker() } else { self.memory.read() };
        if snapshot.dropped > 0 {
            tracing::debug!(
                dropped = snapshot.dropped,
                "metrics that make no sense, or clash with others, are not told"
            );
        }
        let mut families = snapshot.families;
        let mut taken = TakenNames::default();
        families.iter().for_each(|family| _ = taken.take(family));
        families.extend(Application::of_process().without_memory().into_iter().filter(|family| taken.take(family)));
        families.sort_by(|one, other| one.name.cmp(&other.name));
        encode(families, format)
    }
}

/// The memory of all workers, with a region for this one. `None` if it cannot be had: that is told.
fn shared(fd: OwnedFd) -> Option<(&'static Memory, Writer)> {
    let memory: &'static Memory = match Memory::map(fd) {
        Ok(memory) => Box::leak(Box::new(memory)),
        Err(error) => {
            tracing::warn!("metrics count in this worker alone: {error}");
            return None;
        }
    };
    let who = identity().map(|identity| (identity.generation, identity.slot));
    let writer = memory.claim(who);
    if writer.is_none() {
        tracing::warn!(
            "metrics count in this worker alone: as many processes as there is room for count in the memory of all workers; end \
             those that are not needed, and restart"
        );
    }
    writer.map(|writer| (memory, writer))
}

fn own(series: u32) -> (&'static Memory, Writer) {
    let memory: &'static Memory = Box::leak(Box::new(Memory::own(series)));
    let writer = memory.claim(None).expect("nobody else knows this memory");
    (memory, writer)
}
