//! Logins as a part of a server: its life, and the task that removes what has expired.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gin_shared::config::Problem;
use serde_json::Value;

use super::attempts::Limits;
use super::inner::Inner;
use super::keys::{self, Ring};
use super::{Auth, NOUN, now};
use crate::config::{self, RateLimit};
use crate::kept::id::Id;
use crate::kept::place::Place;
use crate::parts::{Health, Part, Registered, Sweeper};
use crate::{Config, Error, ResultExt};

/// The logins of a server.
pub(crate) struct AuthPart {
    auth: Auth,
    sweeper: Sweeper,
}

impl AuthPart {
    /// Makes the part as `[auth]` says.
    ///
    /// # Errors
    /// If the place of the logins is not registered, or the keys cannot be used.
    pub(crate) fn new(config: &Config, registered: &Registered) -> Result<Self, Problem> {
        keys::check_algorithm(&config.auth)?;
        if !config.auth.keys.is_empty() {
            // A start that waits for the store would tell of a key's file at its end alone.
            Ring::read(&config.auth)?;
        }
        Ok(Self::at(config, None, Place::of(config.auth.store, "auth.store", registered)?))
    }

    pub(super) fn at(config: &Config, directory: Option<PathBuf>, place: Place) -> Self {
        Self { auth: Auth::new(config, directory, place), sweeper: Sweeper::default() }
    }

    /// Gives handlers what they take.
    pub(crate) fn lend(&self, registered: &mut Registered) {
        registered.lend(self.auth.clone());
        registered.lend(self.inner().passwords.clone());
        registered.lend(limits(&self.inner().settings));
        registered.lend(Arc::clone(&self.inner().figures));
    }

    #[cfg(test)]
    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    fn inner(&self) -> &Inner {
        &self.auth.inner
    }

    /// Hosts that share logins must share the secret.
    fn tell_of_secret(&self) {
        let settings = &self.inner().settings;
        let is_configured = settings.secret.is_some() || settings.secret_file.is_some();
        if !is_configured && self.inner().opened().is_ok_and(|opened| opened.store.rows().is_shared()) {
            tracing::warn!(
                "auth.secret is not set: this host makes its own, so a client whose next request goes to another host is logged out; \
                 set auth.secret_file on all hosts"
            );
        }
    }
}

/// Limits of attempts to log in. 0 is no limit.
fn limits(auth: &config::Auth) -> Limits {
    let limit = |rate: u32| {
        let limit = RateLimit { enable: true, rate, window: auth.attempts_window, ..RateLimit::default() };
        (rate > 0).then_some(limit)
    };
    Limits { account: limit(auth.attempts_account), address: limit(auth.attempts_address) }
}

/// Removes what has expired.
async fn sweep(auth: Auth) {
    if let Err(error) = auth.inner.sweep(now()).await {
        tracing::debug!("expired logins are not removed: {error}");
    }
}

impl Part for AuthPart {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn noun(&self) -> &'static str {
        NOUN
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { self.inner().open().await.internal() })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.tell_of_secret();
            let auth = self.auth.clone();
            // Workers that start together do it at different times.
            let first = Duration::from_millis(Id::random().map_or(0, |id| id.low() % 60_000));
            self.sweeper.begin(first, move || sweep(auth.clone()));
            Ok(())
        })
    }

    fn health(&self) -> Health {
        if self.inner().opened.get().is_none() {
            return Health::Away { why: "the store of logins is not open".to_owned() };
        }
        self.inner().asking.health()
    }

    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Ok(opened) = self.inner().opened() {
                // Its outcome is noted.
                let _ = self.inner().ask(opened.store.rows().ping()).await;
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sweeper.end();
            if let Ok(opened) = self.inner().opened() {
                opened.store.rows().close().await;
            }
        })
    }

    fn details(&self) -> Value {
        self.inner().figures.told()
    }

    fn reconfigure(&self, config: &Config) -> Result<(), String> {
        self.inner().reconfigure(&config.auth)
    }
}
