//! Samples of the status and the counts of the loop.

use std::path::PathBuf;
use std::sync::Arc;

use super::Reporter;
use crate::generations::Generations;
use crate::machine::Machine;
use crate::machine::generation::Run;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::samples::{Fleet, Meter, Samples, Times, WorkerSample};
use crate::view::View;

impl Reporter {
    /// Gathers the samples. `first_started`: the start of the instance's first master, if that is known.
    #[must_use]
    pub fn samples(&self, now: Moment, view: View<'_>, first_started: Option<Moment>, meter: Arc<Meter>) -> Samples {
        let machine = view.machine;
        let upgraded = machine.history.iter().next_back().map(|record| record.ended);
        Samples {
            status: self.status(now, view),
            counts: machine.counts,
            fleet: Fleet {
                down: machine.is_down(now),
                in_backoff: machine.in_backoff(),
                restarts_waiting: machine.waiting_restarts(),
            },
            times: Times { started: self.started, first_started, upgraded },
            workers: workers(machine),
            places: self.places(machine, view.generations),
            certificates: view.certificates.told(&view.workers.refused()),
            meter,
        }
    }

    /// Places on the disks that the instance uses: its state, the workers' directory, their log.
    fn places(&self, machine: &Machine, generations: &Generations) -> Vec<PathBuf> {
        let configured = generations.current(machine).and_then(|frozen| frozen.directory.clone());
        let directory = configured.or_else(|| std::env::current_dir().ok());
        let log = generations.config().log_file().map(|path| match &directory {
            Some(directory) => directory.join(path),
            None => path.to_owned(),
        });
        [Some(self.paths.runtime.clone()), directory.clone(), log].into_iter().flatten().collect()
    }
}

fn workers(machine: &Machine) -> Vec<WorkerSample> {
    let sample = |worker: &Worker| Some(WorkerSample { id: worker.id, pid: worker.pid?, born: worker.born });
    machine.runs().flat_map(Run::workers).filter_map(sample).collect()
}
