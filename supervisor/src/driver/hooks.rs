//! The operator's hooks around a restart. Only `before_restart` is waited for.

use std::io;
use std::time::Duration;

use gin_shared::generation::Generation;
use gin_shared::inherit::GIN_GENERATION;

use super::Driver;
use crate::generations::program::Program;
use crate::inbox::Message;
use crate::machine::event::Event;
use crate::machine::failure::Failure;
use crate::machine::plan::Plan;
use crate::moment::Moment;
use crate::os::time;
use crate::reporter::hook_ended;
use crate::state::Commands;
use crate::task;
use crate::workers::command::Command;

/// A hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    /// Runs before the first worker of a generation; its failure is the generation's.
    BeforeRestart,
    /// Runs when a generation serves.
    AfterRestart,
    /// Runs when a generation has failed.
    OnFailure,
}

impl Hook {
    /// The key of the configuration.
    fn name(self) -> &'static str {
        match self {
            Self::BeforeRestart => "before_restart",
            Self::AfterRestart => "after_restart",
            Self::OnFailure => "on_failure",
        }
    }

    /// The value of GIN_OUTCOME.
    fn outcome(self) -> &'static str {
        match self {
            Self::BeforeRestart => "starting",
            Self::AfterRestart => "done",
            Self::OnFailure => "failed",
        }
    }

    fn program(self, commands: &Commands<Program>) -> Option<&Program> {
        match self {
            Self::BeforeRestart => commands.before_restart.as_ref(),
            Self::AfterRestart => commands.after_restart.as_ref(),
            Self::OnFailure => commands.on_failure.as_ref(),
        }
    }
}

/// Variables for a hook.
type Variables = Vec<(&'static str, String)>;

impl Driver {
    /// Runs `before_restart`, if there is one; the generation is prepared when it has ended well.
    pub(super) fn run_before_restart(&mut self, now: Moment, generation: Generation, plan: Plan) {
        let candidate = self.machine.candidate();
        let asked_by = candidate.map(|candidate| candidate.request.asked_by.clone()).unwrap_or_default();
        let previous = self.machine.current().map(|run| run.id);
        let variables = variables(Hook::BeforeRestart, previous, asked_by, None);
        match self.start_hook(Hook::BeforeRestart, generation, variables) {
            Ok(None) => self.pending.push_back(Event::Prepared { generation, plan: Ok(plan) }),
            Ok(Some((command, timeout))) => {
                self.workers.hook_started(generation, &command);
                self.reporter.service_manager.extend(now, now + timeout);
                let (inbox, operations, began) =
                    (self.handle.inbox.clone(), self.handle.operations.clone(), time::now());
                task::spawn(async move {
                    let result = command.end(timeout).await;
                    let took = time::now().since(began);
                    hook_ended(&operations, generation, Hook::BeforeRestart.name(), &result, took);
                    let failed = |error| Failure::Prepare(format!("hooks.before_restart: {error}"));
                    let plan = result.map_err(failed).and(Ok(plan));
                    let _ = inbox.send(Message::Event(Event::Prepared { generation, plan })).await;
                });
            }
            Err(error) => {
                let plan = Err(Failure::Prepare(format!("hooks.before_restart: {error}")));
                self.pending.push_back(Event::Prepared { generation, plan });
            }
        }
    }

    /// Runs `after_restart`, if there is one.
    pub(super) fn run_after_restart(&mut self, generation: Generation) {
        self.run_unawaited(Hook::AfterRestart, generation, None);
    }

    /// Runs `on_failure`, if there is one.
    pub(super) fn run_on_failure(&mut self, generation: Generation, failure: &Failure) {
        self.run_unawaited(Hook::OnFailure, generation, Some(failure.to_string()));
    }

    /// Runs a hook that nobody waits for. If the generation could not be frozen, the current one's is run.
    fn run_unawaited(&mut self, hook: Hook, generation: Generation, reason: Option<String>) {
        let current = self.machine.current().map(|run| run.id);
        let has = |id: &Generation| self.generations.get(*id).is_some();
        let Some(owner) = Some(generation).filter(has).or(current.filter(has)) else { return };
        let record = self.machine.history.iter().next_back();
        let asked_by = record.map(|record| record.asked_by.clone()).unwrap_or_default();
        let mut variables = variables(hook, self.reporter.previous(generation), asked_by, reason);
        variables.push((GIN_GENERATION, generation.to_string()));
        let (operations, began, name) = (self.handle.operations.clone(), time::now(), hook.name());
        match self.start_hook(hook, owner, variables) {
            Ok(None) => {}
            Ok(Some((command, timeout))) => {
                task::spawn(async move {
                    let result = command.end(timeout).await;
                    hook_ended(&operations, generation, name, &result, time::now().since(began));
                });
            }
            Err(error) => tracing::error!(generation = generation.0, "hook {name} cannot be started: {error}"),
        }
    }

    /// Forks, saves, and gives the hook its orders; `None` if `owner` has no such hook.
    fn start_hook(
        &mut self,
        hook: Hook,
        owner: Generation,
        more: Variables,
    ) -> io::Result<Option<(Command, Duration)>> {
        if self.generations.get(owner).is_none_or(|frozen| hook.program(&frozen.commands).is_none()) {
            return Ok(None);
        }
        let command = self.workers.fork_command()?;
        self.save();
        let Some(frozen) = self.generations.get(owner) else { return Ok(None) };
        let Some(program) = hook.program(&frozen.commands) else { return Ok(None) };
        command.start(&frozen.command_spec(program, more), program)?;
        Ok(Some((command, frozen.config.hooks.timeout)))
    }
}

fn variables(hook: Hook, previous: Option<Generation>, asked_by: String, reason: Option<String>) -> Variables {
    let mut variables = vec![("GIN_OUTCOME", hook.outcome().to_owned()), ("GIN_ASKED_BY", asked_by)];
    variables.extend(reason.map(|reason| ("GIN_REASON", reason)));
    variables.extend(previous.map(|previous| ("GIN_PREVIOUS_GENERATION", previous.to_string())));
    variables
}
