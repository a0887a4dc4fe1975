//! Lines of single workers.

use gin_shared::control::{EventLine, Step};
use gin_shared::generation::WorkerId;

use super::Reporter;
use super::reason::reason;
use crate::machine::action::WorkerReport;
use crate::os::time;
use crate::view::View;

impl Reporter {
    /// Tells a transition of a worker.
    pub(super) fn report_worker(
        &self,
        view: View<'_>,
        worker: WorkerId,
        pid: Option<i32>,
        what: &WorkerReport,
        took_ms: f64,
    ) {
        let (generation, slot) = (worker.generation.0, worker.slot.0);
        let (level, mut text) = worker_line(what);
        if let WorkerReport::Failed(failure) = what {
            text = format!("failed: {}", reason(failure, &view.workers.last_words(worker)));
        }
        match level {
            Severity::Error => tracing::error!(generation, slot, pid, took_ms, "worker {generation}.{slot} {text}"),
            Severity::Warn => tracing::warn!(generation, slot, pid, took_ms, "worker {generation}.{slot} {text}"),
            Severity::Info => tracing::info!(generation, slot, pid, took_ms, "worker {generation}.{slot} {text}"),
        }
        if let WorkerReport::Probed(said) = what {
            let step = Step::Probe { slot, text: said.clone() };
            self.operations.step_of(worker.generation, &step);
        }
        let line = EventLine {
            at_ms: time::wall_ms(),
            text: format!("worker {text}"),
            generation: Some(worker.generation),
            slot: Some(slot),
            pid,
        };
        // Without a follower it is lost, as it should be.
        let _ = self.events.send(line);
    }
}

/// The severity of a line in the log.
enum Severity {
    Error,
    Warn,
    Info,
}

fn worker_line(what: &WorkerReport) -> (Severity, String) {
    use Severity::{Error, Info, Warn};
    match what {
        WorkerReport::Spawned => (Info, "spawned".to_owned()),
        WorkerReport::Started => (Info, "started".to_owned()),
        WorkerReport::Ready => (Info, "ready".to_owned()),
        WorkerReport::WarmedUp => (Info, "warmed up".to_owned()),
        WorkerReport::Probed(said) => (Info, format!("probed: {said}")),
        WorkerReport::Serving => (Info, "serving".to_owned()),
        WorkerReport::Draining => (Info, "draining".to_owned()),
        WorkerReport::Stopping => (Warn, "stops, and nobody here has told it to".to_owned()),
        WorkerReport::Exited(exit) => (Info, exit.to_string()),
        WorkerReport::Unfit(unfit) => (Warn, format!("is to be replaced: {unfit}")),
        WorkerReport::Aborted => (Warn, "sent SIGABRT".to_owned()),
        WorkerReport::Killed(_) => (Warn, "sent SIGKILL".to_owned()),
        WorkerReport::Respawn(wait) => (Warn, format!("respawns in {} ms", wait.as_millis())),
        WorkerReport::Failed(failure) => (Error, format!("failed: {failure}")),
    }
}
