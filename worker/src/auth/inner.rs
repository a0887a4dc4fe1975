//! The keys and the store behind [`Auth`](super::Auth), and what becomes of a token.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::NOUN;
use super::Tokens;
use super::claims::{self, Claims, TOKEN_MAX};
use super::figures::{Event, Figures};
use super::keys::{Ring, Secret};
use super::logins::{self, Lifetime, Login, Millis, Row, Turn, millis};
use super::passwords::Passwords;
use super::refresh::RefreshKey;
use super::refusal::{self, Bad};
use super::store::Store;
use super::user::{Grants, User};
use super::verified::Verified;
use crate::config::{self, Revocation};
use crate::kept::asking::Asking;
use crate::kept::id::Id;
use crate::kept::marks::Marks;
use crate::kept::place::Place;
use crate::kept::secret;
use crate::parts::state_directory;
use crate::{BoxError, Config, Error, Result, ResultExt};

/// The secret's file in the state directory.
const SECRET_FILE: &str = "auth.key";
/// Looks at a login that other requests refresh meanwhile. The second one finds the number that the first one has left.
const ATTEMPTS: u32 = 8;
/// A login that is not there, or has expired.
const ENDED: Bad = Bad::Invalid("its login has ended");

/// Rules for all logins.
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// Life of an access token.
    pub(super) access: Millis,
    /// For so long it is good after its end.
    pub(super) leeway: Millis,
    pub(super) lifetime: Lifetime,
    pub(super) revocation: Revocation,
    /// Logins of one user at most; 0: no limit.
    pub(super) per_user: usize,
}

/// The logins of a service.
pub(super) struct Inner {
    rules: Rules,
    pub(super) settings: config::Auth,
    /// For the secret, and the file of SQLite. `None`: the state directory.
    directory: Option<PathBuf>,
    place: Place,
    pub(super) opened: OnceLock<Opened>,
    pub(super) figures: Arc<Figures>,
    pub(super) asking: Asking,
    pub(super) passwords: Passwords,
}

/// State of the logins once their store was opened.
pub(super) struct Opened {
    secret: Secret,
    refresh: RefreshKey,
    in_force: ArcSwap<InForce>,
    pub(super) store: Store,
    /// Of logins in the state directory alone.
    marks: Option<Marks>,
}

/// Keys, and the tokens that were verified with them. They are replaced as one.
pub(super) struct InForce {
    ring: Ring,
    verified: Verified,
}

impl Rules {
    pub(super) fn of(config: &Config) -> Self {
        let auth = &config.auth;
        let lifetime = Lifetime {
            refresh: millis(auth.refresh),
            absolute: millis(auth.absolute),
            grace: millis(auth.refresh_grace),
        };
        Self {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            access: millis(auth.access).min(lifetime.end(0, 0)),
            leeway: millis(auth.leeway),
            lifetime,
            revocation: auth.revocation,
            per_user: usize::try_from(auth.per_user).unwrap_or(usize::MAX),
        }
    }
}

impl InForce {
    fn new(ring: Ring) -> Self {
        Self { ring, verified: Verified::new() }
    }
}

impl Opened {
    /// The user of a token that was verified a moment ago, if nobody has written to its login since.
    fn remembered(&self, token: &str, now: Millis) -> Option<User> {
        let (user, mark) = self.in_force.load().verified.find(token, now)?;
        match mark {
            None => Some(user),
            Some(mark) => {
                let now = self.marks.as_ref()?.mark(user.0.login?);
                (now == Some(mark)).then_some(user)
            }
        }
    }
}

impl Inner {
    pub(super) fn new(config: &Config, directory: Option<PathBuf>, place: Place) -> Self {
        Self {
            rules: Rules::of(config),
            settings: config.auth.clone(),
            directory,
            place,
            opened: OnceLock::new(),
            figures: Arc::new(Figures::new(&config.monitoring.namespace)),
            asking: Asking::new(NOUN),
            passwords: Passwords::new(&config.auth),
        }
    }

    /// Opens the store: one try.
    pub(super) async fn open(&self) -> Result<(), BoxError> {
        if self.opened.get().is_some() {
            return Ok(());
        }
        let secret = match self.settings.read_secret()? {
            Some(secret) => secret::checked("auth.secret", secret)?,
            None => secret::kept(&self.directory()?, SECRET_FILE, "logins")?,
        };
        let secret = Secret::new(secret);
        let ring = Ring::of(&self.settings, &secret).map_err(|problem| problem.to_string())?;
        let (store, marks) = Store::open(&self.place, || self.directory()).await?;
        let (refresh, in_force) = (secret.refresh_key(), ArcSwap::from_pointee(InForce::new(ring)));
        // Set once: the part is opened by one task.
        let _ = self.opened.set(Opened { secret, refresh, in_force, store, marks });
        Ok(())
    }

    /// Goes by the keys of this configuration.
    ///
    /// # Errors
    /// If they cannot be read: then those before stay in force.
    pub(super) fn reconfigure(&self, auth: &config::Auth) -> Result<(), String> {
        let opened = self.opened.get().ok_or("the login store is not open yet; reload once the worker is ready")?;
        let ring = Ring::of(auth, &opened.secret).map_err(|problem| problem.to_string())?;
        if !opened.in_force.load().ring.is_same(&ring) {
            opened.in_force.store(Arc::new(InForce::new(ring)));
            tracing::info!("the keys of access tokens have changed");
        }
        Ok(())
    }

    fn directory(&self) -> Result<PathBuf, BoxError> {
        Ok(self.directory.clone().map_or_else(state_directory, Ok)?)
    }

    pub(super) fn opened(&self) -> Result<&Opened> {
        self.opened.get().ok_or_else(|| Error::away(NOUN))
    }

    /// Waits for the store, and notes whether it answers.
    pub(super) async fn ask<T>(&self, asked: impl Future<Output = Result<T, BoxError>>) -> Result<T> {
        self.asking.ask(asked).await.inspect_err(|_| self.figures.count(Event::Failed))
    }

    /// The answer to a token that is not good.
    pub(super) fn refused(&self, bad: Bad) -> Error {
        self.figures.count(Event::Refused);
        refusal::bad(bad)
    }

    pub(super) async fn login(&self, user: String, grants: Grants, now: Millis) -> Result<Tokens> {
        claims::checked(&grants)?;
        let opened = self.opened()?;
        let (id, login) = (Id::random()?, Login { user, grants });
        let user_key = opened.secret.user_key(&login.user);
        let row = login.row(user_key.clone(), self.rules.lifetime, now)?;
        let tokens = self.tokens(&login, id, row.version, now)?;
        self.ask(opened.store.create(id, &row)).await?;
        self.figures.count(Event::Login);
        if self.rules.per_user > 0 {
            let newest = self.ask(opened.store.rows().of_user(&user_key, now)).await?;
            self.end(logins::beyond(&newest, self.rules.per_user)).await?;
        }
        Ok(tokens)
    }

    /// Tokens of a login, the refresh token with this number.
    fn tokens(&self, login: &Login, id: Id, version: i64, now: Millis) -> Result<Tokens> {
        let opened = self.opened()?;
        let claims = Claims::of(login, id, &self.rules, now)?;
        let access = opened.in_force.load().ring.sign(&claims)?;
        if access.len() > TOKEN_MAX {
            let text = format!(
                "an access token has at most {TOKEN_MAX} bytes, and this one would have {}: give the login fewer roles and scopes",
                access.len()
            );
            return Err(Error::internal(text));
        }
        let number = u32::try_from(version).internal()?;
        let expires_in = u64::try_from(self.rules.access / 1000).unwrap_or_default();
        Ok(Tokens { access, refresh: opened.refresh.sign(id, number), expires_in })
    }

    pub(super) async fn refresh(&self, token: &str, client: Option<IpAddr>, now: Millis) -> Result<Tokens> {
        let opened = self.opened()?;
        let Some((id, number)) = opened.refresh.read(token) else {
            return Err(self.refused(Bad::Invalid("it is no refresh token of this service")));
        };
        for _ in 0..ATTEMPTS {
            let Some((row, login)) = self.load(id).await? else { return Err(self.refused(ENDED)) };
            let version = match row.judge(number, self.rules.lifetime, now) {
                Turn::Over => return Err(self.refused(ENDED)),
                Turn::Reused => return Err(self.reused(id, &login, client).await?),
                Turn::Again => row.version,
                Turn::Next => {
                    let expires = self.rules.lifetime.end(row.created, now);
                    if !self.ask(opened.store.turn(id, row.version, now, expires)).await? {
                        // Another request was faster, or has ended the login.
                        continue;
                    }
                    row.version + 1
                }
            };
            self.figures.count(Event::Refreshed);
            return self.tokens(&login, id, version, now);
        }
        Err(Error::conflict("the login is refreshed by too many requests at once").code("LOGIN_BUSY"))
    }

    /// The login of this id as it is in the store.
    async fn load(&self, id: Id) -> Result<Option<(Row, Login)>> {
        let Some(row) = self.ask(self.opened()?.store.load(id)).await? else { return Ok(None) };
        let login = Login::read(&row);
        if login.is_none() {
            tracing::warn!("a login in the store cannot be read, and counts as none: its user must log in again");
        }
        Ok(login.map(|login| (row, login)))
    }

    /// Ends a login of which a refresh token was used a second time. Returns the answer.
    async fn reused(&self, id: Id, login: &Login, client: Option<IpAddr>) -> Result<Error> {
        self.figures.count(Event::Reused);
        self.end(&[id]).await?;
        let client_ip = client.map(|ip| ip.to_string());
        tracing::warn!(
            user_id = login.user.as_str(),
            client_ip,
            "a refresh token was used a second time: its login is ended, as somebody may have stolen the token"
        );
        Ok(refusal::reused())
    }

    pub(super) async fn verify(&self, token: &str, now: Millis) -> Result<User> {
        if token.len() > TOKEN_MAX {
            return Err(self.refused(Bad::Invalid("it has more than 4096 bytes")));
        }
        let opened = self.opened()?;
        if let Some(user) = opened.remembered(token, now) {
            self.figures.count(Event::Cached);
            return Ok(user);
        }
        // Boxed: a question to the store is large, and would be copied with the future of each handler that takes a user, also of a hit.
        Box::pin(self.read(opened, token, now)).await
    }

    /// The user of a token that is not remembered, by its signature and its login in the store. Remembers the token.
    async fn read(&self, opened: &Opened, token: &str, now: Millis) -> Result<User> {
        let in_force = opened.in_force.load_full();
        let read = in_force.ring.verify(token).and_then(|claims| {
            let end = claims.end(self.rules.leeway);
            Ok((claims.user(self.rules.leeway, now)?, end))
        });
        let (user, end) = read.map_err(|bad| self.refused(bad))?;
        let (mark, end) = match (self.rules.revocation, user.0.login) {
            (Revocation::Always, Some(login)) => {
                // The mark first: a write after it makes it another one.
                let mark = opened.marks.as_ref().and_then(|marks| marks.mark(login));
                let row = self.ask(opened.store.load(login)).await?;
                // Another service may have the same store and the same keys. Its secret is another one.
                let own = row.filter(|row| row.user_key == opened.secret.user_key(user.id()));
                let ends = own.map(|row| row.ends(self.rules.lifetime)).filter(|ends| *ends > now);
                let Some(ends) = ends else { return Err(self.refused(ENDED)) };
                (mark, end.min(ends))
            }
            (Revocation::Refresh, _) | (Revocation::Always, None) => (None, end),
        };
        if mark.is_some() || self.rules.revocation == Revocation::Refresh {
            in_force.verified.keep(token, &user, mark, end, now);
        }
        self.figures.count(Event::Verified);
        Ok(user)
    }

    /// Ends logins, so that no worker goes by what it has read before. If the write fails, or is given up half way, the logins stay in
    /// doubt: nobody knows whether the store has done it.
    pub(super) async fn end(&self, ids: &[Id]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let Opened { store, marks, .. } = self.opened()?;
        if let Some(marks) = marks {
            marks.begin(ids).map_err(|error| Error::away(NOUN).caused_by(error))?;
        }
        let ended = self.ask(store.rows().delete(ids)).await?;
        if let Some(marks) = marks {
            marks.end(ids);
        }
        self.figures.add(Event::LoggedOut, ended);
        Ok(())
    }

    pub(super) async fn end_all(&self, user: &str) -> Result<()> {
        let opened = self.opened()?;
        let ids = self.ask(opened.store.rows().of_user(&opened.secret.user_key(user), 0)).await?;
        self.end(&ids).await
    }

    /// Removes logins that have expired.
    pub(super) async fn sweep(&self, now: Millis) -> Result<()> {
        let opened = self.opened()?;
        let expired = self.ask(opened.store.rows().sweep(now)).await?;
        self.figures.add(Event::Expired, expired);
        let alive = self.ask(opened.store.rows().count()).await?;
        self.figures.set_alive(alive);
        Ok(())
    }
}
