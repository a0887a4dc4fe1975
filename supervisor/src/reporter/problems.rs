//! Troubles that there are though workers serve, or that keep the first generation waiting.

use std::collections::HashSet;

use gin_shared::listen::Address;

use super::Reporter;
use crate::failed_start::FailedStart;
use crate::machine::fleet::Fleet;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::view::View;
use crate::workers::process::Process;

/// The advice where a program of any kind does not accept.
const FOREIGN: &str =
    "the program must take its listener as descriptor 3 (LISTEN_FDS) instead of a port of its own, or it hangs";
/// The same where a worker of ours does not.
const OURS: &str = "the workers hang, or have no room: see limits.connections";

impl Reporter {
    /// Begins to look at the queues of a generation that serves from now on.
    pub fn begin_to_look(&mut self, now: Moment) {
        self.unaccepted.begin(now);
        self.service_manager.set_problem(None);
    }

    /// Looks at the listeners' queues. Gives the listeners, by name and address, whose clients are to be looked up: none if
    /// nobody waits, or while a look is under way.
    pub fn look_at_queues(&mut self, now: Moment, view: View<'_>) -> Vec<(String, Address)> {
        let waited_at = waited_at(view);
        if waited_at.is_empty() {
            self.tell_queues(now, view, Vec::new());
            return Vec::new();
        }
        if self.unaccepted.begin_look(now) { waited_at } else { Vec::new() }
    }

    /// Handles the end of a look: the clients that wait at each listener.
    pub fn handle_looked(&mut self, now: Moment, view: View<'_>, waiting: Vec<(String, HashSet<String>)>) {
        self.unaccepted.end_look();
        // Meanwhile a generation may have ended.
        let waiting = if serves(view) { waiting } else { Vec::new() };
        self.tell_queues(now, view, waiting);
    }

    /// Notes who waits, and tells where nobody accepts.
    fn tell_queues(&mut self, now: Moment, view: View<'_>, waiting: Vec<(String, HashSet<String>)>) {
        self.unaccepted.note(now, waiting);
        let texts = self.unaccepted.texts(now, hint(view));
        if self.unaccepted.is_news(now) {
            texts.iter().for_each(|text| tracing::warn!("{text}"));
        }
        self.service_manager.set_problem(texts.into_iter().next());
        self.service_manager.update(now, view.machine);
    }

    /// Everything that is wrong, a sentence each.
    pub(super) fn problems(&self, now: Moment, view: View<'_>) -> Vec<String> {
        match &view.machine.fleet {
            Fleet::Idle | Fleet::Booting(_) => {
                self.service_manager.failed_start().map(FailedStart::text).into_iter().collect()
            }
            Fleet::Serving(run) | Fleet::Upgrading { current: run, .. } if run.serving() > 0 => {
                self.unaccepted.texts(now, hint(view))
            }
            Fleet::Serving(_) | Fleet::Upgrading { .. } | Fleet::Stopping { .. } | Fleet::Stopped => Vec::new(),
        }
    }
}

fn serves(view: View<'_>) -> bool {
    view.machine.current().is_some_and(|run| run.serving() > 0)
}

/// The listeners of the generation that serves at which somebody waits.
fn waited_at(view: View<'_>) -> Vec<(String, Address)> {
    let current = view.generations.current(view.machine).filter(|_| serves(view));
    let listening = current.map(|frozen| frozen.listeners.open()).unwrap_or_default();
    let waited_at = listening.iter().filter(|one| one.socket.has_waiting());
    waited_at.map(|one| (one.spec.name.clone(), one.socket.address.clone())).collect()
}

fn hint(view: View<'_>) -> &'static str {
    let has_channel = |worker: &Worker| view.workers.get(worker.id).is_some_and(Process::has_channel);
    let is_ours = view.machine.current().is_some_and(|run| run.workers().any(has_channel));
    if is_ours { OURS } else { FOREIGN }
}
