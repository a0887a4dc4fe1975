//! The service manager's side of sd_notify: everything that a supervisor says to it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::PATIENCE;

/// What was said so far.
#[derive(Debug, Clone)]
pub struct Notifications(Arc<(Mutex<Vec<String>>, Condvar)>, Arc<Mutex<Vec<String>>>, PathBuf);

/// What the tests say themselves, to know that all before it was read.
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

    /// Waits for a message for which `is_it` holds, behind the first `after`; gives how many there are up to it.
    ///
    /// # Errors
    /// If none comes in time, or `over` says that none will: what came.
    pub fn wait(
        &self,
        after: usize,
        is_it: impl Fn(&str) -> bool,
        mut over: impl FnMut() -> bool,
    ) -> Result<usize, Vec<String>> {
        let began = Instant::now();
        let mut messages = self.0.0.lock().unwrap();
        loop {
            if let Some(index) = messages.iter().skip(after).position(|message| is_it(message)) {
                return Ok(after + index + 1);
            }
            if began.elapsed() > PATIENCE || over() {
                return Err(messages.clone());
            }
            messages = self.0.1.wait_timeout(messages, std::time::Duration::from_millis(100)).unwrap().0;
        }
    }

    /// The same for a message that has this line.
    ///
    /// # Panics
    /// If none comes.
    #[must_use]
    pub fn until(&self, after: usize, line: &str) -> usize {
        let found = self.wait(after, |message| message.lines().any(|l| l == line), || false);
        found.unwrap_or_else(|all| panic!("no {line}: {all:#?}"))
    }
}
