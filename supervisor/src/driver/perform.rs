//! Actions become steps of the five owners.

use super::Driver;
use crate::failed_start;
use crate::machine::action::{Action, GenerationAction, MasterAction, Report, WorkerAction, WorkerReport};
use crate::moment::Moment;
use crate::os::runtime::sweep;
use crate::view::View;
use crate::workers::gate::GateCommand;
use gin_shared::channel::{DrainReason, Fates};
use gin_shared::control::Phase;
use gin_shared::generation::{Generation, WorkerId};

impl Driver {
    /// Carries `actions` out, in order. Gives the exit code, once there is one.
    pub(super) fn perform(&mut self, now: Moment, actions: Vec<Action>) -> Option<u8> {
        let mut code = None;
        for action in actions {
            match action {
                Action::Worker(worker, action) => self.perform_on_worker(worker, action),
                Action::Generation(generation, action) => self.perform_on_generation(now, generation, action),
                Action::Master(MasterAction::CheckReexec) => self.check_reexec(),
                Action::Master(MasterAction::Reexec) => self.pause_for_reexec(),
                Action::Master(MasterAction::CloseListeners) => self.generations.close_own_listeners(),
                Action::Master(MasterAction::Exit(with)) => {
                    // Some may not have been removed in their time: that takes a descriptor.
                    sweep(&self.store.paths().runtime, |_| false, |_| false);
                    self.store.remove();
                    code = Some(with);
                }
                Action::Answer(operation, answer) => self.reporter.answer(now, self.view(), operation, &answer),
                Action::Report(report) => self.report(now, &report),
            }
        }
        code
    }

    fn perform_on_worker(&mut self, worker: WorkerId, action: WorkerAction) {
        match action {
            WorkerAction::Spawn => self.spawn(worker),
            WorkerAction::Check => self.start_gate(worker, GateCommand::Check),
            WorkerAction::WarmUp => self.start_gate(worker, GateCommand::WarmUp),
            WorkerAction::Probe => self.start_probe(worker),
            WorkerAction::Go => self.workers.go(worker),
            WorkerAction::Drain(reason) => self.drain(worker, reason),
            WorkerAction::HandOver => self.workers.hand_over(worker, &self.machine),
            WorkerAction::Relieve => self.workers.relieve(worker, &self.machine),
            WorkerAction::Redirect => self.workers.name_others(worker, &self.machine),
            WorkerAction::Balance => self.balance(),
            WorkerAction::Abort => self.workers.abort(worker),
            WorkerAction::Kill => self.workers.kill(worker),
        }
    }

    /// Tells a worker to finish, and of which restart its drain is a part.
    fn drain(&mut self, worker: WorkerId, reason: DrainReason) {
        let trace = match reason {
            DrainReason::Upgrade => self.reporter.trace_of_drain(worker),
            DrainReason::Stop => None,
        };
        self.workers.drain(worker, reason, trace, &self.machine);
    }

    /// Has workers share their load, if they are to.
    pub(super) fn balance(&mut self) {
        let shares = self.generations.live().balance;
        self.looks.balance = if shares { self.workers.balance(&self.machine) } else { None };
    }

    fn perform_on_generation(&mut self, now: Moment, generation: Generation, action: GenerationAction) {
        match action {
            GenerationAction::Prepare { from } => return self.prepare(now, generation, from),
            GenerationAction::Keep => self.generations.close(generation),
            GenerationAction::Forget => {
                self.generations.forget(generation);
                self.retain_certificates();
                self.reporter.forget(generation);
                self.workers.handle_forgotten(generation);
            }
        }
        // It has no worker left.
        let fates = self.workers.handle_generation_gone(generation);
        self.tell_drained(fates);
    }

    /// Tells those who wait for the generations before theirs to be gone, if these are.
    pub(super) fn tell_drained(&self, fates: Option<Fates>) {
        let leaving = &self.machine.leaving;
        self.reporter.operations.drained(fates, |later| leaving.iter().any(|run| run.id < later));
    }

    /// Tells a transition, and does what belongs to it.
    fn report(&mut self, now: Moment, report: &Report) {
        let Self { machine, workers, generations, certificates, reporter, .. } = self;
        reporter.report(now, View { machine, workers, generations, certificates }, report);
        match report {
            Report::Phase { generation, phase: Phase::Current, .. } => self.become_current(now, *generation),
            Report::Withdrawn { generation, failure, .. } if self.reporter.is_booted() => {
                self.run_on_failure(*generation, failure);
            }
            Report::Worker { what: WorkerReport::Serving, .. } => self.workers.redirect(None, &self.machine),
            // Its connections are elsewhere now.
            Report::Gone { .. } => self.balance(),
            Report::Waiting { .. }
            | Report::Candidate { .. }
            | Report::Phase { .. }
            | Report::Replaced { .. }
            | Report::Withdrawn { .. }
            | Report::Worker { .. }
            | Report::Stopping(_)
            | Report::Scaled { .. }
            | Report::Ignored(_) => {}
        }
        self.reporter.name_candidate(self.view());
    }

    /// Puts the settings of a generation into force that serves now.
    fn become_current(&mut self, now: Moment, generation: Generation) {
        self.generations.take_effect(generation);
        self.reporter.begin_to_look(now);
        self.reporter.service_manager.ready(&self.machine);
        if self.reporter.set_booted(true) {
            self.run_after_restart(generation);
        } else {
            failed_start::forget(&self.store.paths().runtime);
            self.reporter.greet_served(now, self.view());
        }
    }
}
