//! The traces of restarts, and their way to a receiver (`supervisor.traces`).
//!
//! The loop never waits for a receiver: spans go to a thread that sends them. It begins with the first span; while nothing waits, it sleeps.

mod restarts;
mod span;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use gin_otlp::{Cleartext, Counts, Endpoint, Exporter, Outcome, Resource, Settings, Sink, Thread};
use gin_shared::generation::WorkerId;
use gin_shared::trace_context::TraceContext;

use crate::machine::action::{Report, WorkerReport};
use crate::moment::Moment;
use crate::os::time;
use crate::task;
use crate::view::View;
use restarts::{Facts, Restarts};

/// Time for the spans that wait before another program takes over, or at the end.
const LAST: Duration = Duration::from_millis(500);
/// Time for the spans that wait for a receiver that the configuration names no more.
const LEFT: Duration = Duration::from_secs(10);
/// Time for one export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait of a span before it is sent.
const INTERVAL: Duration = Duration::from_secs(1);
/// Difference of the two clocks that is taken as an error of reading them: within a restart they stand still to each other, so that a part
/// never seems to begin before the whole.
const CLOCK_ERROR: Duration = Duration::from_millis(10);
/// The most bytes of spans that wait. A restart of ten workers has some 5 KiB.
const MEMORY: usize = 256 * 1024;

/// The traces of restarts.
#[derive(Debug)]
pub(super) struct Traces {
    /// The start of the instance's first master.
    first_started: Moment,
    /// The restarts, since there is a receiver.
    restarts: Option<Restarts>,
    receiver: Option<Receiver>,
    /// The wall clock at moment 0, in nanoseconds since 1970.
    boot_ns: u64,
}

/// The receiver that the configuration names.
#[derive(Debug)]
struct Receiver {
    endpoint: Endpoint,
    /// The spans that wait for it, once there were any.
    sink: Option<Sink>,
    /// True if the log says that there is no thread to send them.
    is_told: bool,
}

/// The exporter logs what it cannot send; the master has no metric of it.
struct Uncounted;

impl Counts for Uncounted {
    fn add(&self, _: Outcome, _: u64) {}
}

impl Traces {
    /// Nothing is traced yet. `first_started`: the start of the instance's first master.
    #[must_use]
    pub(super) fn new(first_started: Moment) -> Self {
        Self { first_started, restarts: None, receiver: None, boot_ns: 0 }
    }

    /// Sets the start of the instance's first master, before anything is traced.
    pub(super) fn set_first_started(&mut self, first_started: Moment) {
        self.first_started = first_started;
    }

    /// Traces a transition, if there is a receiver.
    pub(super) fn report(&mut self, now: Moment, view: View<'_>, report: &Report) {
        self.follow(view);
        self.read_clocks(now);
        let (Some(restarts), Some(receiver)) = (&mut self.restarts, &mut self.receiver) else { return };
        let said = if let Report::Worker { worker, what: WorkerReport::Failed(_), .. } = report {
            view.workers.last_words(*worker)
        } else {
            Vec::new()
        };
        let facts = Facts {
            now,
            wall_ns: self.boot_ns + now.0,
            current: view.machine.current().map(|run| run.id),
            history: &view.machine.history,
            said,
        };
        let instance = &view.generations.config().instance;
        restarts.report(report, &facts, &mut |span| {
            if let Some(sink) = receiver.sink(instance) {
                sink.push(&span.bytes());
            }
        });
    }

    /// The span that a worker's start belongs to.
    #[must_use]
    pub(super) fn of_worker(&self, worker: WorkerId) -> Option<TraceContext> {
        self.traced().map(|restarts| restarts.of_worker(worker))
    }

    /// The span that a worker's drain belongs to, if a restart is its reason.
    #[must_use]
    pub(super) fn of_drain(&self, worker: WorkerId) -> Option<TraceContext> {
        self.traced().and_then(|restarts| restarts.of_drain(worker))
    }

    /// Sends what waits, before another program takes over. If that does not happen, the next span begins anew.
    pub(super) fn hand_on(&mut self) {
        if let Some(sink) = self.take_sink() {
            // The exporter logs what is lost.
            let _ = sink.flush_blocking(LAST);
        }
    }

    /// Sends what waits, at the end. Callers are served meanwhile.
    pub(super) async fn end(&mut self) {
        if let Some(sink) = self.take_sink() {
            let _ = sink.flush(LAST).await;
        }
    }

    fn traced(&self) -> Option<&Restarts> {
        self.restarts.as_ref().filter(|_| self.receiver.is_some())
    }

    fn take_sink(&mut self) -> Option<Sink> {
        self.receiver.as_mut().and_then(|receiver| receiver.sink.take())
    }

    /// Notes that the wall clock was set.
    fn read_clocks(&mut self, now: Moment) {
        let boot_ns = time::wall_ns_at(now).saturating_sub(now.0);
        if u128::from(boot_ns.abs_diff(self.boot_ns)) > CLOCK_ERROR.as_nanos() {
            self.boot_ns = boot_ns;
        }
    }

    /// Takes the receiver that the configuration in force names.
    fn follow(&mut self, view: View<'_>) {
        let config = view.generations.config();
        let wanted = config.live.traces.as_ref();
        if self.receiver.as_ref().map(|receiver| &receiver.endpoint) == wanted {
            return;
        }
        if let Some(sink) = self.take_sink() {
            task::spawn(async move { sink.flush(LEFT).await });
        }
        self.receiver = wanted.map(|endpoint| Receiver { endpoint: endpoint.clone(), sink: None, is_told: false });
        self.restarts.get_or_insert_with(|| Restarts::new(&config.instance, self.first_started));
    }
}

impl Receiver {
    /// The place for spans, whose thread begins with the first one; `None` if there is no thread to be had.
    fn sink(&mut self, instance: &str) -> Option<&Sink> {
        self.sink_by(instance, |exporter| Thread::start("traces", exporter))
    }

    /// The same with another way to start the thread. Each span tries it; the log has one line until a try succeeds.
    fn sink_by(&mut self, instance: &str, start: impl FnOnce(Exporter) -> io::Result<Thread>) -> Option<&Sink> {
        if self.sink.is_none() {
            let settings = Settings {
                endpoint: self.endpoint.clone(),
                headers: HeaderMap::new(),
                timeout: TIMEOUT,
                interval: INTERVAL,
                memory: MEMORY,
                resource: resource(instance),
                scope_version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let (sink, exporter) = gin_otlp::exporter(settings, Arc::new(Cleartext), Arc::new(Uncounted));
            match start(exporter) {
                Ok(_) => (self.sink, self.is_told) = (Some(sink), false),
                Err(_) if self.is_told => {}
                Err(error) => {
                    self.is_told = true;
                    tracing::warn!("there is no thread to send the traces of restarts: {error}");
                }
            }
        }
        self.sink.as_ref()
    }
}

/// The attributes of the master.
fn resource(instance: &str) -> Resource {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim_end();
    let mut resource = Resource::default();
    resource.set("service.name", "gin-supervisor");
    resource.set("service.version", env!("CARGO_PKG_VERSION"));
    resource.set("service.instance.id", format!("{instance}@{host}"));
    resource.set("host.name", host);
    resource.set("process.pid", std::process::id().to_string());
    resource.set("gin.instance", instance);
    resource
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use gin_shared::protobuf::{Field, Reader};
    use gin_shared::trace_context::{SpanId, TraceId};

    use super::span::Span;
    use super::*;

    #[test]
    fn a_thread_that_cannot_be_started_is_told_once() {
        let mut receiver = Receiver { endpoint: Endpoint::default(), sink: None, is_told: false };
        let file = Arc::new(tempfile::tempfile().unwrap());
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&file)).finish();
        let no_thread = |_: Exporter| -> io::Result<Thread> { Err(io::ErrorKind::WouldBlock.into()) };
        tracing::subscriber::with_default(log, || {
            for _ in 0..3 {
                assert!(receiver.sink_by("shop", no_thread).is_none());
            }
        });
        let (mut read, mut said) = (&*file, String::new());
        read.rewind().unwrap();
        read.read_to_string(&mut said).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("WARN") && said.contains("no thread"), "{said}");
    }

    #[test]
    fn a_span_has_its_ids_and_its_error_as_bytes() {
        let (trace, id, parent) = ([7; 16], [8; 8], [9; 8]);
        let span = Span {
            context: TraceContext {
                trace: TraceId::new(trace).unwrap(),
                span: SpanId::new(id).unwrap(),
                is_sampled: true,
            },
            parent: SpanId::new(parent),
            name: "ready".to_owned(),
            start_ns: 1,
            end_ns: 2,
            error: Some("no".to_owned()),
            attributes: vec![("gin.generation", 3_u64.into()), ("gin.instance", "shop".into())],
            events: vec![(1, "started".to_owned())],
        };
        let bytes = span.bytes();
        let (mut reader, mut fields) = (Reader::new(&bytes), Vec::new());
        while let Some(field) = reader.next().unwrap() {
            fields.push(field);
        }
        for (number, value) in [(1, &trace[..]), (2, &id[..]), (4, &parent[..]), (5, &b"ready"[..])] {
            assert!(fields.contains(&(number, Field::Bytes(value))), "{number}: {fields:?}");
        }
        assert!(fields.contains(&(7, Field::Fixed64(1))) && fields.contains(&(8, Field::Fixed64(2))), "{fields:?}");
        let count = |number| fields.iter().filter(|(field, _)| *field == number).count();
        assert_eq!([9, 11, 15].map(count), [2, 1, 1]);
    }
}
