//! What the loop knows for the metrics.

use super::Driver;
use crate::os::time;
use crate::samples::Samples;

impl Driver {
    /// Gathers it for a scrape. What is told is saved first: it must not go back under the next master.
    pub(super) fn samples(&mut self) -> Samples {
        self.look_at_queues();
        self.save();
        let (first_started, meter) = (self.store.first_started(), self.store.meter());
        self.reporter.samples(time::now(), self.view(), first_started, meter)
    }
}
