//! Where certificates, keys and ticket keys come from: a memory that the master has sealed, or, for a worker that runs alone, files.
//!
//! | | at the start | later | ticket keys |
//! |---|---|---|---|
//! | under a master | the memory that is inherited | another memory, over the channel | the master's, or those of the secret in the memory |
//! | alone | the files of `[security]` | the files, when they change, and on SIGHUP | those of `ticket_secret_file`, else of a secret of this process |
//!
//! Bad certificates are an error at the start. Later they are told, and those in use stay. With a secret the ticket keys change by the
//! clock, so the settings are made anew at each period. The memory stays open here: a master whose predecessor has died takes it from a
//! worker.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
#[cfg(feature = "watch")]
use std::sync::OnceLock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use gin_shared::config::listen::PairFiles;
#[cfg(feature = "watch")]
use gin_shared::config::watch::{Look, Watch};
use gin_shared::tls::material::{self, Authority, Material, Pair, Secret, VERSION};
use tokio::signal::unix::{SignalKind, signal};

use super::context::TlsContext;
use super::error::TlsError;
use super::profile::Profile;
use super::tickets;
use crate::connections::ListenerFacts;

/// Time for which a bad pair is not told: the other file of it may still be on its way.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks meanwhile.
const SOON: Duration = Duration::from_millis(100);
/// Longest pause between two looks at files that cannot be read. The first one is [`PATIENCE`], and each is twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The least time between two renewals of ticket keys.
const RENEWAL: Duration = Duration::from_secs(10);
/// Lengths of a secret of session tickets, in bytes.
const SECRET_MIN: usize = 32;
const SECRET_MAX: usize = 1024;

/// The source of a worker's certificates, with the settings that are made of them.
#[derive(Debug)]
pub(crate) struct Source {
    context: Arc<TlsContext>,
    origin: Mutex<Origin>,
    #[cfg(feature = "watch")]
    watch: OnceLock<Watch>,
}

#[derive(Debug)]
enum Origin {
    Memory(OwnedFd),
    Files(Box<Files>),
}

/// Files of a worker that runs alone.
#[derive(Debug)]
struct Files {
    pairs: BTreeSet<PairFiles>,
    authorities: BTreeSet<PathBuf>,
    ticket_secret: Option<PathBuf>,
    /// In place of such a file.
    own_secret: Secret,
    /// Contents that count now.
    known: Option<Material>,
    trouble: Option<Trouble>,
}

/// Files that cannot be used.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// The text in the log, once it is there.
    told: Option<String>,
    /// Pause before the next look, if they cannot be read.
    pause: Duration,
}

impl Source {
    /// Opens the source of these listeners' certificates. `None` if no listener speaks TLS.
    ///
    /// # Errors
    /// If a certificate cannot be used.
    pub(crate) fn open(
        listeners: &[Arc<ListenerFacts>],
        inherited: Option<OwnedFd>,
        ticket_secret: Option<&Path>,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        if listeners.iter().all(|listener| listener.tls.is_none()) {
            return Ok(None);
        }
        let (material, origin) = match inherited {
            Some(memory) => (material::read(memory.as_fd())?, Origin::Memory(memory)),
            None => {
                let mut files = Box::new(Files::of(listeners, ticket_secret)?);
                let material = files.read()?;
                files.known = Some(material.clone());
                (material, Origin::Files(files))
            }
        };
        let context = Arc::new(TlsContext::make(listeners, &material)?);
        Ok(Some(Arc::new(Self {
            context,
            origin: Mutex::new(origin),
            #[cfg(feature = "watch")]
            watch: OnceLock::new(),
        })))
    }

    /// The settings that are made of it.
    pub(crate) fn context(&self) -> &Arc<TlsContext> {
        &self.context
    }

    /// Number of the master's material that counts. 0: it has given none.
    pub(crate) fn number(&self) -> u64 {
        match *self.origin() {
            Origin::Memory(_) => self.context.number(),
            Origin::Files(_) => 0,
        }
    }

    /// Goes on with material that the master has sent. Returns its number.
    ///
    /// # Errors
    /// If it cannot be used. Then nothing has changed.
    pub(crate) fn receive(&self, memory: OwnedFd) -> Result<u64, TlsError> {
        let material = material::read(memory.as_fd())?;
        let mut origin = self.origin();
        self.context.replace(&material)?;
        *origin = Origin::Memory(memory);
        Ok(material.number)
    }

    /// Follows the files of a worker that runs alone, and the periods of ticket keys, for as long as the source lives.
    ///
    /// # Errors
    /// If SIGHUP cannot be caught.
    pub(crate) fn follow(self: &Arc<Self>) -> io::Result<()> {
        tokio::spawn(renew_each_period(Arc::downgrade(self)));
        if matches!(*self.origin(), Origin::Files(_)) {
            let mut hangups = signal(SignalKind::hangup())?;
            let own = Arc::downgrade(self);
            tokio::spawn(async move {
                while hangups.recv().await.is_some() {
                    let Some(source) = own.upgrade() else { return };
                    let _ = tokio::task::spawn_blocking(move || source.look(true)).await;
                }
            });
            self.watch();
        }
        Ok(())
    }

    /// Looks at the files whenever they change.
    #[cfg(feature = "watch")]
    fn watch(self: &Arc<Self>) {
        let paths = match &*self.origin() {
            Origin::Files(files) => files.paths(),
            Origin::Memory(_) => return,
        };
        let own = Arc::downgrade(self);
        let look = move || match own.upgrade() {
            Some(source) => source.look(false).map_or(Look::Done, Look::After),
            None => Look::Done,
        };
        match Watch::follow("tls", move || paths.clone(), look) {
            Ok(watch) => drop(self.watch.set(watch)),
            Err(error) => {
                tracing::warn!("changed certificates will not be noticed: {error}; send SIGHUP after a change");
            }
        }
    }

    /// The files are looked at on SIGHUP alone.
    #[cfg(not(feature = "watch"))]
    fn watch(self: &Arc<Self>) {}

    /// Looks at the files. Returns the time after which that is to be repeated though none of them changes: they may be half written, or
    /// cannot be read. `is_asked`: somebody waits for the word, so that it is told at once.
    fn look(&self, is_asked: bool) -> Option<Duration> {
        let mut origin = self.origin();
        let Origin::Files(files) = &mut *origin else { return None };
        let read = files.read().and_then(|material| {
            let is_new = files.known.as_ref() != Some(&material);
            if is_new {
                self.context.replace(&Material { number: self.context.number() + 1, ..material.clone() })?;
            }
            Ok((material, is_new))
        });
        match read {
            Ok((material, is_new)) => {
                if is_new {
                    files.tell_changes(&material);
                } else if files.trouble.as_ref().is_some_and(|trouble| trouble.told.is_some()) {
                    tracing::info!("the certificates on disk are good again: they are those in use");
                }
                (files.known, files.trouble) = (Some(material), None);
                None
            }
            Err(error) => files.note_trouble(&error, is_asked, Instant::now()),
        }
    }

    /// Makes the settings anew, if their ticket keys go by the clock.
    fn renew(&self) {
        let origin = self.origin();
        let material = match &*origin {
            Origin::Memory(memory) => material::read(memory.as_fd()).map_err(TlsError::from),
            Origin::Files(files) => files.known.clone().map_or_else(|| files.read(), Ok),
        };
        let renewed = material.and_then(|material| match material.ticket_secret {
            Some(_) => self.context.replace(&Material { number: self.context.number(), ..material }),
            None => Ok(()),
        });
        if let Err(error) = renewed {
            tracing::warn!("no new keys of session tickets: {error}");
        }
    }

    fn origin(&self) -> MutexGuard<'_, Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews ticket keys at the end of each period. tokio's clock stands still while the machine sleeps: the first handshake after that tells.
async fn renew_each_period(source: Weak<Source>) {
    let Some(stale) = source.upgrade().map(|source| source.context.stale()) else { return };
    loop {
        tokio::select! {
            () = tokio::time::sleep(tickets::until_next(SystemTime::now())) => {}
            () = stale.notified() => {}
        }
        let Some(source) = source.upgrade() else { return };
        let _ = tokio::task::spawn_blocking(move || source.renew()).await;
        // Handshakes tell again as long as the keys cannot be renewed.
        tokio::time::sleep(RENEWAL).await;
    }
}

impl Files {
    fn of(listeners: &[Arc<ListenerFacts>], ticket_secret: Option<&Path>) -> Result<Self, TlsError> {
        let mut secret = vec![0; SECRET_MIN];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| TlsError::Library("the system gives no random numbers"))?;
        let settings = || listeners.iter().filter_map(|listener| listener.tls.as_ref()).map(Profile::settings);
        Ok(Self {
            pairs: settings().flat_map(|settings| settings.pairs.iter().cloned()).collect(),
            authorities: settings().filter_map(|settings| Some(settings.client.as_ref()?.0.clone())).collect(),
            ticket_secret: ticket_secret.map(Path::to_owned),
            own_secret: Secret::new(secret),
            known: None,
            trouble: None,
        })
    }

    /// All paths, absolute ones.
    #[cfg(feature = "watch")]
    fn paths(&self) -> Vec<PathBuf> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        let all = pairs.chain(&self.authorities).chain(&self.ticket_secret);
        all.filter_map(|path| std::path::absolute(path).ok()).collect()
    }

    /// Reads all files. The number is that of the first material, so that two of them can be compared.
    fn read(&self) -> Result<Material, TlsError> {
        let pairs = self.pairs.iter().map(read_pair).collect::<Result<_, _>>()?;
        let authorities =
            self.authorities.iter().map(|file| Ok(Authority { file: file.clone(), pem: read_pem(file)? }));
        let authorities = authorities.collect::<Result<_, TlsError>>()?;
        let ticket_secret = match &self.ticket_secret {
            Some(file) => read_secret(file)?,
            None => self.own_secret.clone(),
        };
        let (tickets, ticket_secret) = (Vec::new(), Some(ticket_secret));
        Ok(Material { version: VERSION, number: 1, pairs, authorities, tickets, ticket_secret })
    }

    fn tell_changes(&self, new: &Material) {
        let known = |pair: &&Pair| self.known.as_ref().is_some_and(|known| known.pairs.contains(pair));
        for pair in new.pairs.iter().filter(|pair| !known(pair)) {
            tracing::info!("certificate replaced: {}", pair.files.cert.display());
        }
    }

    /// Notes files that cannot be used, and tells it once. Returns the time until the next look.
    fn note_trouble(&mut self, error: &TlsError, is_asked: bool, now: Instant) -> Option<Duration> {
        let trouble = self.trouble.get_or_insert(Trouble { since: now, told: None, pause: PATIENCE });
        if !is_asked && now.duration_since(trouble.since) < PATIENCE {
            return Some(SOON);
        }
        let text = error.to_string();
        if is_asked || trouble.told.as_ref() != Some(&text) {
            tracing::warn!("{text}; the certificates in use stay");
            trouble.told = Some(text);
        }
        // The disk or the lack of descriptors may be over, and no event tells of that.
        let pause = trouble.pause;
        trouble.pause = PAUSE_MAX.min(pause * 2);
        matches!(error, TlsError::File { .. }).then_some(pause)
    }
}

fn read_pair(files: &PairFiles) -> Result<Pair, TlsError> {
    let chain = read_pem(&files.cert)?;
    let key = Secret::new(contents(&files.key, fs::read(&files.key))?);
    Ok(Pair { files: files.clone(), chain, key })
}

/// Reads certificates. A comment between them may be in any encoding.
fn read_pem(file: &Path) -> Result<String, TlsError> {
    let bytes = contents(file, fs::read(file))?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn read_secret(file: &Path) -> Result<Secret, TlsError> {
    let secret = Secret::new(contents(file, fs::read(file))?);
    let length = secret.bytes().len();
    if !(SECRET_MIN..=SECRET_MAX).contains(&length) {
        return Err(TlsError::Secret { file: file.to_owned(), length });
    }
    Ok(secret)
}

fn contents<T>(file: &Path, read: io::Result<T>) -> Result<T, TlsError> {
    read.map_err(|error| TlsError::File { file: file.to_owned(), error })
}
