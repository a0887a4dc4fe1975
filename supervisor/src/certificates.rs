//! Certificates and keys of TLS: the newest valid ones, whichever generation serves.
//!
//! They stand outside generations. The master reads the files, with its own rights, and keeps of each pair the newest that is valid. All of
//! them stand in one sealed memory, with the keys of session tickets: the *material*. A change is another memory with a higher number,
//! which is sent to each worker whole. So a worker that is started, or started anew, gets the newest, whatever its generation; and a change
//! counts without a restart.
//!
//! | file | has |
//! |---|---|
//! | [`source`] | files that count as one, and what is wanted of them |
//! | `pair` | a certificate and its key, checked against each other and the clock |
//! | `file` | files that are read as they were at one moment |
//! | [`tickets`] | keys of session tickets, by time |
//! | [`sealed`] | the memory |
//! | `expiry`, `told` | when a certificate ends; what is told of it |
//!
//! Nothing here is saved: a later master finds the memory by its descriptor, or takes it from a worker.

pub mod error;
mod expiry;
mod file;
mod pair;
pub mod sealed;
pub mod source;
pub mod tickets;
mod told;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gin_shared::tls::contents::ContentError;
use gin_shared::tls::material::{Material, VERSION};

use crate::os::core_filter;
use crate::os::shared_memory::SharedMemory;
use error::CertificateError;
use pair::ReadPair;
use sealed::Sealed;
pub use source::Wanted;
use source::{Content, Reading, Source, read_all};
use tickets::Tickets;
use told::{tell_put_back, tell_replaced};

/// Pause before a memory is tried again that could not be made, or a file that could not be read.
const RETRY: Duration = Duration::from_secs(10);

/// Whether workers are to be given another material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// What they have still counts.
    Nothing,
    /// There is a new one.
    Material,
}

/// The certificates in use.
#[derive(Debug, Default)]
pub struct Certificates {
    /// What the generations want, all together.
    wanted: Wanted,
    /// The newest valid contents of each.
    kept: BTreeMap<Source, Kept>,
    tickets: Tickets,
    sealed: Option<Rc<Sealed>>,
    /// Files that cannot be used as they lie there now.
    bad: BTreeMap<Source, Bad>,
    /// The times at which the ends of certificates were last told.
    warned: BTreeMap<Source, SystemTime>,
    /// The moment at which a memory is tried again that could not be made.
    retry_at: Option<SystemTime>,
    /// The moment at which files are read again that could not be used for now, though nobody changes them.
    look_at: Option<SystemTime>,
}

/// Contents in use.
#[derive(Debug)]
struct Kept {
    content: Content,
    /// The number of the material since which they count.
    number: u64,
}

/// Files that cannot be used.
#[derive(Debug)]
struct Bad {
    text: String,
    since: SystemTime,
    is_told: bool,
}

/// Keeps keys that are about to be read out of a core of this process, unless they may be in it.
fn guard_cores(wanted: &Wanted) {
    if !wanted.is_empty() && !wanted.core_dumps {
        core_filter::keep_out_of_cores();
    }
}

/// Checks that all files that are wanted can be used.
///
/// # Errors
/// The first fault that is found.
pub fn check(wanted: &Wanted, now: SystemTime) -> Result<(), CertificateError> {
    guard_cores(wanted);
    wanted.sources().try_for_each(|source| source.read(now).map(drop))
}

// Getters.
impl Certificates {
    /// The memory that workers are given; `None` if no listener speaks TLS.
    #[must_use]
    pub fn sealed(&self) -> Option<&Rc<Sealed>> {
        self.sealed.as_ref()
    }

    /// What the generations want, all together.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The moment at which [`Self::due`] has something to do, or files are to be read again.
    #[must_use]
    pub fn next_at(&self, now: SystemTime) -> Option<SystemTime> {
        if self.wanted.is_empty() {
            return None;
        }
        let rotation = self.tickets.next(seconds(now)).map(|at| UNIX_EPOCH + Duration::from_secs(at));
        // A key that could not be made is tried again then.
        let rotation = rotation.max(self.retry_at.filter(|_| rotation.is_some()));
        let all = [rotation, self.retry_at, self.look_at, self.next_line()];
        all.into_iter().flatten().min()
    }

    /// The contents of a memory with everything that is kept.
    fn material(&self, number: u64) -> Material {
        let tickets = self.tickets.keys().to_vec();
        let mut material = Material {
            version: VERSION,
            number,
            pairs: Vec::new(),
            authorities: Vec::new(),
            tickets,
            ticket_secret: None,
        };
        for kept in self.kept.values() {
            match &kept.content {
                Content::Pair(read) => material.pairs.push(read.pair.clone()),
                Content::Authority(authority) => material.authorities.push(authority.clone()),
                Content::TicketSecret { file, secret } if self.wanted.ticket_secret.as_ref() == Some(file) => {
                    material.ticket_secret = Some(secret.clone());
                }
                Content::TicketSecret { .. } => {}
            }
        }
        material
    }

    /// The number of the next material. It rises also where the memory of an earlier master is lost.
    fn next_number(&self, now: SystemTime) -> u64 {
        self.sealed.as_ref().map_or(0, |sealed| sealed.number + 1).max(seconds(now))
    }
}

// What happened.
impl Certificates {
    /// Goes on with the memory of a master before this one, if there is one: `wanted` by the generations that it has left. What lies on disk
    /// now counts as after a change: files that cannot be used leave what is kept in use.
    pub fn resume(memory: Option<SharedMemory>, wanted: Wanted, now: SystemTime) -> Self {
        let mut own = Self { wanted, ..Self::default() };
        if own.wanted.is_empty() {
            return own;
        }
        guard_cores(&own.wanted);
        match memory.map(Sealed::resume) {
            Some(Ok((sealed, material))) => own.take_up(sealed, material),
            Some(Err(error)) => {
                tracing::warn!("{error}; certificates are read anew, and sessions of TLS do not resume");
            }
            None => tracing::warn!("the supervisor before this one left no certificates; they are read anew"),
        }
        let read = read_all(&own.wanted, now);
        let _ = own.look(read, now);
        let _ = own.due(now);
        own
    }

    /// Takes up what stands in the memory of a master before this one.
    fn take_up(&mut self, sealed: Sealed, material: Material) {
        let number = material.number;
        let pairs = material.pairs.iter().filter_map(|pair| match ReadPair::resume(pair) {
            Ok(read) => Some(Content::Pair(read)),
            Err(error) => {
                tracing::warn!("{error}; the supervisor before this one took it");
                None
            }
        });
        let authorities = material.authorities.into_iter().map(Content::Authority);
        let secret = material.ticket_secret.zip(self.wanted.ticket_secret.clone());
        let secret = secret.map(|(secret, file)| Content::TicketSecret { file, secret });
        let all = pairs.chain(authorities).chain(secret);
        self.kept = all.map(|content| (content.source(), Kept { content, number })).collect();
        self.tickets = Tickets::resume(material.tickets);
        self.sealed = Some(Rc::new(sealed));
    }

    /// Reads what a generation wants before anything of it is started: all of it can be used, or nothing changes. With `or_kept`, a file
    /// that cannot be used is none the worse for it if a valid certificate of it is kept.
    ///
    /// # Errors
    /// The first fault that is found. With `or_kept` also a certificate that has ended, and lies there still.
    pub fn admit(&mut self, wanted: &Wanted, or_kept: bool, now: SystemTime) -> Result<Changed, CertificateError> {
        let mut good = Vec::new();
        guard_cores(wanted);
        for source in wanted.sources() {
            match source.read(now) {
                Ok(content) => good.push(content),
                Err(error) if or_kept => self.go_on_with_kept(&source, error, now)?,
                Err(error) => return Err(error),
            }
        }
        if wanted.is_empty() {
            return Ok(Changed::Nothing);
        }
        if wanted.core_dumps {
            core_filter::restore();
        }
        self.wanted.extend(wanted);
        let has_new = self.take(good, now);
        self.seal_what_is_new(has_new, now).map_err(|error| {
            // What was read is kept, and is no news to the next look: workers get it by another try.
            self.retry_at = Some(now + RETRY);
            CertificateError::Memory(error)
        })
    }

    /// Leaves in use what is kept of files that cannot be used.
    fn go_on_with_kept(
        &self,
        source: &Source,
        error: CertificateError,
        now: SystemTime,
    ) -> Result<(), CertificateError> {
        let Some(kept) = self.kept.get(source) else { return Err(error) };
        if let Content::Pair(read) = &kept.content {
            read.check_time(now)?;
        }
        tracing::warn!("{error}; what was read of it before stays in use");
        Ok(())
    }

    /// Handles that files have changed, or may have: what can be used counts from now on, anything else leaves in use what is kept.
    pub fn look(&mut self, read: Vec<Reading>, now: SystemTime) -> Changed {
        let mut good = Vec::new();
        self.look_at = None;
        for Reading { source, outcome } in read {
            match outcome {
                // Meanwhile its last generation may have gone.
                _ if !self.wanted.names(&source) => {}
                Ok(content) => good.push(content),
                // It was told when it ended, and is told each day.
                Err(CertificateError::Contents(ContentError::Ended { ends, .. }))
                    if self.ends_of(&source) == Some(ends) => {}
                Err(error) => {
                    self.look_at = [self.look_at, error.again(now)].into_iter().flatten().min();
                    self.note_bad(source, error.to_string(), now);
                }
            }
        }
        if self.take(good, now) { self.seal_or_retry(now) } else { Changed::Nothing }
    }

    /// True if files are to be read again now, for [`Self::look`]: they could not be used before, and may be by now. It is said once.
    pub fn looks_again(&mut self, now: SystemTime) -> bool {
        self.look_at.take_if(|at| *at <= now).is_some()
    }

    /// Does what is due: the next key of session tickets, lines of the log, a memory that could not be made.
    pub fn due(&mut self, now: SystemTime) -> Changed {
        if self.wanted.is_empty() {
            return Changed::Nothing;
        }
        self.write_lines(now);
        let has_keys = self.tickets.advance(seconds(now), tickets::make).unwrap_or_else(|error| {
            tracing::error!("no new key for session tickets: {error}");
            self.retry_at = Some(now + RETRY);
            false
        });
        let is_due = self.sealed.is_none() || self.retry_at.is_some_and(|at| at <= now);
        if has_keys || is_due { self.seal_or_retry(now) } else { Changed::Nothing }
    }

    /// Drops what no generation wants any more. `wanted`: by all of them, those that a rollback can bring back included.
    pub fn retain(&mut self, wanted: Wanted, now: SystemTime) -> Changed {
        if self.wanted == wanted {
            return Changed::Nothing;
        }
        if wanted.is_empty() {
            *self = Self::default();
            return Changed::Nothing;
        }
        guard_cores(&wanted);
        self.wanted = wanted;
        let Self { wanted, kept, bad, warned, .. } = self;
        let before = kept.len();
        kept.retain(|source, _| wanted.names(source));
        bad.retain(|source, _| wanted.names(source));
        warned.retain(|source, _| wanted.names(source));
        if kept.len() < before { self.seal_or_retry(now) } else { Changed::Nothing }
    }
}

// Steps.
impl Certificates {
    /// Puts contents into use; gives whether any of them is new.
    fn take(&mut self, good: Vec<Content>, now: SystemTime) -> bool {
        let number = self.next_number(now);
        let mut has_new = false;
        for content in good {
            let source = content.source();
            let was_told = self.bad.remove(&source).is_some_and(|bad| bad.is_told);
            if self.kept.get(&source).is_some_and(|kept| kept.content == content) {
                if was_told {
                    tell_put_back(&source);
                }
                continue;
            }
            let kept = Kept { content, number };
            if self.kept.contains_key(&source) {
                tell_replaced(&source, &kept);
            }
            self.warned.remove(&source);
            self.kept.insert(source, kept);
            has_new = true;
        }
        has_new
    }

    fn note_bad(&mut self, source: Source, text: String, now: SystemTime) {
        if self.bad.get(&source).is_none_or(|bad| bad.text != text) {
            self.bad.insert(source, Bad { text, since: now, is_told: false });
        }
    }

    fn ends_of(&self, source: &Source) -> Option<SystemTime> {
        Some(self.kept.get(source)?.content.facts()?.ends)
    }

    fn seal_what_is_new(&mut self, has_new: bool, now: SystemTime) -> io::Result<Changed> {
        let has_keys = self.tickets.advance(seconds(now), tickets::make)?;
        if !has_new && !has_keys && self.sealed.is_some() {
            return Ok(Changed::Nothing);
        }
        self.seal(now)?;
        Ok(Changed::Material)
    }

    fn seal(&mut self, now: SystemTime) -> io::Result<()> {
        self.sealed = Some(Rc::new(Sealed::make(&self.material(self.next_number(now)))?));
        self.retry_at = None;
        Ok(())
    }

    /// Makes the memory anew. Workers keep what they have while that fails.
    fn seal_or_retry(&mut self, now: SystemTime) -> Changed {
        match self.seal(now) {
            Ok(()) => Changed::Material,
            Err(error) => {
                let seconds = RETRY.as_secs();
                tracing::error!("certificates cannot be given to workers: {error}; the next try is in {seconds} s");
                self.retry_at = Some(now + RETRY);
                Changed::Nothing
            }
        }
    }
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
