//! The answers to operations: exit code and text.

use gin_shared::control::OperationId;
use gin_shared::exit;

use crate::inbox::operations::Operations;
use crate::machine::Machine;
use crate::machine::action::Answer;
use crate::machine::failure::Failure;
use crate::view::View;
use crate::worker_count::workers as workers_text;

/// The exit code and the text of an answer.
pub(super) fn text(view: View<'_>, operations: &Operations, operation: OperationId, answer: &Answer) -> (u8, String) {
    let machine = view.machine;
    match answer {
        Answer::Restarted { generation, previous } => {
            let elsewhere = match (&machine.history.iter().next_back(), view.generations.get(*generation)) {
                (Some(record), Some(frozen)) if record.rollback.is_some() => frozen.points_elsewhere(),
                _ => None,
            };
            let elsewhere = elsewhere.map(|text| format!("; but {text}")).unwrap_or_default();
            (exit::DONE, format!("generation {generation} serves; generation {previous} drains{elsewhere}"))
        }
        Answer::Scaled(workers) => {
            let verb = if *workers == 1 { "serves" } else { "serve" };
            (exit::DONE, format!("{} {verb}", workers_text(*workers)))
        }
        Answer::Incomplete { failure, workers } => {
            (exit::FAILED, format!("scaling to {workers} is incomplete: a worker failed and is restarted: {failure}"))
        }
        Answer::CancelDone => (exit::DONE, "cancelled".to_owned()),
        Answer::Stopped => (exit::DONE, "stopped".to_owned()),
        Answer::Reexeced => (exit::DONE, upgraded(view.workers.count())),
        Answer::Died => {
            (exit::FAILED, "the supervisor died before it was done; gin-ctl status tells what serves".to_owned())
        }
        Answer::NotReexeced(why) => {
            let exit = if let Failure::Config(_) = why { exit::USAGE } else { exit::FAILED };
            (exit, format!("the supervisor was not upgraded, and goes on as it is: {why}"))
        }
        Answer::Failed(failure @ Failure::Config(_)) => {
            (exit::USAGE, format!("the configuration cannot be used; nothing changed\n{failure}"))
        }
        Answer::Failed(failure) => {
            let what = match operations.failed_generation(operation) {
                Some(generation) => format!("generation {generation} failed"),
                None => failure.to_string(),
            };
            (exit::FAILED, format!("{what}; nothing changed{}", still_serves(machine)))
        }
        Answer::Cancelled(because) => {
            (exit::TIMED_OUT, format!("cancelled: {because}; nothing changed{}", still_serves(machine)))
        }
        Answer::Busy(text) => (exit::BUSY, text.clone()),
        Answer::Refused(text) => (exit::REFUSED, text.clone()),
    }
}

fn upgraded(workers: usize) -> String {
    let (workers, version, pid) = (workers_text(workers), env!("CARGO_PKG_VERSION"), std::process::id());
    format!("gin-supervisor {version} is the master now, pid {pid} as before; {workers} went on")
}

fn still_serves(machine: &Machine) -> String {
    machine.current().map_or_else(String::new, |run| {
        let filling = if run.is_degraded() { ", and fills its slots again" } else { "" };
        format!(": generation {} serves, {}/{}{filling}", run.id, run.serving(), run.plan.workers)
    })
}
