//! Certificates: read before a generation starts, looked at when their files change, and given to the workers that speak TLS.
//!
//! The loop reads files before a generation starts alone. Later a thread reads them, one at a time, and the loop hears what it has read.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use gin_shared::config::watch::{Look, Watch};
use gin_shared::generation::Generation;

use super::Driver;
use crate::certificates::error::CertificateError;
use crate::certificates::source::{Reading, read_all};
use crate::certificates::{Certificates, Changed, Wanted};
use crate::inbox::Message;
use crate::machine::failure::Failure;
use crate::machine::plan::Plan;
use crate::os::shared_memory::SharedMemory;

/// The watch over the files of certificates.
#[derive(Debug, Default)]
pub(super) enum CertificateWatch {
    /// No listener speaks TLS.
    #[default]
    Off,
    /// Changes are messages. It ends when it is dropped.
    On { wanted: Wanted, _watch: Watch },
    /// It failed for these, and was told: tried again with the next look that somebody asks for.
    Failed(Wanted),
}

// Before a generation, and after it.
impl Driver {
    /// Reads the certificates of a generation that was frozen: all of them can be used, or it does not start. `is_rollback`: those that are
    /// kept are good enough.
    pub(super) fn admit_certificates(
        &mut self,
        generation: Generation,
        plan: Plan,
        is_rollback: bool,
    ) -> Result<Plan, Failure> {
        let Some(frozen) = self.generations.get(generation) else { return Ok(plan) };
        self.watches.certificate_reader.outdate();
        let changed = self.certificates.admit(&frozen.config.tls, is_rollback, SystemTime::now());
        let changed = changed.map_err(|error| match error {
            CertificateError::Memory(_) => Failure::Prepare(error.to_string()),
            other => Failure::Config(other.to_string()),
        })?;
        self.publish(changed);
        Ok(plan)
    }

    /// Drops the certificates that only generations wanted that are gone.
    pub(super) fn retain_certificates(&mut self) {
        let changed = self.certificates.retain(self.generations.wanted(), SystemTime::now());
        if self.certificates.sealed().is_none() {
            self.workers.set_material(None);
        }
        self.publish(changed);
    }

    /// Goes on with the certificates of a master before this one. The workers say themselves which they have.
    pub(super) fn resume_certificates(&mut self, memory: Option<SharedMemory>) {
        self.certificates = Certificates::resume(memory, self.generations.wanted(), SystemTime::now());
        self.workers.set_material(self.certificates.sealed().cloned());
    }

    /// Gives new certificates to the workers.
    fn publish(&mut self, changed: Changed) {
        if changed == Changed::Nothing {
            return;
        }
        self.workers.set_material(self.certificates.sealed().cloned());
        // A successor is to look for the memory that workers have.
        self.save();
        self.workers.send_material();
    }
}

// While it serves.
impl Driver {
    /// Sets the alarm to the moment at which certificates are to be looked after by themselves.
    pub(super) fn set_alarm(&mut self) {
        let now = SystemTime::now();
        self.watches.alarm.set(self.certificates.next_at(now), now);
    }

    /// Does what is due: the next key of session tickets, lines of the log, another look at files that could not be used for now.
    pub(super) fn look_after_certificates(&mut self) {
        let now = SystemTime::now();
        if self.certificates.looks_again(now) {
            self.look_at_certificates();
        }
        let changed = self.certificates.due(now);
        self.publish(changed);
    }

    /// Handles the end of a reading of the files.
    pub(super) fn handle_certificates(&mut self, read: Vec<Reading>) {
        let ended = self.watches.certificate_reader.end();
        if ended.counts {
            let changed = self.certificates.look(read, SystemTime::now());
            self.publish(changed);
        }
        if ended.is_followed {
            self.read_certificates();
        }
    }

    /// Looks at the files, because somebody asks for it.
    pub(super) fn look_at_certificates(&mut self) {
        if matches!(self.watches.certificates, CertificateWatch::Failed(_)) {
            self.watches.certificates = CertificateWatch::Off;
        }
        self.read_certificates();
    }

    /// Reads the files, after the reading that is under way. A thread does that: a disk may not answer.
    pub(super) fn read_certificates(&mut self) {
        let wanted = self.certificates.wanted().clone();
        if wanted.is_empty() || !self.watches.certificate_reader.ask() {
            return;
        }
        let inbox = self.handle.inbox.clone();
        let read = move || {
            // The loop waits for an outcome, whatever happens here.
            let read = catch_unwind(|| read_all(&wanted, SystemTime::now())).unwrap_or_default();
            // Only a loop that has ended does not take it.
            drop(inbox.blocking_send(Message::Certificates(read)));
        };
        if let Err(error) = std::thread::Builder::new().name("tls".to_owned()).spawn(read) {
            self.watches.certificate_reader.end();
            tracing::error!("certificates are not looked at: no thread: {error}");
        }
    }

    /// Begins the watch over the files that are wanted, or ends it.
    pub(super) fn follow_certificates(&mut self) {
        let wanted = self.certificates.wanted();
        match &self.watches.certificates {
            CertificateWatch::Off if wanted.is_empty() => return,
            CertificateWatch::On { wanted: followed, .. } | CertificateWatch::Failed(followed)
                if followed == wanted =>
            {
                return;
            }
            CertificateWatch::Off | CertificateWatch::On { .. } | CertificateWatch::Failed(_) => {}
        }
        let wanted = wanted.clone();
        self.watches.certificates = if wanted.is_empty() { CertificateWatch::Off } else { self.watch(wanted) };
    }

    fn watch(&self, wanted: Wanted) -> CertificateWatch {
        let (inbox, paths) = (self.handle.inbox.clone(), wanted.paths());
        let look = move || {
            // Only a loop that has ended does not take it.
            drop(inbox.blocking_send(Message::CertificatesChanged));
            Look::Done
        };
        // Without its directory the watch does not begin. Later it waits for those that are gone, too.
        let has_begun = AtomicBool::new(false);
        let paths = move || if has_begun.swap(true, Ordering::Relaxed) { paths.clone() } else { reachable(&paths) };
        match Watch::follow("tls", paths, look) {
            Ok(watch) => CertificateWatch::On { wanted, _watch: watch },
            Err(error) => {
                tracing::error!(
                    "changes of certificates will not be noticed by themselves, but after SIGUSR1 or a reload: {error}"
                );
                CertificateWatch::Failed(wanted)
            }
        }
    }
}

/// The paths whose directories are there. A generation that a rollback can bring back may name some that are gone.
fn reachable(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().filter(|path| path.parent().is_some_and(Path::is_dir)).cloned().collect()
}
