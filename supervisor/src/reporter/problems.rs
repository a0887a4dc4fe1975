//! Troubles that there are though workers serve, or that keep the first generation waiting.

use super::Reporter;
use crate::failed_start::FailedStart;
use crate::machine::fleet::Fleet;
use crate::moment::Moment;
use crate::view::View;

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

    /// Looks at the listeners' queues, and tells where nobody accepts.
    pub fn look_at_queues(&mut self, now: Moment, view: View<'_>) {
        let serves = view.machine.current().is_some_and(|run| run.serving() > 0);
        let current = view.generations.current(view.machine).filter(|_| serves);
        let listening = current.map(|frozen| frozen.listeners.open()).unwrap_or_default();
        let waiting = listening.iter().map(|one| (one.spec.name.clone(), one.socket.waiting()));
        self.unaccepted.note(now, waiting.collect());
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

fn hint(view: View<'_>) -> &'static str {
    let is_ours = view.generations.current(view.machine).is_some_and(|frozen| frozen.config.channel);
    if is_ours { OURS } else { FOREIGN }
}
