//! Samples that the loop knows, gathered for a scrape: what must not go back is saved first.

use super::Driver;
use crate::os::time;
use crate::samples::Samples;

impl Driver {
    /// Gathers the samples. What is told is saved first: it must not go back under the next master.
    pub(super) fn samples(&mut self) -> Samples {
        self.look_at_queues();
        self.save();
        let (first_started, meter) = (self.store.first_started(), self.store.meter());
        self.reporter.samples(time::now(), self.view(), first_started, meter)
    }
}
