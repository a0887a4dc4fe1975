//! The starts that failed in a row, as the next start finds them.
//!
//! A service manager starts a supervisor again 200 ms after its end, so that one that was killed has a successor at once. A
//! first generation that fails would be tried with the same haste for ever. So a start that fails leaves its reason in the
//! runtime directory, and the next one waits before it tries: as long as a slot waits whose workers fail. An orderly end, and a
//! generation that serves, remove the file. Without a service manager nothing is kept: a person who starts it again has waited.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use gin_shared::directory::Directory;
use gin_shared::state::boot_id;
use serde::{Deserialize, Serialize};

use crate::machine::backoff;
use crate::moment::Moment;
use crate::os::{sd_notify, time};

/// The file in the runtime directory.
const FILE: &str = "failed-start";
/// A start that comes so long after the last failure is not one of a row.
const ROW: Duration = Duration::from_secs(120);
/// The longest file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The last start of a row that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStart {
    /// The number of starts in the row.
    pub failures: u32,
    /// The reason of the last one.
    pub reason: String,
    /// The moment when it failed.
    at: Moment,
    /// The boot to which that moment belongs.
    boot: String,
}

impl FailedStart {
    /// The last start, if it has failed, and a service manager tries again.
    #[must_use]
    pub fn read(runtime: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = Directory::open(runtime).ok()?.read(OsStr::new(FILE)).ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        let failed: Self = serde_json::from_str(&text).ok()?;
        let counts = failed.boot == boot_id() && time::now() <= failed.at + ROW;
        (counts && sd_notify::is_there()).then_some(failed)
    }

    /// A start that has failed now, after `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, reason: String) -> Self {
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        Self { failures, reason, at: time::now(), boot: boot_id() }
    }

    /// The moment before which nothing is tried.
    #[must_use]
    pub fn allowed_at(&self) -> Moment {
        self.at + backoff::delay(self.failures, 0)
    }

    /// The moment of the next try; `None` if nothing is to be waited for.
    #[must_use]
    pub fn next_try(&self, now: Moment) -> Option<Moment> {
        Some(self.allowed_at()).filter(|at| *at > now)
    }

    /// Keeps it for the next start, if a service manager is there to make one.
    pub fn keep(&self, runtime: &Path) {
        if sd_notify::is_there()
            && let Err(error) = self.write(runtime)
        {
            tracing::warn!("{}: {error}; the next start waits for nothing", runtime.join(FILE).display());
        }
    }

    fn write(&self, runtime: &Path) -> io::Result<()> {
        forget(runtime);
        let directory = Directory::open(runtime).map_err(|doubt| io::Error::other(doubt.to_string()))?;
        directory.create_new(OsStr::new(FILE), 0o600)?.write_all(&serde_json::to_vec(self)?)
    }

    /// The row in an operator's words.
    #[must_use]
    pub fn text(&self) -> String {
        match self.failures {
            1 => format!("the last start failed: {}", self.reason),
            failures => format!("the last {failures} starts failed: {}", self.reason),
        }
    }
}

/// Ends the row: the next start waits for nothing.
pub fn forget(runtime: &Path) {
    crate::os::runtime::remove_file(&runtime.join(FILE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_waits_longer_and_longer_and_the_first_failure_not_at_all() {
        let first = FailedStart::after(None, "no database".to_owned());
        assert_eq!(first.next_try(first.at), None);
        let second = FailedStart::after(Some(&first), "no database".to_owned());
        assert_eq!(second.next_try(second.at), Some(second.at + Duration::from_millis(100)));
        assert_eq!(second.next_try(second.at + Duration::from_secs(1)), None);
        let many = FailedStart { failures: 40, ..second };
        assert_eq!(many.next_try(many.at), Some(many.at + Duration::from_secs(30)));
        assert_eq!(many.text(), "the last 40 starts failed: no database");
    }

    #[test]
    fn another_boot_knows_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let failed = FailedStart { boot: "another".to_owned(), ..FailedStart::after(None, String::new()) };
        failed.write(directory.path()).unwrap();
        assert_eq!(FailedStart::read(directory.path()), None);
        forget(directory.path());
        assert!(!directory.path().join(FILE).exists());
    }
}
