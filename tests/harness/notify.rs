//! The service manager's side of sd_notify: everything that a supervisor says to it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::PATIENCE;

/// What was said so far.
#[derive(Debug, Clone)]
pub struct Notifications(Arc<(Mutex<Vec<String>>, Condvar)>, Arc<Mutex<Vec<String>>>, PathBuf);

/// Start of the messages that the tests send themselves: whoever reads one has read all before it.
const MARK: &str = "X_MARK=";

impl Notifications {
    /// Listens at `path`, until the process ends.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let own = Self(Arc::default(), Arc::default(), path.to_owned());
        let shared = own.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                // Descriptors are closed as they come: this service manager keeps none.
                if ["FDSTORE", "BARRIER"].iter().any(|start| text.starts_with(start)) {
                    shared.1.lock().unwrap().push(text);
                    continue;
                }
                shared.0.0.lock().unwrap().push(text);
                shared.0.1.notify_all();
            }
        });
        own
    }

    /// How many messages there are, when all have been read that were sent before: of one that is dead, say.
    ///
    /// # Panics
    /// If it cannot be told.
    #[must_use]
    pub fn settle(&self) -> usize {
        static MARKS: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("{MARK}{}", MARKS.fetch_add(1, Ordering::Relaxed));
        UnixDatagram::unbound().unwrap().send_to(mark.as_bytes(), &self.2).unwrap();
        self.until(0, &mark)
    }

    /// Everything so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().iter().filter(|text| !text.starts_with(MARK)).cloned().collect()
    }

    /// What it was asked to keep, or to keep no more.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn store(&self) -> Vec<String> {
        self.1.lock().unwrap().clone()
    }

    /// Waits until `process` has sent READY=1 behind the first `after` messages; returns how many messages there are up to it.
    ///
    /// # Errors
    /// All messages, if the process ends before, or does not send it within [`PATIENCE`].
    ///
    /// # Panics
    /// If the process cannot be watched.
    pub fn ready(&self, after: usize, process: &Child) -> Result<usize, Vec<String>> {
        let ended = format!("{MARK}{} has ended", process.id());
        let (pidfd, path) = (pidfd_open(Pid::from_child(process), PidfdFlags::empty()).unwrap(), self.2.clone());
        let mark = ended.clone();
        std::thread::spawn(move || {
            // All that the process has sent is in the socket's queue by now, so the mark comes behind it.
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
            let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(mark.as_bytes(), path));
        });
        let is_over = |message: &str| message.starts_with("READY=1") || message == ended;
        match self.find(after, is_over) {
            Some((count, message)) if message != ended => Ok(count),
            _ => Err(self.all()),
        }
    }

    /// Waits for a message with this line behind the first `after` messages; returns how many messages there are up to it.
    ///
    /// # Panics
    /// If none comes.
    #[must_use]
    pub fn until(&self, after: usize, line: &str) -> usize {
        let found = self.find(after, |message| message.lines().any(|l| l == line));
        found.unwrap_or_else(|| panic!("no {line}: {:#?}", self.all())).0
    }

    /// The first message behind `after` for which `is_it` holds, and how many there are up to it; none if none comes in time.
    fn find(&self, after: usize, is_it: impl Fn(&str) -> bool) -> Option<(usize, String)> {
        let place = |messages: &Vec<String>| messages.iter().skip(after).position(|message| is_it(message));
        let messages = self.0.0.lock().unwrap();
        let is_missing = |messages: &mut Vec<String>| place(messages).is_none();
        let (messages, _) = self.0.1.wait_timeout_while(messages, PATIENCE, is_missing).unwrap();
        place(&messages).map(|index| (after + index + 1, messages[after + index].clone()))
    }
}
