//! Reading the configuration anew (HUP, `gin-ctl reload`): what counts in place is changed in place; everything else is a
//! restart.

use gin_shared::config::watch::Watch;
use gin_shared::exit;

use super::Driver;
use crate::config::Config;
use crate::inbox::{Message, ReloadRequest};
use crate::machine::event::{Event, Queue};
use crate::os::time;

impl Driver {
    pub(super) fn reload(&mut self, request: ReloadRequest) -> Option<Event> {
        let ReloadRequest { operation, asked_by, queue } = request;
        let end = |exit: u8, text: String| {
            if let Some(id) = operation {
                self.handle.operations.end(time::now(), id, exit, text);
            }
        };
        let parts = &self.performer.parts;
        let config = match self.performer.load() {
            Ok(config) => config,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                tracing::error!("{asked_by}: the configuration cannot be used; nothing changed: {}", lines.join("; "));
                end(exit::USAGE, format!("the configuration cannot be used; nothing changed\n{}", lines.join("\n")));
                return None;
            }
        };
        // A change that has not come into force yet, because its restart failed, is one still.
        let same = self.in_force(&config);
        let live = config.live != parts.config.live || self.performer.fixed_seen != config.fixed;
        // What is on its way may be just what was changed.
        let under_way = self.machine.candidate().is_some() || self.machine.has_waiting_restart();
        if !same || !live || under_way {
            return Some(Event::Restart { operation, asked_by, queue });
        }
        let fixed = parts.config.fixed.changed(&config.fixed);
        let mut text = "changed in place; no worker was restarted".to_owned();
        if !fixed.is_empty() {
            text = format!("{text}; only from a new start of the supervisor on: {}", fixed.join(", "));
        }
        tracing::info!("{asked_by}: reload: {text}");
        end(exit::DONE, text);
        self.performer.apply(config);
        self.machine.set_max_draining(self.performer.live().max_draining);
        None
    }

    /// Watches the configuration file, or does not any more, as `reload_on_change` says.
    pub(super) fn follow_file(&mut self) {
        let file = self.performer.parts.config.file.as_ref().filter(|_| self.performer.live().reload_on_change);
        match file {
            None => self.watch = None,
            Some(file) if self.watch.is_none() => {
                let inbox = self.handle.inbox.clone();
                // Only a loop that has ended does not take it.
                let changed = move || drop(inbox.blocking_send(Message::FileChanged));
                // What was read last: a change since then counts, whoever was the master.
                let watch = Watch::new(&file.path, file.text.clone().into_bytes(), changed);
                let tell = |error| tracing::error!("{}: changes will not be noticed: {error}", file.path.display());
                self.watch = Some(watch.map_err(tell).ok());
            }
            Some(_) => {}
        }
    }

    /// A file that says the same in other words is no reason for a restart, nor one that somebody has had read already.
    pub(super) fn file_changed(&mut self) -> Option<Event> {
        if !self.performer.live().reload_on_change {
            return None;
        }
        let asked_by = "a changed configuration file".to_owned();
        if let Ok(config) = self.performer.load() {
            let candidate = self.machine.candidate().and_then(|candidate| candidate.run.as_ref());
            let is_on_its_way = match candidate {
                Some(run) => {
                    self.performer.configs.get(&run.id).is_some_and(|on_its_way| on_its_way.file == config.file)
                }
                None => {
                    self.in_force(&config)
                        && config.live == self.performer.parts.config.live
                        && config.fixed == self.performer.fixed_seen
                }
            };
            if is_on_its_way {
                tracing::info!("{asked_by}: nothing of it is new");
                return None;
            }
        }
        self.reload(ReloadRequest { operation: None, asked_by, queue: Queue::Wait })
    }

    /// Whether the current generation runs just what `config` says: its own settings, the listeners, and every section
    /// that the workers read.
    pub(super) fn in_force(&self, config: &Config) -> bool {
        let frozen = self.machine.current().and_then(|run| self.performer.frozen.get(&run.id));
        frozen.is_some_and(|frozen| {
            let listeners = frozen.listeners.specs();
            frozen.config == config.worker
                && listeners == config.listeners
                && frozen.others == config.others()
                && frozen.is_where_it_was()
        })
    }
}
