//! An exporter on a thread of its own.

use std::io;
use std::thread::Builder;

use tokio::runtime;

use crate::exporter::Exporter;

/// A thread that sends spans. It goes on until [`crate::Sink::flush`], also where this is dropped.
#[derive(Debug)]
pub struct Thread(());

impl Thread {
    /// Starts the thread. The name has 15 bytes at most.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(name: &str, exporter: Exporter) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        // Its handle is not kept: a thread that waits for a receiver holds up no end of the process.
        Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(exporter.run()))?;
        Ok(Self(()))
    }
}
