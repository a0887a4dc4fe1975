//! The maker of a server's spans: which traces are sampled, where spans go, and whose they are.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use gin_otlp::{Cleartext, Connect, Counts, Exporter, Resource, Settings, Sink};
use gin_shared::inherit::{GIN_ATTEMPT, Identity};
use gin_shared::trace_context::{Ratio, TraceId};
use nix::sys::utsname::uname;

#[cfg(feature = "tls")]
use super::connect::Secure;
use crate::config::{TraceParents, Tracing};
use crate::{Config, StartError, metrics};

static IS_ON: AtomicBool = AtomicBool::new(false);
/// The tracer of the process's first traced server.
static OF_PROCESS: OnceLock<&'static Tracer> = OnceLock::new();

/// True if a server of this process traces its requests.
#[inline]
pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// The tracer for spans that belong to no server.
pub(super) fn of_process() -> Option<&'static Tracer> {
    OF_PROCESS.get().copied()
}

/// Maker of the spans of a server. It is as old as the process will be.
#[derive(Debug)]
pub(crate) struct Tracer {
    sink: Sink,
    ratio: ArcSwap<Ratio>,
    parents: TraceParents,
    #[cfg(test)]
    pub(super) pushed: std::sync::Mutex<Vec<Vec<u8>>>,
}

impl Tracer {
    /// Makes the tracer of a server, and the sender of its spans.
    ///
    /// # Errors
    /// If the settings of the receiver cannot be used.
    pub(crate) fn new(
        config: &Config,
        version: &str,
        identity: Option<&Identity>,
    ) -> Result<(&'static Self, Exporter), StartError> {
        let tracing = &config.tracing;
        let settings = Settings {
            endpoint: tracing.endpoint.clone(),
            headers: headers(&tracing.headers)?,
            timeout: tracing.timeout,
            interval: tracing.interval,
            memory: usize::try_from(tracing.memory).unwrap_or(usize::MAX),
            resource: resource(tracing, version, identity),
            scope_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let counts = metrics::traces::counts(&config.monitoring.namespace);
        Ok(Self::with(settings, connect(tracing)?, counts, tracing))
    }

    /// The same with another way to connect and to count.
    pub(super) fn with(
        settings: Settings,
        connect: Arc<dyn Connect>,
        counts: Arc<dyn Counts>,
        tracing: &Tracing,
    ) -> (&'static Self, Exporter) {
        let (sink, exporter) = gin_otlp::exporter(settings, connect, counts);
        let tracer: &'static Self = Box::leak(Box::new(Self {
            sink,
            ratio: ArcSwap::from_pointee(tracing.sample_rate),
            parents: tracing.parents,
            #[cfg(test)]
            pushed: std::sync::Mutex::default(),
        }));
        let _ = OF_PROCESS.set(tracer);
        IS_ON.store(true, Ordering::Relaxed);
        (tracer, exporter)
    }

    /// Begins to send the spans, until [`Sink::flush`].
    pub(crate) fn spawn(&'static self, exporter: Exporter, namespace: &str) {
        let namespace = namespace.to_owned();
        let waiting = move || self.sink.waiting().1;
        tokio::spawn(async move { metrics::traces::sampled(&namespace, waiting, exporter.run()).await });
    }

    /// Samples this part of the traces that begin from now on.
    pub(crate) fn set_ratio(&self, ratio: Ratio) {
        self.ratio.store(Arc::new(ratio));
    }

    /// The spans that wait.
    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Sends a span that has ended.
    pub(super) fn push(&self, span: &[u8]) {
        #[cfg(test)]
        self.pushed.lock().expect("no test panics while it has the lock").push(span.to_vec());
        self.sink.push(span);
    }

    /// True if a trace that begins here is sampled.
    pub(super) fn takes(&self, trace: TraceId) -> bool {
        self.ratio.load().takes(trace)
    }

    /// True if a client's `traceparent` counts.
    pub(super) fn believes(&self, is_trusted: impl FnOnce() -> bool) -> bool {
        match self.parents {
            TraceParents::All => true,
            TraceParents::Trusted => is_trusted(),
            TraceParents::None => false,
        }
    }
}

fn headers(all: &[(String, String)]) -> Result<HeaderMap, StartError> {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let wrong =
            || StartError::Traces(format!("monitoring.jaeger.headers: {name:?} is no header with such a value"));
        let mut text = HeaderValue::from_str(value).map_err(|_| wrong())?;
        text.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, text);
    }
    Ok(headers)
}

fn connect(tracing: &Tracing) -> Result<Arc<dyn Connect>, StartError> {
    if tracing.endpoint.is_tls { secure(tracing, tracing.ca_file.as_deref()) } else { Ok(Arc::new(Cleartext)) }
}

#[cfg(feature = "tls")]
fn secure(tracing: &Tracing, authorities: Option<&Path>) -> Result<Arc<dyn Connect>, StartError> {
    Ok(Arc::new(Secure::new(authorities, tracing.endpoint.protocol)?))
}

#[cfg(not(feature = "tls"))]
fn secure(tracing: &Tracing, _: Option<&Path>) -> Result<Arc<dyn Connect>, StartError> {
    let endpoint = &tracing.endpoint;
    Err(StartError::Traces(format!(
        "monitoring.jaeger.endpoint: {endpoint} speaks TLS: this program was built without the feature \"tls\" of gin-worker"
    )))
}

/// Says whose spans these are, by OpenTelemetry's conventions.
fn resource(tracing: &Tracing, version: &str, identity: Option<&Identity>) -> Resource {
    let pid = std::process::id();
    let host = uname().map(|names| names.nodename().to_string_lossy().into_owned()).unwrap_or_default();
    let mut all = Resource::default();
    let instance = identity.map(|identity| identity.instance.clone());
    all.set("service.name", tracing.service_name.clone().or(instance).unwrap_or_else(program));
    all.set("service.version", version);
    all.set("host.name", host.as_str());
    all.set("process.pid", pid.to_string());
    all.set("telemetry.sdk.name", "gin-worker");
    all.set("telemetry.sdk.language", "rust");
    all.set("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    let id = match identity {
        Some(Identity { instance, generation, slot, .. }) => {
            let attempt = std::env::var(GIN_ATTEMPT).unwrap_or_else(|_| "0".to_owned());
            format!("{instance}/{}.{}.{attempt}@{host}", generation.0, slot.0)
        }
        None => format!("{host}/{pid}"),
    };
    all.set("service.instance.id", id);
    if let Some(identity) = identity {
        all.set("gin.instance", identity.instance.as_str());
        all.set("gin.generation", identity.generation.0.to_string());
        all.set("gin.slot", identity.slot.0.to_string());
        if let Some(release) = &identity.release {
            all.set("gin.release", release.as_str());
        }
    }
    for (key, value) in &tracing.attributes {
        all.set(key.as_str(), value.as_str());
    }
    all
}

/// Name of this program.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "unknown_service".to_owned(), |name| name.to_string_lossy().into_owned())
}
