//! Reading the configuration anew (HUP, `gin-ctl reload`): keys that count in place are changed in place, everything else is
//! a restart.

use gin_shared::config::watch::Watch;
use gin_shared::exit;

use super::Driver;
use crate::config::Config;
use crate::inbox::{Message, ReloadRequest};
use crate::machine::event::{Event, Queue};
use crate::os::time;

/// The watch over the configuration file (`reload_on_change`).
#[derive(Debug, Default)]
pub(super) enum FileWatch {
    /// Nobody wants it.
    #[default]
    Off,
    /// Changes are messages.
    On(#[expect(dead_code, reason = "held: it ends when it is dropped")] Watch),
    /// It failed, and was told: not tried again.
    Failed,
}

impl Driver {
    /// Reads the configuration anew.
    pub(super) fn reload(&mut self, request: ReloadRequest) -> Option<Event> {
        self.store.renew_files(self.generations.config());
        let ReloadRequest { operation, asked_by, queue } = request;
        let end = |exit: u8, text: String| {
            if let Some(id) = operation {
                self.handle.operations.end(time::now(), id, exit, text);
            }
        };
        let config = match self.generations.load() {
            Ok(config) => config,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                tracing::error!("{asked_by}: the configuration cannot be used; nothing changed: {}", lines.join("; "));
                end(exit::USAGE, format!("the configuration cannot be used; nothing changed\n{}", lines.join("\n")));
                return None;
            }
        };
        // A change that has not come into force yet, because its restart failed, still is one.
        let counts_in_place = self.generations.in_force(&self.machine, &config);
        // A restart that is on its way may bring just what was changed.
        let under_way = self.machine.candidate().is_some() || self.machine.has_waiting_restart();
        if !counts_in_place || self.generations.is_same_master(&config) || under_way {
            return Some(Event::Restart { operation, asked_by, queue });
        }
        let fixed = self.generations.changed_fixed(&config);
        let mut text = "changed in place; no worker was restarted".to_owned();
        if !fixed.is_empty() {
            text = format!("{text}; only from a new start of the supervisor on: {}", fixed.join(", "));
        }
        tracing::info!("{asked_by}: reload: {text}");
        end(exit::DONE, text);
        self.generations.apply(config);
        self.machine.set_max_draining(self.generations.live().max_draining);
        self.tell_peers();
        self.look_at_certificates();
        None
    }

    /// Begins or ends the watch over the configuration file, as `reload_on_change` says.
    pub(super) fn follow_file(&mut self) {
        let file = self.generations.config().file.as_ref().filter(|_| self.generations.live().reload_on_change);
        let Some(file) = file else {
            self.watches.file = FileWatch::Off;
            return;
        };
        if let FileWatch::Off = self.watches.file {
            let inbox = self.handle.inbox.clone();
            // Only a loop that has ended does not take it.
            let changed = move || drop(inbox.blocking_send(Message::FileChanged));
            // A change counts from the text that was read last, whichever master read it.
            self.watches.file = match Watch::new(&file.path, file.text.clone().into_bytes(), changed) {
                Ok(watch) => FileWatch::On(watch),
                Err(error) => {
                    tracing::error!("{}: changes will not be noticed: {error}", file.path.display());
                    FileWatch::Failed
                }
            };
        }
    }

    /// Handles a change of the configuration file. A file that says the same in other words is no reason for a restart, nor
    /// is a file that was read already.
    pub(super) fn handle_file_changed(&mut self) -> Option<Event> {
        if !self.generations.live().reload_on_change {
            return None;
        }
        let asked_by = "a changed configuration file".to_owned();
        if self.generations.load().is_ok_and(|config| self.is_on_its_way(&config)) {
            tracing::info!("{asked_by}: nothing of it is new");
            return None;
        }
        self.reload(ReloadRequest { operation: None, asked_by, queue: Queue::Wait })
    }

    /// True if `config` is in force, or what the candidate brings.
    fn is_on_its_way(&self, config: &Config) -> bool {
        match self.machine.candidate().and_then(|candidate| candidate.run.as_ref()) {
            Some(run) => {
                self.generations.candidate_config(run.id).is_some_and(|on_its_way| on_its_way.file == config.file)
            }
            None => self.generations.in_force(&self.machine, config) && self.generations.is_same_master(config),
        }
    }
}
