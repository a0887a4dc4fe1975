//! Sends the spans that wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gin_shared::trace_endpoint::Endpoint;
use http::HeaderMap;

use crate::connection::Connect;
use crate::resource::Resource;
use crate::sink::{Counts, Sink};

/// Settings of an exporter.
pub struct Settings {
    /// The receiver.
    pub endpoint: Endpoint,
    /// Headers of each export. They may be secrets.
    pub headers: HeaderMap,
    /// Time of one export.
    pub timeout: Duration,
    /// Longest wait of a span before it is sent, while the receiver is well.
    pub interval: Duration,
    /// Bytes of the spans that wait, and of those that are being sent.
    pub memory: usize,
    /// Attributes of the process whose spans these are.
    pub resource: Resource,
    /// Version of the library that makes the spans.
    pub scope_version: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The sender of the spans of one [`Sink`].
#[derive(Debug)]
pub struct Exporter(());

/// Makes an exporter, and the sink of its spans.
#[must_use]
pub fn exporter(_: Settings, _: Arc<dyn Connect>, _: Arc<dyn Counts>) -> (Sink, Exporter) {
    (Sink::default(), Exporter(()))
}

impl Exporter {
    /// Sends spans until [`Sink::flush`].
    pub async fn run(self) {}
}
