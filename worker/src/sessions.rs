//! Sessions of clients: what a service remembers of a client between two requests, by a cookie.
//!
//! [`crate::Server::sessions`] registers them, and a handler takes its client's [`Session`]:
//!
//! ```
//! use gin_worker::{Result, Session};
//!
//! async fn login(session: Session) -> Result<&'static str> {
//!     // The password was right.
//!     session.login(42).await?;
//!     session.insert("theme", "dark").await?;
//!     Ok("welcome")
//! }
//!
//! async fn profile(session: Session) -> Result<String> {
//!     let user = session.user().await?.ok_or_else(|| gin_worker::Error::unauthorized("please log in"))?;
//!     let theme: Option<String> = session.get("theme").await?;
//!     Ok(format!("{user} likes it {}", theme.as_deref().unwrap_or("light")))
//! }
//!
//! async fn logout(session: Session) -> Result<()> {
//!     session.logout().await
//! }
//! ```
//!
//! # What is kept, and where
//!
//! Values are JSON, at most 64 KiB of a session. `sessions.store` says where they are: in a file of SQLite in the state directory, in the
//! service's database, or in Redis. They are written before the answer goes out, so a restart, a rollback or a crash of a worker ends no
//! session. A request that does not take its [`Session`] costs no look at the store. Changes of a request that is answered with 5xx are
//! not written; a logout counts at once.
//!
//! Two requests of one client may change its session at the same time: each change of a value is put into what the other request has
//! written. The last one counts if both set the same value.
//!
//! Redis must keep them: `maxmemory-policy noeviction`, and `appendonly yes` for its own restarts. What Redis evicts or forgets is a client
//! who is logged out. A power cut may undo the last moments of the file of SQLite, a logout, too.
//!
//! Services may share a database or a Redis: by a secret of its own, or a `sessions.cookie` of its own, each has its own sessions and its
//! own users. Two that have both in common are one: user 42 of one is user 42 of the other.
//!
//! # The cookie
//!
//! The cookie has 128 random bits, and a signature by `sessions.secret`: made-up cookies are refused without a look at the store. It is
//! `HttpOnly`, `SameSite=Lax` and `Secure`. Only in debug mode, where `server.host` and the client are of the loopback network, it is not
//! `Secure`. It is sent when a session begins, when its id changes, and when it ends.
//!
//! [`Session::login`] gives the session a new id. So nobody can log a victim into a session whose cookie he knows (fixation). What was
//! stolen before the login, or before the logout, is worth nothing afterwards, in no worker.
//!
//! # The end
//!
//! A session ends when nobody has read it for `sessions.idle`, and `sessions.absolute` after its login however much it is used. To spare
//! writes, a use is noted once in a tenth of `idle`, or in 5 minutes: so a session may end that much too early, and never too late. A
//! shorter `absolute` counts for sessions that there are, too; a shorter `idle` once the end that was noted before is over. With
//! `sessions.per_user`, a login beyond that number ends the user's oldest session. Each worker removes what has expired once a minute.
//!
//! # Figures
//!
//! The counter `sessions_events_total`, behind the namespace, has the label `event`: `created`, `read` (from the store), `cached`,
//! `refused` (cookies with a wrong signature), `ended` (logouts and the limit), `expired`, `failed` (the store did not answer).

mod cache;
mod cookie;
mod figures;
#[cfg(feature = "redis")]
mod in_redis;
mod layer;
mod part;
mod record;
mod session;
mod sql;
mod sqlite;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::kept::asking::Asking;
use crate::kept::id::Id;
use crate::kept::place::Place;
use crate::kept::secret;
use crate::parts::state_directory;
use crate::{BoxError, Error, Result};
use cache::{Cache, Found};
use cookie::{Signed, Signer};
use figures::{Event, Figures};
pub(crate) use layer::SessionsLayer;
pub(crate) use part::SessionsPart;
use record::{Lifetime, Millis, Record, Row};
pub use session::Session;
use store::Store;

/// The secret's file in the state directory.
const SECRET_FILE: &str = "sessions.key";
/// Looks for sessions of a user of whom all are to end: each may find some that have changed their id since the last one.
const ROUNDS_MAX: usize = 8;

/// Now, in milliseconds since 1970.
fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Name of the store in answers that it is away.
const NOUN: &str = "session store";

/// Rules for all sessions.
struct Rules {
    /// Name of the cookie.
    cookie: String,
    /// True if the cookie may go over an unencrypted connection of the loopback network.
    is_debug: bool,
    lifetime: Lifetime,
    /// Sessions of one user at most; 0: no limit.
    per_user: usize,
    /// Prefix of the metrics.
    namespace: String,
}

/// The sessions of a service. A copy is the same.
#[derive(Clone)]
struct Sessions(Arc<Inner>);

struct Inner {
    rules: Rules,
    /// For the secret, and the file of SQLite. `None`: the state directory.
    directory: Option<PathBuf>,
    place: Place,
    opened: OnceLock<Opened>,
    figures: Figures,
    asking: Asking,
}

/// State of the sessions once their store was opened.
struct Opened {
    signer: Signer,
    store: Store,
    /// Of the sessions in the state directory alone: of others nobody says when they change.
    cache: Option<Cache>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    fn new(rules: Rules, directory: Option<PathBuf>, place: Place) -> Self {
        let figures = Figures::new(&rules.namespace);
        Self(Arc::new(Inner { rules, directory, place, opened: OnceLock::new(), figures, asking: Asking::new(NOUN) }))
    }

    /// Opens the store: one try. `secret`: as it is configured.
    async fn open(&self, secret: Option<String>) -> Result<(), BoxError> {
        if self.0.opened.get().is_some() {
            return Ok(());
        }
        let Inner { rules, place, .. } = &*self.0;
        let secret = match secret {
            Some(secret) => secret::checked("sessions.secret", secret)?,
            None => secret::kept(&self.directory()?, SECRET_FILE, "sessions")?,
        };
        let (store, cache) = Store::open(place, || self.directory()).await?;
        let opened = Opened { signer: Signer::new(&secret, &rules.cookie), store, cache };
        // Set once: the part is opened by one task.
        let _ = self.0.opened.set(opened);
        Ok(())
    }

    fn directory(&self) -> Result<PathBuf, BoxError> {
        Ok(self.0.directory.clone().map_or_else(state_directory, Ok)?)
    }

    fn opened(&self) -> Result<&Opened> {
        self.0.opened.get().ok_or_else(|| Error::away(NOUN))
    }

    fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Waits for the store, and notes whether it answers.
    async fn ask<T>(&self, asked: impl Future<Output = Result<T, BoxError>>) -> Result<T> {
        self.0.asking.ask(asked).await.inspect_err(|_| self.0.figures.count(Event::Failed))
    }

    /// The session of a cookie, if the cookie is ours and the session lives.
    async fn load(&self, signed: &Signed, now: Millis) -> Result<Option<Arc<Record>>> {
        let opened = self.opened()?;
        let mark = match opened.cache.as_ref().map(|cache| cache.find(signed, now)) {
            Some(Found::Here(record)) => {
                self.0.figures.count(Event::Cached);
                return Ok(Some(record));
            }
            Some(Found::Missing { mark }) => mark,
            None => None,
        };
        if !opened.signer.is_ours(signed) {
            self.0.figures.count(Event::Refused);
            return Ok(None);
        }
        // Boxed: a question to the store is large, and would stand in the handler's future, also in that of a hit.
        let record = Box::pin(self.read(signed.id, now)).await?;
        if let (Some(cache), Some(mark), Some(record)) = (&opened.cache, mark, &record) {
            cache.keep(signed, mark, Arc::clone(record), now);
        }
        Ok(record)
    }

    /// The session of this id as it is in the store, if it lives.
    async fn read(&self, id: Id, now: Millis) -> Result<Option<Arc<Record>>> {
        let opened = self.opened()?;
        let row = self.ask(opened.store.load(id)).await?;
        self.0.figures.count(Event::Read);
        let lifetime = self.rules().lifetime;
        let row = row.map(|row| Row { expires: lifetime.at_most(row.created, row.expires), ..row });
        let Some(row) = row.filter(|row| row.expires > now) else { return Ok(None) };
        let record = Record::read(&row);
        if record.is_none() {
            // An error would be the answer to each request of this client, a login or a logout, too.
            tracing::warn!("a session in the store cannot be read, and counts as none: its client must log in again");
        }
        Ok(record.map(Arc::new))
    }

    /// Writes to the sessions of these ids, so that no worker goes by what it has read before. If the write fails, or is given up half
    /// way, the ids stay in doubt: nobody knows whether the store has done it.
    async fn write<T>(&self, ids: &[Id], write: impl Future<Output = Result<T, BoxError>>) -> Result<T> {
        let cache = self.opened()?.cache.as_ref();
        if let Some(cache) = cache {
            cache.begin(ids).map_err(|error| Error::away(NOUN).caused_by(error))?;
        }
        let done = self.ask(write).await?;
        if let Some(cache) = cache {
            cache.end(ids);
        }
        Ok(done)
    }

    async fn create(&self, record: &Record) -> Result<Id> {
        let opened = self.opened()?;
        let (id, row) = (Id::random()?, record.row(&opened.signer)?);
        self.write(&[id], opened.store.create(id, &row)).await?;
        self.0.figures.count(Event::Created);
        Ok(id)
    }

    /// Replaces a session that has still the record's version. `new`: its id from now on. False: it has another version, or has ended.
    async fn update(&self, id: Id, new: Id, record: &Record) -> Result<bool> {
        let opened = self.opened()?;
        let row = record.row(&opened.signer)?;
        self.write(&[id, new], opened.store.update(id, new, &row)).await
    }

    /// Lets a session live until then.
    async fn touch(&self, id: Id, expires: Millis) -> Result<()> {
        let opened = self.opened()?;
        self.write(&[id], opened.store.touch(id, expires)).await
    }

    async fn end(&self, ids: &[Id]) -> Result<()> {
        let opened = self.opened()?;
        let ended = self.write(ids, opened.store.rows().delete(ids)).await?;
        self.0.figures.add(Event::Ended, ended);
        Ok(())
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// If the store is away, or each look has found another session: then some may live.
    async fn end_all(&self, user: &str) -> Result<()> {
        let opened = self.opened()?;
        let key = opened.signer.user_key(user);
        for _ in 0..ROUNDS_MAX {
            // One that changes its id meanwhile is found in the next round.
            let ids = self.ask(opened.store.rows().of_user(&key, 0)).await?;
            if ids.is_empty() {
                return Ok(());
            }
            self.end(&ids).await?;
        }
        Err(Error::conflict("sessions of the user change faster than they can be ended").code("SESSION_BUSY"))
    }

    /// Ends the oldest sessions of a user who has more than he may.
    async fn limit(&self, user: &str, now: Millis) -> Result<()> {
        let most = self.rules().per_user;
        if most == 0 {
            return Ok(());
        }
        let opened = self.opened()?;
        let key = opened.signer.user_key(user);
        let ids = self.ask(opened.store.rows().of_user(&key, now)).await?;
        match ids.get(most..) {
            Some(beyond) if !beyond.is_empty() => self.end(beyond).await,
            _ => Ok(()),
        }
    }

    /// Removes sessions that have expired.
    async fn sweep(&self) -> Result<()> {
        let opened = self.opened()?;
        let expired = self.ask(opened.store.rows().sweep(now())).await?;
        self.0.figures.add(Event::Expired, expired);
        let alive = self.ask(opened.store.rows().count()).await?;
        self.0.figures.set_alive(alive);
        Ok(())
    }
}
