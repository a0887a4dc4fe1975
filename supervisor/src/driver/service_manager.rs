//! What a service manager is told (`sd_notify(3)`): that it serves, reloads or stops, how it is, that it lives, and that
//! something may take its time. There may be no service manager; then nothing is told.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use gin_shared::inherit::NOTIFY_SOCKET;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use crate::machine::Machine;
use crate::machine::fleet::Fleet;
use crate::machine::generation::Run;
use crate::machine::worker::Worker;
use crate::moment::Moment;

/// Added to what is asked for, so that our own deadline comes first.
const MARGIN: Duration = Duration::from_secs(10);
/// The longest STATUS, in characters.
const STATUS_MAX: usize = 400;

/// What waits to be told while a service manager takes nothing; more is dropped.
const QUEUE: usize = 64;
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A message, and the descriptors that go with it.
#[derive(Debug, Default)]
struct Message {
    states: Vec<String>,
    fds: Vec<OwnedFd>,
}

/// What it was told last, and how it is told: by a thread, for its socket may take nothing for a while.
#[derive(Debug, Default)]
pub struct ServiceManager {
    thread: Option<Thread>,
    /// Half its interval.
    watchdog: Option<Duration>,
    next_ping: Option<Moment>,
    status: String,
    patient_until: Option<Moment>,
    /// What must not be lost and was not taken yet.
    owed: VecDeque<Message>,
    reloading: bool,
    /// The names of the descriptors that it keeps for a successor.
    pub(super) stored: BTreeSet<String>,
}

#[derive(Debug)]
struct Thread {
    messages: SyncSender<Message>,
    all_told: Receiver<()>,
}

impl Thread {
    fn start() -> Option<Self> {
        let (sender, messages) = std::sync::mpsc::sync_channel::<Message>(QUEUE);
        let (ends, all_told) = std::sync::mpsc::sync_channel(1);
        let told = std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
            for message in messages {
                if let Err(error) = send(&message) {
                    tracing::warn!("NOTIFY_SOCKET: {error}");
                }
            }
            let _ = ends.send(());
        });
        match told {
            Ok(_) => Some(Self { messages: sender, all_told }),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET: no thread for it: {error}");
                None
            }
        }
    }

    fn end(self) {
        drop(self.messages);
        let _ = self.all_told.recv_timeout(FAREWELL);
    }
}

fn send(message: &Message) -> io::Result<()> {
    let states: Vec<NotifyState<'_>> = message.states.iter().map(|state| NotifyState::Custom(state)).collect();
    let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
    sd_notify::notify_with_fds(&states, &fds)
}

/// Has the service manager close descriptors that it kept for us, and waits until it has (`FDSTOREREMOVE=`, `BARRIER=`).
pub fn forget<'a>(names: impl Iterator<Item = &'a String>) {
    let mut any = false;
    for name in names {
        any = true;
        let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }
    let Ok((read, write)) = io::pipe() else { return };
    if any && sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[write.as_fd()]).is_ok() {
        drop(write);
        let mut closed = [PollFd::new(&read, PollFlags::IN)];
        let _ = poll(&mut closed, Some(&Timespec { tv_sec: 5, tv_nsec: 0 }));
    }
}

impl ServiceManager {
    /// As the environment says. `stored`: what it keeps for a successor already.
    #[must_use]
    pub fn from_env(stored: BTreeSet<String>) -> Self {
        // WATCHDOG_PID names another process if we were started by a shell of the service.
        // 0 is no interval (sd_watchdog_enabled(3)).
        let watchdog = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero());
        let watchdog = watchdog.map(|interval| interval / 2);
        let thread = std::env::var_os(NOTIFY_SOCKET).and_then(|_| Thread::start());
        let mut own = Self::default();
        (own.watchdog, own.thread, own.stored) = (watchdog, thread, stored);
        own
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.thread.is_some()
    }

    /// Has it keep just these: what is new is given to it, what it has beyond them is taken from it.
    pub fn store(&mut self, wanted: &[(String, BorrowedFd<'_>)]) {
        let gone: Vec<String> =
            self.stored.iter().filter(|name| !wanted.iter().any(|(wanted, _)| wanted == *name)).cloned().collect();
        for name in gone {
            self.stored.remove(&name);
            // What it was never told of needs no taking back.
            let owed = self.owed.len();
            let stores = NotifyState::FdStore.to_string();
            let named = NotifyState::FdName(&name).to_string();
            self.owed.retain(|message| !(message.states.contains(&stores) && message.states.contains(&named)));
            if self.owed.len() < owed {
                continue;
            }
            self.owe(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)], Vec::new());
        }
        for (name, fd) in wanted {
            if self.stored.contains(name) {
                continue;
            }
            match fd.try_clone_to_owned() {
                Ok(fd) => {
                    // It is to be kept whatever becomes of it: a process that has ended is known by its pidfd still.
                    let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
                    self.owe(&states, vec![fd]);
                    self.stored.insert(name.clone());
                }
                Err(error) => tracing::warn!("{name} is not kept by the service manager: {error}"),
            }
        }
    }

    /// Tells all that waits, and rests: before another program takes over.
    pub fn rest(&mut self) {
        let until = Instant::now() + FAREWELL;
        self.pay();
        while !self.owed.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            self.pay();
        }
        if let Some(thread) = self.thread.take() {
            thread.end();
        }
    }

    /// Goes on: no program did.
    pub fn wake(&mut self) {
        self.thread = std::env::var_os(NOTIFY_SOCKET).and_then(|_| Thread::start());
    }

    fn owe(&mut self, states: &[NotifyState<'_>], fds: Vec<OwnedFd>) {
        self.owed.push_back(Message { states: states.iter().map(ToString::to_string).collect(), fds });
        self.pay();
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        // It has taken nothing for a long time if there is no room. What changes its view of us is kept until there is, in
        // order; the rest would be outdated by then.
        let counts = |state: &NotifyState<'_>| {
            matches!(state, NotifyState::Ready | NotifyState::Reloading | NotifyState::Stopping)
        };
        if states.iter().any(counts) {
            self.owe(states, Vec::new());
        } else if self.owed.is_empty()
            && let Some(thread) = &self.thread
        {
            let states = states.iter().map(ToString::to_string).collect();
            let _ = thread.messages.try_send(Message { states, fds: Vec::new() });
        }
    }

    fn pay(&mut self) {
        let Some(thread) = &self.thread else { return self.owed.clear() };
        while let Some(message) = self.owed.pop_front() {
            if let Err(TrySendError::Full(message)) = thread.messages.try_send(message) {
                self.owed.push_front(message);
                return;
            }
        }
    }

    /// When the next ping is due.
    #[must_use]
    pub fn next_ping(&self) -> Option<Moment> {
        self.watchdog.and(self.next_ping)
    }

    /// Pings, if it is time.
    pub fn ping(&mut self, now: Moment) {
        if let Some(interval) = self.watchdog
            && self.next_ping.is_none_or(|at| at <= now)
        {
            self.next_ping = Some(now + interval);
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// The first generation serves, or what had begun has come to its end, well or badly.
    pub fn ready(&mut self, machine: &Machine) {
        (self.reloading, self.patient_until) = (false, None);
        self.status = words(machine);
        let status = self.status.clone();
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// A new generation is on its way.
    pub fn reloading(&mut self, machine: &Machine) {
        self.patient_until = None;
        self.status = words(machine);
        match NotifyState::monotonic_usec_now() {
            Ok(at) => {
                let status = self.status.clone();
                self.tell(&[NotifyState::Reloading, at, NotifyState::Status(&status)]);
            }
            Err(error) => tracing::warn!("CLOCK_MONOTONIC: {error}"),
        }
        self.reloading = true;
    }

    /// Whether READY=1 is owed.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.reloading
    }

    /// All is to end.
    pub fn stopping(&mut self, machine: &Machine) {
        // A service that reloads is not heard when it says that it stops.
        if std::mem::take(&mut self.reloading) {
            self.tell(&[NotifyState::Ready]);
        }
        self.patient_until = None;
        self.status = words(machine);
        let status = self.status.clone();
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    }

    /// Something has happened: how it is now, and for how much longer it may go on.
    pub fn update(&mut self, now: Moment, machine: &Machine) {
        if matches!(machine.fleet, Fleet::Stopped) {
            return;
        }
        self.pay();
        let status = words(machine);
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
        if let Some(until) = patience(machine) {
            self.extend(now, until);
        }
    }

    /// What is under way may go on until then.
    pub fn extend(&mut self, now: Moment, until: Moment) {
        if self.patient_until.is_none_or(|told| told < until) {
            self.patient_until = Some(until);
            // sd-notify's own takes 32 bits, which is little more than an hour.
            let micros = (until.since(now) + MARGIN).as_micros();
            self.tell(&[NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={micros}"))]);
        }
    }
}

/// The latest deadline of what is under way; `None` while nothing is.
fn patience(machine: &Machine) -> Option<Moment> {
    let workers: Vec<&Worker> = match &machine.fleet {
        Fleet::Booting(candidate) | Fleet::Upgrading { candidate, .. } => candidate.run.as_ref()?.workers().collect(),
        Fleet::Stopping { .. } => machine.leaving.iter().flat_map(Run::workers).collect(),
        // Somebody waits for old generations to be gone.
        Fleet::Serving(_) if machine.has_waiting_restart() => machine.leaving.iter().flat_map(Run::workers).collect(),
        Fleet::Idle | Fleet::Serving(_) | Fleet::Stopped => return None,
    };
    let soak = machine.candidate().and_then(|candidate| candidate.run.as_ref()).and_then(Run::deadline);
    workers.into_iter().filter_map(Worker::deadline).chain(soak).max()
}

/// How it is, in an operator's words.
fn words(machine: &Machine) -> String {
    let named = |run: &Run| match &run.plan.release {
        Some(release) => format!("generation {} ({release})", run.id),
        None => format!("generation {}", run.id),
    };
    let serves = |run: &Run| format!("{} serves, {}/{}", named(run), run.serving(), run.wanted());
    let failed = || {
        let last = machine.history.iter().next_back()?;
        let reason = last.failure.as_ref()?;
        Some(format!("generation {} failed: {reason}; ", last.generation))
    };
    let text = match &machine.fleet {
        Fleet::Idle | Fleet::Stopped => String::new(),
        Fleet::Booting(candidate) => match &candidate.run {
            Some(run) => format!("{} on its way: not {} yet", named(run), run.missing().word()),
            None => "preparing the first generation".to_owned(),
        },
        Fleet::Serving(run) if run.is_degraded() => {
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
            format!("{}stopping: {left} workers drain", failed().unwrap_or_default())
        }
    };
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(STATUS_MAX).collect()
}

impl Drop for ServiceManager {
    /// What waits is told, unless it is not taken. Nothing is kept for a successor: all has ended.
    fn drop(&mut self) {
        self.store(&[]);
        self.rest();
    }
}
