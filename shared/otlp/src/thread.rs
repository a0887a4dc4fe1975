//! An exporter on a thread of its own.

use std::io;

use crate::exporter::Exporter;

/// A thread that sends spans. It goes on until [`crate::Sink::flush`], also where this is dropped.
#[derive(Debug)]
pub struct Thread(());

impl Thread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(_: &str, _: Exporter) -> io::Result<Self> {
        Ok(Self(()))
    }
}
