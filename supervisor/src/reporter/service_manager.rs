//! The service manager's view of the master (`sd_notify(3)`): serving, reloading or stopping, in which state, alive, and what
//! may take longer. Without a service manager nothing is sent.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use sd_notify::NotifyState;

use super::reason::reason;
use crate::failed_start::FailedStart;
use crate::machine::Machine;
use crate::machine::fleet::Fleet;
use crate::machine::generation::Run;
use crate::machine::worker::Worker;
use crate::moment::Moment;
use crate::os::sd_notify::{Notification, Notifier, SHUTDOWN_GRACE, status_line};
use crate::os::time;
use crate::worker_count::workers as workers_text;

/// Added to each extension, so that our own deadline comes first.
const MARGIN: Duration = Duration::from_secs(10);
/// Pause between two tries to queue what is pending, before another program takes over.
const RETRY: Duration = Duration::from_millis(5);

/// The last words to the service manager, and those that are still to come.
#[derive(Debug, Default)]
pub struct ServiceManager {
    notifier: Option<Notifier>,
    /// Half of the service manager's watchdog interval.
    watchdog: Option<Duration>,
    next_ping: Option<Moment>,
    status: String,
    extended_until: Option<Moment>,
    /// Messages that must not be lost and were not taken yet.
    pending: VecDeque<Notification>,
    is_reloading: bool,
    /// The names of the descriptors in the service manager's store.
    stored: BTreeSet<String>,
    /// The start before this one, if it failed and nothing has served since.
    failed: Option<FailedStart>,
    /// Something that is wrong though workers serve.
    problem: Option<String>,
}

// Getters.
impl ServiceManager {
    /// Connects as the environment says. `stored`: the names that are in the store already; `failed`: the start before this
    /// one, if it failed.
    #[must_use]
    pub fn from_env(stored: BTreeSet<String>, failed: Option<FailedStart>) -> Self {
        // WATCHDOG_PID names another process if a shell of the service started us.
        // 0 is no interval (sd_watchdog_enabled(3)).
        let watchdog = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero());
        let watchdog = watchdog.map(|interval| interval / 2);
        let mut own = Self::default();
        (own.watchdog, own.notifier) = (watchdog, Notifier::start());
        (own.stored, own.failed) = (stored, failed);
        own
    }

    /// True if there is a service manager.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.notifier.is_some()
    }

    /// True if READY=1 is owed after RELOADING=1.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.is_reloading
    }

    /// The start before this one, if it failed and nothing has served since.
    #[must_use]
    pub fn failed_start(&self) -> Option<&FailedStart> {
        self.failed.as_ref()
    }

    /// The moment when the next ping is due.
    #[must_use]
    pub fn next_ping(&self) -> Option<Moment> {
        self.watchdog.and(self.next_ping)
    }
}

// What the service manager is told.
impl ServiceManager {
    /// Reports that the first generation serves, or that an upgrade has ended, well or badly.
    pub fn ready(&mut self, machine: &Machine) {
        (self.is_reloading, self.extended_until, self.failed) = (false, None, None);
        self.status = self.status_text(machine);
        let status = self.status.clone();
        self.send(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// Reports that a new generation is on its way.
    pub fn reloading(&mut self, machine: &Machine) {
        self.extended_until = None;
        self.status = self.status_text(machine);
        match NotifyState::monotonic_usec_now() {
            Ok(at) => {
                let status = self.status.clone();
                self.send(&[NotifyState::Reloading, at, NotifyState::Status(&status)]);
            }
            Err(error) => tracing::warn!("CLOCK_MONOTONIC: {error}"),
        }
        self.is_reloading = true;
    }

    /// Reports that the master stops.
    pub fn stopping(&mut self, machine: &Machine) {
        // A service that reloads is not heard when it says that it stops.
        if std::mem::take(&mut self.is_reloading) {
            self.send(&[NotifyState::Ready]);
        }
        self.extended_until = None;
        self.status = self.status_text(machine);
        let status = self.status.clone();
        self.send(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    }

    /// Reports the state after an event, and how much longer what is under way may take.
    pub fn update(&mut self, now: Moment, machine: &Machine) {
        self.send_pending();
        let status = self.status_text(machine);
        // Nothing better is known of one that has stopped.
        if status != self.status && !status.is_empty() {
            self.send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
        if let Some(until) = latest_deadline(machine) {
            self.extend(now, until);
        }
    }

    /// Reports that the first generation waits until `until`, because the starts before it failed.
    pub fn hold_back(&mut self, now: Moment, until: Moment, machine: &Machine) {
        self.update(now, machine);
        self.extend(now, until);
    }

    /// Sets what is wrong though workers serve. It is told with the next update.
    pub fn set_problem(&mut self, problem: Option<String>) {
        self.problem = problem;
    }

    /// Asks for time until `until`, if more than before is needed.
    pub fn extend(&mut self, now: Moment, until: Moment) {
        if self.extended_until.is_none_or(|told| told < until) {
            self.extended_until = Some(until);
            // sd-notify's own takes 32 bits, which is little more than an hour.
            let micros = (until.since(now) + MARGIN).as_micros();
            self.send(&[NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={micros}"))]);
        }
    }

    /// Pings, if a ping is due.
    pub fn ping(&mut self, now: Moment) {
        if let Some(interval) = self.watchdog
            && self.next_ping.is_none_or(|at| at <= now)
        {
            self.next_ping = Some(now + interval);
            self.send(&[NotifyState::Watchdog]);
        }
    }

    /// Makes the store hold just these descriptors: adds what is missing, removes the others.
    pub fn store(&mut self, wanted: &[(String, BorrowedFd<'_>)]) {
        let gone: Vec<String> =
            self.stored.iter().filter(|name| !wanted.iter().any(|(wanted, _)| wanted == *name)).cloned().collect();
        for name in gone {
            self.stored.remove(&name);
            // A descriptor that was never sent needs no removal.
            let pending = self.pending.len();
            let stores = NotifyState::FdStore.to_string();
            let named = NotifyState::FdName(&name).to_string();
            self.pending.retain(|message| !(message.states.contains(&stores) && message.states.contains(&named)));
            if self.pending.len() < pending {
                continue;
            }
            self.send_surely(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)], Vec::new());
        }
        for (name, fd) in wanted {
            if self.stored.contains(name) {
                continue;
            }
            match fd.try_clone_to_owned() {
                Ok(fd) => {
                    // FDPOLL=0 keeps it in any state: a process that has ended is still known by its pidfd.
                    let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
                    self.send_surely(&states, vec![fd]);
                    self.stored.insert(name.clone());
                }
                Err(error) => tracing::warn!("{name} is not kept by the service manager: {error}"),
            }
        }
    }

    /// Sends all that is pending and ends the thread, before another program takes over.
    pub fn pause(&mut self) {
        let until = Instant::now() + SHUTDOWN_GRACE;
        self.send_pending();
        while !self.pending.is_empty() && Instant::now() < until {
            std::thread::sleep(RETRY);
            self.send_pending();
        }
        if let Some(notifier) = self.notifier.take() {
            notifier.end();
        }
    }

    /// Goes on after [`Self::pause`]: no program took over.
    pub fn resume(&mut self) {
        self.notifier = Notifier::start();
    }

    /// The state in an operator's words, with the failure of the start before this one until something serves.
    fn status_text(&self, machine: &Machine) -> String {
        let text = fleet_text(machine);
        let text = match (&self.failed, &machine.fleet) {
            (Some(failed), Fleet::Idle) => {
                let at = SystemTime::now() + failed.allowed_at().since(time::now());
                format!("tries again at {}; {}", humantime::format_rfc3339_seconds(at), failed.text())
            }
            (Some(failed), Fleet::Booting(_)) => format!("{text}; {}", failed.text()),
            (_, Fleet::Serving(_) | Fleet::Upgrading { .. }) => match &self.problem {
                Some(problem) => format!("{text}, degraded: {problem}"),
                None => text,
            },
            (None, Fleet::Idle | Fleet::Booting(_)) | (_, Fleet::Stopping { .. } | Fleet::Stopped) => text,
        };
        status_line(&text)
    }

    fn send(&mut self, states: &[NotifyState<'_>]) {
        // A full queue means that the service manager has taken nothing for long. What changes its view of us is kept until
        // there is room, in order; the rest would be outdated by then.
        let counts = |state: &NotifyState<'_>| {
            matches!(state, NotifyState::Ready | NotifyState::Reloading | NotifyState::Stopping)
        };
        if states.iter().any(counts) {
            self.send_surely(states, Vec::new());
        } else if self.pending.is_empty()
            && let Some(notifier) = &self.notifier
        {
            let states = states.iter().map(ToString::to_string).collect();
            let _ = notifier.queue(Notification { states, fds: Vec::new() });
        }
    }

    fn send_surely(&mut self, states: &[NotifyState<'_>], fds: Vec<OwnedFd>) {
        self.pending.push_back(Notification { states: states.iter().map(ToString::to_string).collect(), fds });
        self.send_pending();
    }

    fn send_pending(&mut self) {
        let Some(notifier) = &self.notifier else { return self.pending.clear() };
        while let Some(message) = self.pending.pop_front() {
            if let Err(message) = notifier.queue(message) {
                self.pending.push_front(message);
                return;
            }
        }
    }
}

/// The latest deadline of what is under way; `None` while nothing is.
fn latest_deadline(machine: &Machine) -> Option<Moment> {
    let workers: Vec<&Worker> = match &machine.fleet {
        Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } => candidate.run.as_ref()?.workers().collect(),
        Fleet::Stopping { .. } => machine.leaving.iter().flat_map(Run::workers).collect(),
        // A restart waits for old generations to be gone.
        Fleet::Serving(_) if machine.has_waiting_restart() => machine.leaving.iter().flat_map(Run::workers).collect(),
        Fleet::Idle | Fleet::Serving(_) | Fleet::Stopped => return None,
    };
    let soak = machine.candidate().and_then(|candidate| candidate.run.as_ref()).and_then(Run::deadline);
    workers.into_iter().filter_map(Worker::deadline).chain(soak).max()
}

/// The state of the fleet in an operator's words.
fn fleet_text(machine: &Machine) -> String {
    let named = |run: &Run| match &run.plan.release {
        Some(release) => format!("generation {} ({release})", run.id),
        None => format!("generation {}", run.id),
    };
    let serves = |run: &Run| {
        let word = if run.serving() == 0 && run.is_degraded() { "is down" } else { "serves" };
        format!("{} {word}, {}/{}", named(run), run.serving(), run.wanted())
    };
    let failed = || {
        let last = machine.history.iter().next_back()?;
        let failure = last.failure.as_ref()?;
        let what = if failure.is_cancelled() { "was cancelled" } else { "failed" };
        let reason = reason(failure, &last.said);
        Some(format!("generation {} {what}: {reason}; ", last.generation))
    };
    match &machine.fleet {
        Fleet::Idle => String::new(),
        // The last word of a first generation that failed.
        Fleet::Stopped => failed().map(|text| text.trim_end_matches("; ").to_owned()).unwrap_or_default(),
        Fleet::Booting(candidate) => match &candidate.run {
            Some(run) => format!("{} on its way: not {} yet", named(run), run.missing().word()),
            None => "preparing the first generation".to_owned(),
        },
        Fleet::Serving(run) if run.is_degraded() && run.serving() > 0 => {
            format!("{}{}, degraded", failed().unwrap_or_default(), serves(run))
        }
        Fleet::Serving(run) => format!("{}{}", failed().unwrap_or_default(), serves(run)),
        Fleet::Upgrading { current, candidate } => {
            let way = match &candidate.run {
                Some(run) => format!("{} on its way: not {} yet", named(run), run.missing().word()),
                None => format!("generation {} on its way: being prepared", candidate.generation),
            };
            format!("{way}; {}", serves(current))
        }
        Fleet::Stopping { .. } => {
            let left = machine.leaving.iter().flat_map(Run::workers).count();
            let verb = if left == 1 { "drains" } else { "drain" };
            format!("{}stopping: {} {verb}", failed().unwrap_or_default(), workers_text(left))
        }
    }
}

impl Drop for ServiceManager {
    /// Sends what is pending, if it is taken. Nothing stays in the store: all has ended.
    fn drop(&mut self) {
        self.store(&[]);
        self.pause();
    }
}
