//! The way to the service manager (`sd_notify(3)`): a thread that sends, because the socket may take nothing for a while.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use gin_shared::inherit::NOTIFY_SOCKET;
use gin_shared::process::is_readable;
use sd_notify::NotifyState;

/// Messages that wait while the service manager takes nothing.
const QUEUE: usize = 64;
/// The longest wait for the last messages.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// The longest wait for the service manager to close descriptors.
const BARRIER: Duration = Duration::from_secs(5);
/// The longest STATUS, in characters.
const STATUS_MAX: usize = 400;

/// True if there is a service manager.
#[must_use]
pub fn is_there() -> bool {
    std::env::var_os(NOTIFY_SOCKET).is_some()
}

/// `text` as a STATUS: one line, and not too long.
#[must_use]
pub fn status_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_MAX).collect()
}

/// Tells the service manager why this process ends, if there is one.
pub fn tell_last_words(text: &str) {
    if let Some(notifier) = Notifier::start() {
        let status = NotifyState::Status(&status_line(text)).to_string();
        let _ = notifier.queue(Notification { states: vec![status], fds: Vec::new() });
        notifier.end();
    }
}

/// A message, and the descriptors that go with it.
#[derive(Debug, Default)]
pub struct Notification {
    /// The assignments, as `sd_notify(3)` writes them.
    pub states: Vec<String>,
    /// The descriptors for the service manager's store.
    pub fds: Vec<OwnedFd>,
}

/// The thread that sends.
#[derive(Debug)]
pub struct Notifier {
    messages: SyncSender<Notification>,
    all_sent: Receiver<()>,
}

impl Notifier {
    /// Starts the thread; `None` without a service manager.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !is_there() {
            return None;
        }
        let (sender, messages) = std::sync::mpsc::sync_channel::<Notification>(QUEUE);
        let (ends, all_sent) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
            for message in messages {
                if let Err(error) = send(&message) {
                    tracing::warn!("NOTIFY_SOCKET: {error}");
                }
            }
            let _ = ends.send(());
        });
        match thread {
            Ok(_) => Some(Self { messages: sender, all_sent }),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET: no thread for it: {error}");
                None
            }
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// The message, if the queue is full.
    pub fn queue(&self, message: Notification) -> Result<(), Notification> {
        match self.messages.try_send(message) {
            Err(TrySendError::Full(message)) => Err(message),
            // A thread that has ended has said why.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Ends the thread, after the queued messages or [`SHUTDOWN_GRACE`].
    pub fn end(self) {
        drop(self.messages);
        let _ = self.all_sent.recv_timeout(SHUTDOWN_GRACE);
    }
}

fn send(message: &Notification) -> io::Result<()> {
    let states: Vec<NotifyState<'_>> = message.states.iter().map(|state| NotifyState::Custom(state)).collect();
    let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
    sd_notify::notify_with_fds(&states, &fds)
}

/// Makes the service manager close descriptors that it keeps for us, and waits until it has (`FDSTOREREMOVE=`, `BARRIER=`).
pub fn forget<'a>(names: impl Iterator<Item = &'a String>) {
    let mut any = false;
    for name in names {
        any = true;
        let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }
    let Ok((read, write)) = io::pipe() else { return };
    if any && sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[write.as_fd()]).is_ok() {
        drop(write);
        let _ = is_readable(&read, BARRIER);
    }
}
