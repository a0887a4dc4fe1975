//! Every process that the master starts, in three steps: fork, save, orders.
//!
//! The process waits between the first and the last step. A master that dies before the state is saved leaves a process that
//! ends by itself; a master that dies after it leaves one that its successor knows.

use std::io;

use gin_shared::generation::{Generation, WorkerId};

use super::Driver;
use crate::machine::event::{Event, WorkerEvent};
use crate::machine::failure::{CommandError, Failure};
use crate::machine::fleet::Fleet;
use crate::machine::plan::Plan;
use crate::moment::Moment;
use crate::os::fault;
use crate::workers::gate::GateCommand;

impl Driver {
    /// Freezes a generation; then the operator's command may still object.
    pub(super) fn prepare(&mut self, now: Moment, generation: Generation, from: Option<Generation>) {
        let booting = matches!(self.machine.fleet, Fleet::Booting(_));
        // After a wait the configuration may be another one.
        let is_fresh = self.reporter.service_manager.failed_start().is_none();
        let plan = match from {
            Some(from) => self.freeze_again(generation, from),
            None if booting && is_fresh => self.generations.freeze_first(generation),
            None => self.generations.freeze(generation),
        };
        let plan = plan.and_then(|plan| self.admit_certificates(generation, plan, from.is_some()));
        match plan {
            Ok(plan) if !booting => self.run_before_restart(now, generation, plan),
            plan => self.pending.push_back(Event::Prepared { generation, plan }),
        }
    }

    fn freeze_again(&mut self, generation: Generation, from: Generation) -> Result<Plan, Failure> {
        let (plan, warning) = self.generations.freeze_again(generation, from)?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
            self.reporter.operations.warn(generation, &warning);
        }
        Ok(plan)
    }

    /// Starts a worker.
    pub(super) fn spawn(&mut self, worker: WorkerId) {
        if let Err(error) = self.try_spawn(worker) {
            self.tell(worker, WorkerEvent::SpawnFailed { error: error.to_string() });
        }
    }

    fn try_spawn(&mut self, worker: WorkerId) -> io::Result<()> {
        let gone = || io::Error::other("its generation is gone");
        let frozen = self.generations.get(worker.generation).ok_or_else(gone)?;
        let forked = self.workers.fork(worker, frozen)?;
        self.save();
        let _ = fault::at("spawn.recorded");
        let frozen = self.generations.get(worker.generation).ok_or_else(gone)?;
        let pid = forked.pid();
        let started = self.workers.start(forked, frozen, self.reporter.trace_of_worker(worker));
        self.tell(worker, WorkerEvent::Spawned { pid });
        if let Err(error) = started {
            let error = format!("the exec helper cannot be given its orders: {error}");
            self.tell(worker, WorkerEvent::ExecFailed { error });
        }
        Ok(())
    }

    /// Starts a command of the gate for a worker.
    pub(super) fn start_gate(&mut self, worker: WorkerId, which: GateCommand) {
        if let Err(error) = self.try_start_gate(worker, which) {
            self.tell(worker, which.event(Err(CommandError::NotStarted(error.to_string()))));
        }
    }

    fn try_start_gate(&mut self, worker: WorkerId, which: GateCommand) -> io::Result<()> {
        let command = self.workers.fork_command()?;
        self.save();
        let frozen = self.generations.get(worker.generation);
        let frozen = frozen.ok_or_else(|| io::Error::other("its generation is gone"))?;
        self.workers.start_gate(worker, which, command, frozen)
    }

    /// Starts the probe of a worker.
    pub(super) fn start_probe(&mut self, worker: WorkerId) {
        if let Err(error) = self.workers.start_probe(worker, self.generations.get(worker.generation)) {
            self.tell(worker, WorkerEvent::Probed(Err(error)));
        }
    }

    fn tell(&mut self, worker: WorkerId, what: WorkerEvent) {
        self.pending.push_back(Event::Worker { worker, what });
    }
}
