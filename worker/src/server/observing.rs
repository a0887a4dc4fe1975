//! Observing that the configuration asks for: traces, and the list of the requests that are alive.

use gin_shared::inherit::identity;

use crate::StartError;
use crate::config::Config;
use crate::graceful::Background;
use crate::observed::requests::Requests;
use crate::observed::{self, Observed, Observing};
use crate::traces::{Exporter, Tracer};

/// Version of an application that has not told its own: that of this library.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Observing of a server that runs, with the sender of its spans.
#[derive(Debug, Default)]
pub(super) struct Begun {
    pub(super) observing: Observing,
    pub(super) exporter: Option<Exporter>,
}

impl Begun {
    /// # Errors
    /// If the receiver of the spans cannot be used as it is configured.
    pub(super) fn new(config: &Config, version: Option<&str>) -> Result<Self, StartError> {
        let (mut traces, mut exporter) = (None, None);
        if config.traces_handlers() {
            let (tracer, sender) = Tracer::new(config, version.unwrap_or(VERSION), identity().as_ref())?;
            (traces, exporter) = (Some(tracer), Some(sender));
        }
        let lists = cfg!(feature = "profile") && config.profiling.is_on;
        let requests = lists.then(|| Requests::new(config.profiling.block));
        if traces.is_none() && requests.is_none() {
            return Ok(Self::default());
        }
        let observed: &'static Observed = Box::leak(Box::new(Observed { traces, requests }));
        Ok(Self { observing: Observing(Some(observed)), exporter })
    }

    /// Follows background tasks, too.
    pub(super) fn follow(&self, tasks: Vec<Background>) -> Vec<Background> {
        let Some(observed) = self.observing.0 else { return tasks };
        let follow = |one: Background| one.map(move |name, task| observed::task(observed, name, task));
        tasks.into_iter().map(follow).collect()
    }
}

impl Observing {
    /// The maker of spans, if requests are traced.
    pub(super) fn tracer(self) -> Option<&'static Tracer> {
        self.0.and_then(|observed| observed.traces)
    }

    /// The list of the requests that are alive, if there is one.
    #[cfg(feature = "profile")]
    pub(super) fn requests(self) -> Option<&'static Requests> {
        self.0.and_then(|observed| observed.requests)
    }
}
