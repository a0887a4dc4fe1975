//! Logins as a part of a server.

use futures_util::future::BoxFuture;
use gin_shared::config::Problem;
use serde_json::{Value, json};

use super::passwords::Passwords;
use crate::parts::{Health, Part, Registered};
use crate::{Config, Error};

/// The logins of a server.
pub(crate) struct AuthPart {
    passwords: Passwords,
}

impl AuthPart {
    /// Makes the part as `[auth]` says.
    ///
    /// # Errors
    /// If the place of the logins is not registered.
    #[allow(clippy::unnecessary_wraps, reason = "filled by the next commits")]
    pub(crate) fn new(config: &Config, _: &Registered) -> Result<Self, Problem> {
        Ok(Self { passwords: Passwords::new(&config.auth) })
    }

    /// Gives handlers what they take.
    pub(crate) fn lend(&self, registered: &mut Registered) {
        registered.lend(self.passwords.clone());
    }
}

impl Part for AuthPart {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn health(&self) -> Health {
        Health::Here
    }

    fn look(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn details(&self) -> Value {
        json!({})
    }
}
