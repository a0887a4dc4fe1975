//! Signals: each is an order.

use gin_shared::channel::FromMaster;
use nix::sys::signal::Signal;

use super::Driver;
use crate::inbox::ReloadRequest;
use crate::machine::event::{Event, Queue, ScaleTo, StopBy};
use crate::os::signal::Received;

impl Driver {
    /// Handles a signal that came to the master.
    pub(super) fn handle_signal(&mut self, received: Received) -> Option<Event> {
        let asked_by = received.to_string();
        let live = self.generations.live();
        match received.signal {
            Signal::SIGCHLD => {
                self.workers.children().reap_orphans();
                None
            }
            signal if signal == live.restart_signal => {
                Some(Event::Restart { operation: None, asked_by, queue: Queue::Wait })
            }
            signal if live.shutdown_signals.contains(&signal) => {
                if received.is_ctrl_c() {
                    self.workers.set_at_terminal();
                    tracing::info!("{asked_by}: stop; Ctrl-C again ends all workers at once");
                } else {
                    tracing::info!("{asked_by}: stop");
                }
                Some(Event::Stop { operation: None, by: StopBy::Signal })
            }
            Signal::SIGHUP => self.reload(ReloadRequest { operation: None, asked_by, queue: Queue::Wait }),
            Signal::SIGTTIN => Some(Event::Scale { operation: None, to: ScaleTo::By(1) }),
            Signal::SIGTTOU => Some(Event::Scale { operation: None, to: ScaleTo::By(-1) }),
            Signal::SIGUSR1 => {
                let told = self.workers.send_about_logs(&FromMaster::Reopen);
                self.look_at_certificates();
                tracing::info!(
                    "{asked_by}: {told} workers were told to open their log files anew; the supervisor's log goes to stderr"
                );
                None
            }
            signal => {
                tracing::info!("{asked_by}: {signal} ignored");
                None
            }
        }
    }
}
