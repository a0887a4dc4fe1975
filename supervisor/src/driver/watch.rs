//! The watch over a program that is being developed (`--watch`): when its file, or another one that was named, has become another one,
//! that is a restart.
//!
//! A build that fails leaves the file as it is, and changes nothing. A program that does not start is a candidate that fails: what
//! served before goes on.

use std::path::Path;
use std::time::Instant;

use gin_shared::config::watch::{Look, Watch};

use super::Driver;
use super::certificate_reader::CertificateReader;
use super::certificates::CertificateWatch;
use super::reload::FileWatch;
use crate::inbox::Message;
use crate::machine::event::{Event, Queue};
use crate::os::alarm::Alarm;
use crate::watched::{Follower, Seen, Stamp, Watched};

/// The beginning of the name, in the history, of whoever asks for a restart here.
const ASKED_BY: &str = "a change of ";

/// The files that are watched.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// The configuration.
    pub(super) file: FileWatch,
    program: ProgramWatch,
    /// Certificates and keys.
    pub(super) certificates: CertificateWatch,
    /// The thread that reads them.
    pub(super) certificate_reader: CertificateReader,
    /// The moment at which certificates are looked after by themselves.
    pub(super) alarm: Alarm,
}

/// The watch over the program.
#[derive(Debug, Default)]
enum ProgramWatch {
    /// Nobody wants it, or nothing has served yet.
    #[default]
    Off,
    /// Changes are messages. It ends when it is dropped.
    On { watched: Watched, _watch: Watch },
    /// It failed, and was told: not tried again.
    Failed,
}

impl Driver {
    /// Begins the watch over the program of the generation that serves, if `--watch` was given.
    pub(super) fn follow_program(&mut self) {
        let Some(others) = self.generations.watched_paths() else { return };
        let Some(current) = self.generations.current(&self.machine) else { return };
        let watched = Watched { program: current.program_path(), others: others.to_vec() };
        match &self.watches.program {
            ProgramWatch::Failed => return,
            ProgramWatch::On { watched: now, .. } if *now == watched => return,
            ProgramWatch::On { .. } | ProgramWatch::Off => {}
        }
        let mut follower = Follower::new(watched.clone(), current.program_stamp());
        let (inbox, program, paths) = (self.handle.inbox.clone(), shown(&watched.program), watched.clone());
        let look = move || match follower.look(Instant::now()) {
            Seen::Nothing => Look::Done,
            Seen::Unsettled => Look::Again,
            Seen::Unfit(why) => {
                tracing::warn!("{program} has changed, but {why}: no restart");
                Look::Done
            }
            Seen::Changed(path) => {
                // Only a loop that has ended does not take it.
                drop(inbox.blocking_send(Message::ProgramChanged(path)));
                Look::Done
            }
        };
        self.watches.program = match Watch::follow("program", move || paths.paths(), look) {
            Ok(watch) => {
                tracing::info!("watching {}: a new one is a restart", shown(&watched.program));
                ProgramWatch::On { watched, _watch: watch }
            }
            Err(error) => {
                tracing::error!("--watch: changes of {} will not be noticed: {error}", shown(&watched.program));
                ProgramWatch::Failed
            }
        };
    }

    /// Handles a change of a file of the program. A candidate that such a change has asked for is out of date, and makes way.
    pub(super) fn handle_program_changed(&mut self, path: &Path) -> Option<Event> {
        let asked_by = format!("{ASKED_BY}{}", shown(path));
        if self.is_program_on_its_way(path) {
            tracing::info!("{asked_by}: nothing of it is new");
            return None;
        }
        let is_out_of_date = self.machine.current().is_some()
            && self.machine.candidate().is_some_and(|candidate| {
                candidate.request.operations.is_empty() && candidate.request.asked_by.starts_with(ASKED_BY)
            });
        if is_out_of_date && !self.machine.has_waiting_restart() {
            let because = format!("{} has changed again", shown(path));
            self.pending.push_back(Event::Cancel { operation: None, target: None, because });
        }
        Some(Event::Restart { operation: None, asked_by, queue: Queue::Wait })
    }

    /// True if this is the program's file, and the newest generation runs it as it lies there: somebody has restarted already.
    fn is_program_on_its_way(&self, path: &Path) -> bool {
        let candidate = self.machine.candidate().and_then(|candidate| candidate.run.as_ref());
        let newest = candidate.or(self.machine.current()).and_then(|run| self.generations.get(run.id));
        newest.is_some_and(|newest| {
            newest.program_path() == path && newest.program_stamp().is_some_and(|runs| Stamp::of(path) == Some(runs))
        })
    }
}

/// A path as a person would write it: relative to the directory where the supervisor was started, if it lies there.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
