//! The secret of the tokens, as a part of a server.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::token::Tokens;
use crate::kept::secret;
use crate::parts::{Health, Part, Registered, state_directory};
use crate::{BoxError, Config, Error, ResultExt, config};

/// The secret's file in the state directory.
const SECRET_FILE: &str = "csrf.key";

/// The tokens of a server, and where their secret is from.
pub(crate) struct CsrfPart {
    tokens: Tokens,
    settings: config::Security,
    /// Of the secret's file. `None`: the state directory.
    directory: Option<PathBuf>,
}

impl CsrfPart {
    pub(crate) fn new(config: &Config) -> Self {
        Self::at(config, None)
    }

    fn at(config: &Config, directory: Option<PathBuf>) -> Self {
        Self { tokens: Tokens::new(config), settings: config.security.clone(), directory }
    }

    /// Gives the layer what it takes.
    pub(crate) fn lend(&self, registered: &mut Registered) {
        registered.lend(self.tokens.clone());
    }

    fn secret(&self) -> Result<Vec<u8>, BoxError> {
        match self.settings.read_csrf_secret()? {
            Some(secret) => secret::checked("security.csrf_secret", secret),
            None => {
                let directory = self.directory.clone().map_or_else(state_directory, Ok)?;
                secret::kept(&directory, SECRET_FILE, "CSRF tokens")
            }
        }
    }
}

impl Part for CsrfPart {
    fn name(&self) -> &'static str {
        "csrf"
    }

    fn noun(&self) -> &'static str {
        "secret of CSRF tokens"
    }

    fn open(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            if !self.tokens.is_open() {
                self.tokens.open(&self.secret().internal()?);
            }
            Ok(())
        })
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn health(&self) -> Health {
        if self.tokens.is_open() {
            Health::Here
        } else {
            Health::Away { why: "the secret of CSRF tokens is not read".to_owned() }
        }
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;
    use crate::kept::id::Id;

    fn config(secret: Option<&str>) -> Config {
        let security = config::Security { csrf_secret: secret.map(str::to_owned), ..config::Security::default() };
        Config::<()> { security, ..Config::default() }
    }

    async fn opened(secret: Option<&str>, directory: &std::path::Path) -> Result<CsrfPart, Error> {
        let part = CsrfPart::at(&config(secret), Some(directory.to_owned()));
        assert!(matches!(part.health(), Health::Away { .. }));
        part.open().await?;
        assert_eq!(part.health(), Health::Here);
        Ok(part)
    }

    #[tokio::test]
    async fn all_workers_take_each_others_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) =
            (opened(None, directory.path()).await.unwrap(), opened(None, directory.path()).await.unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("cookie", format!("__Host-csrf={}", Id::of(7).text()).parse().unwrap());
        let token = one.tokens.token(Id::of(7), &headers).unwrap();
        assert!(other.tokens.is_good(&token, &headers).unwrap());
        let configured = opened(Some(&"x".repeat(32)), directory.path()).await.unwrap();
        assert!(!configured.tokens.is_good(&token, &headers).unwrap());
        let short = opened(Some("hunter2"), directory.path()).await.err().unwrap();
        assert!(short.in_a_line().contains("security.csrf_secret has 7 bytes"), "{}", short.in_a_line());
    }
}
