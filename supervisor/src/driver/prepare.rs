//! What a generation is made of: the configuration read anew, its sockets, and the operator's consent; and what counts once
//! it serves.

use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use gin_shared::generation::Generation;

use super::command::Command;
use super::frozen::Frozen;
use super::perform::Performer;
use super::report::{hook_ended, hook_variables};
use crate::config::Config;
use crate::inbox::Message;
use crate::machine::Machine;
use crate::machine::event::Event;
use crate::machine::failure::Failure;
use crate::machine::fleet::Fleet;
use crate::machine::plan::Plan;
use crate::os::listener::{Existing, Listener, ListenerSpec, Listening, gather};
use crate::os::time;
use gin_shared::config::Problem;

impl Performer {
    /// Freezes a generation; then the operator's command may still object.
    pub(super) fn prepare(
        &mut self,
        generation: Generation,
        from: Option<Generation>,
        machine: &Machine,
        events: &mut VecDeque<Event>,
    ) {
        let boot = matches!(machine.fleet, Fleet::Booting(_));
        let plan = match from {
            Some(from) => self.freeze_again(generation, from),
            None => self.freeze(generation, boot),
        };
        let started = match (&plan, boot) {
            (Ok(_), false) => self.start_hook(generation, machine),
            (Ok(_) | Err(_), _) => Ok(None),
        };
        match started {
            Ok(None) => events.push_back(Event::Prepared { generation, plan }),
            Ok(Some((command, timeout))) => {
                self.preparing.insert(generation, command.child());
                let now = time::now();
                self.service_manager.extend(now, now + timeout);
                let (inbox, operations) = (self.handle.inbox.clone(), self.handle.operations.clone());
                let began = time::now();
                super::task::spawn(async move {
                    let result = command.end(timeout).await;
                    let took = time::now().since(began);
                    hook_ended(&operations, generation, "before_restart", &result, took);
                    let plan =
                        result.map_err(|said| Failure::Prepare(format!("hooks.before_restart: {said}"))).and(plan);
                    let _ = inbox.send(Message::Event(Event::Prepared { generation, plan })).await;
                });
            }
            Err(error) => {
                let plan = Err(Failure::Prepare(format!("hooks.before_restart: {error}")));
                events.push_back(Event::Prepared { generation, plan });
            }
        }
    }

    fn start_hook(&mut self, generation: Generation, machine: &Machine) -> io::Result<Option<(Command, Duration)>> {
        if self.frozen.get(&generation).is_none_or(|frozen| frozen.commands.before_restart.is_none()) {
            return Ok(None);
        }
        let command = Command::begin(&self.claims)?;
        self.keep(machine);
        let Some(frozen) = self.frozen.get(&generation) else { return Ok(None) };
        let Some(program) = &frozen.commands.before_restart else { return Ok(None) };
        let asked_by = machine.candidate().map(|c| c.request.asked_by.clone()).unwrap_or_default();
        let previous = machine.current().map(|run| run.id);
        let more = hook_variables(previous, asked_by, "starting", None);
        let spec = frozen.command_spec(program, more);
        command.start(&spec, program)?;
        Ok(Some((command, frozen.config.hooks.timeout)))
    }

    fn freeze(&mut self, generation: Generation, boot: bool) -> Result<Plan, Failure> {
        let config = if boot {
            self.parts.config.clone()
        } else {
            self.load().map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Failure::Config(lines.join("\n"))
            })?
        };
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let listeners = self.gather(&config.listeners).map_err(Failure::Prepare)?;
        let frozen =
            Frozen::freeze(generation, &config, listeners, &self.parts.paths.runtime).map_err(Failure::Prepare)?;
        let plan = frozen.plan();
        self.frozen.insert(generation, frozen);
        self.configs.insert(generation, config);
        Ok(plan)
    }

    /// As another generation was frozen.
    fn freeze_again(&mut self, generation: Generation, from: Generation) -> Result<Plan, Failure> {
        let gone = || Failure::Prepare(format!("generation {from} is not known any more"));
        let specs = self.frozen.get(&from).ok_or_else(gone)?.listeners.specs();
        let listeners = self.gather(&specs).map_err(Failure::Prepare)?;
        let frozen = self.frozen.get(&from).ok_or_else(gone)?;
        let again = frozen.again(generation, listeners, &self.parts.paths.runtime).map_err(Failure::Prepare)?;
        if let Some(warning) = again.points_elsewhere() {
            tracing::warn!("{warning}");
            self.handle.operations.warn(generation, &warning);
        }
        let plan = again.plan();
        self.frozen.insert(generation, again);
        Ok(plan)
    }

    /// The configuration as it is now.
    pub(super) fn load(&self) -> Result<Config, Vec<Problem>> {
        let mut config = Config::load(&self.parts.cli)?;
        if let (Some(passed), false) = (&self.parts.passed, config.listeners_asked_for) {
            let nonblocking = config.listeners.first().map(|spec| spec.nonblocking);
            config.listeners.clone_from(passed);
            config.listeners.iter_mut().for_each(|spec| spec.nonblocking = nonblocking.unwrap_or(spec.nonblocking));
        }
        Ok(config)
    }

    /// The sockets of a configuration: those that there are, and new ones for what is new.
    fn gather(&mut self, specs: &[ListenerSpec]) -> Result<Vec<Listening>, String> {
        let booted = std::mem::take(&mut self.parts.listeners);
        self.sockets.extend(booted.iter().map(Rc::downgrade));
        self.sockets.retain(|socket| socket.strong_count() > 0);
        let all: Vec<&Listening> = self.frozen.values().flat_map(|frozen| frozen.listeners.open()).collect();
        let names = |socket: &Rc<Listener>| {
            let with = all.iter().filter(|listening| Rc::ptr_eq(&listening.socket, socket));
            with.map(|listening| listening.spec.name.clone()).collect()
        };
        let upgraded = self.sockets.iter().filter_map(Weak::upgrade);
        let existing: Vec<Existing> = upgraded.map(|socket| Existing { names: names(&socket), socket }).collect();
        let listeners = gather(specs, &existing).map_err(|error| error.to_string())?;
        for listening in &listeners {
            if !existing.iter().any(|there| Rc::ptr_eq(&there.socket, &listening.socket)) {
                self.sockets.push(Rc::downgrade(&listening.socket));
                tracing::info!(name = listening.spec.name, "listening on {}", listening.socket.address);
            }
        }
        Ok(listeners)
    }

    /// What counts in place counts from now on; what needs a new start is named.
    pub(super) fn apply(&mut self, mut config: Config) {
        let fixed = self.parts.config.fixed.changed(&config.fixed);
        if !fixed.is_empty() {
            tracing::warn!("changed, but counts only from a new start of the supervisor: {}", fixed.join(", "));
        }
        self.fixed_seen = config.fixed.clone();
        config.fixed = self.parts.config.fixed.clone();
        self.parts.config = config;
    }

    /// The generation serves now: its settings count, and its sockets are as it wants them.
    pub(super) fn take_effect(&mut self, generation: Generation) {
        if let Some(config) = self.configs.remove(&generation) {
            self.apply(config);
        }
        let Some(frozen) = self.frozen.get(&generation) else { return };
        for listening in frozen.listeners.open() {
            if let Err(error) = listening.socket.apply(&listening.spec) {
                tracing::error!(name = listening.spec.name, "listener: mode, owner or backlog: {error}");
            }
        }
    }
}
