//! Sessions as a part of a server: its life, and the task that removes what has expired.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gin_shared::config::Problem;
use serde_json::Value;

use super::layer::SessionsLayer;
use super::record::Lifetime;
use super::{NOUN, Rules, Sessions};
use crate::config::{Config, Mode};
use crate::kept::id::Id;
use crate::kept::place::Place;
use crate::parts::{Health, Part, Registered, Sweeper};
use crate::{Error, Result, ResultExt, config};

/// The sessions of a server.
pub(crate) struct SessionsPart {
    sessions: Sessions,
    settings: config::Sessions,
    sweeper: Sweeper,
}

impl SessionsPart {
    /// Makes the part as `[sessions]` says.
    ///
    /// # Errors
    /// If the place of the sessions is not registered.
    pub(crate) fn new(config: &Config, registered: &Registered) -> Result<Self, Problem> {
        Ok(Self::at(config, None, Place::of(config.sessions.store, "sessions.store", registered)?))
    }

    pub(super) fn at(config: &Config, directory: Option<PathBuf>, place: Place) -> Self {
        let settings = config.sessions.clone();
        let sessions = Sessions::new(rules(config), directory, place);
        Self { sessions, settings, sweeper: Sweeper::default() }
    }

    /// The layer that gives requests their sessions. It stands around the application's own middleware.
    pub(crate) fn layer(&self) -> SessionsLayer {
        SessionsLayer(self.sessions.clone())
    }

    #[cfg(test)]
    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Hosts that share sessions must share the secret.
    fn tell_of_secret(&self) {
        let is_configured = self.settings.secret.is_some() || self.settings.secret_file.is_some();
        if !is_configured && self.sessions.opened().is_ok_and(|opened| opened.store.rows().is_shared()) {
            tracing::warn!(
                "sessions.secret is not set: this host makes its own, so a client whose next request goes to another host is logged out; \
                 set sessions.secret_file on all hosts"
            );
        }
    }

    async fn begin(&self) -> Result<()> {
        let secret = self.settings.read_secret().internal()?;
        self.sessions.open(secret).await.internal()
    }
}

fn rules(config: &Config) -> Rules {
    let settings = &config.sessions;
    let is_loopback = config.server.host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
    Rules {
        cookie: settings.cookie.clone(),
        is_debug: config.server.mode == Mode::Debug && is_loopback && !is_secure_by_name(&settings.cookie),
        lifetime: Lifetime::new(settings.idle, settings.absolute),
        per_user: usize::try_from(settings.per_user).unwrap_or(usize::MAX),
        namespace: config.monitoring.namespace.clone(),
    }
}

/// True for a name that browsers take of a `Secure` cookie alone: RFC 6265bis, section 4.1.3.
fn is_secure_by_name(cookie: &str) -> bool {
    let begins = |prefix: &str| cookie.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    begins("__Host-") || begins("__Secure-")
}

/// Removes what has expired.
async fn sweep(sessions: Sessions) {
    if let Err(error) = sessions.sweep().await {
        tracing::debug!("expired sessions are not removed: {error}");
    }
}

impl Part for SessionsPart {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn noun(&self) -> &'static str {
        NOUN
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.begin())
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.tell_of_secret();
            let sessions = self.sessions.clone();
            // Workers that start together do it at different times.
            let first = Duration::from_millis(Id::random().map_or(0, |id| id.low() % 60_000));
            self.sweeper.begin(first, move || sweep(sessions.clone()));
            Ok(())
        })
    }

    fn health(&self) -> Health {
        let inner = &self.sessions.0;
        if inner.opened.get().is_none() {
            return Health::Away { why: "the store of sessions is not open".to_owned() };
        }
        inner.asking.health()
    }

    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Ok(opened) = self.sessions.opened() {
                // Its outcome is noted.
                let _ = self.sessions.ask(opened.store.rows().ping()).await;
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sweeper.end();
            if let Ok(opened) = self.sessions.opened() {
                opened.store.rows().close().await;
            }
        })
    }

    fn details(&self) -> Value {
        self.sessions.0.figures.told()
    }
}
