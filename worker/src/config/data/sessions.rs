//! `[sessions]`

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use gin_shared::config::Section;

use super::{Store, count, own_secret, time};

/// `[sessions]`: for a program that registers sessions.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sessions {
    /// Place of the sessions.
    pub store: Store,
    /// Name of the cookie.
    pub cookie: String,
    /// A session that is not used for so long ends.
    pub idle: Duration,
    /// A session ends so long after its login, however much it is used.
    pub absolute: Duration,
    /// Sessions of one user at most; the oldest ends. 0: no limit.
    pub per_user: u32,
    /// Signs the cookie.
    pub secret: Option<String>,
    /// A file with the secret, which counts where `secret` is not set.
    pub secret_file: Option<PathBuf>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            store: Store::default(),
            cookie: "session".to_owned(),
            idle: Duration::from_secs(24 * 60 * 60),
            absolute: Duration::from_secs(7 * 24 * 60 * 60),
            per_user: 0,
            secret: None,
            secret_file: None,
        }
    }
}

/// Without the secret, which stands in no log.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, cookie, idle, absolute, per_user, .. } = self;
        let mut shown = f.debug_struct("Sessions");
        shown.field("store", store).field("cookie", cookie).field("idle", idle);
        shown.field("absolute", absolute).field("per_user", per_user).finish_non_exhaustive()
    }
}

impl Sessions {
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        // RFC 6265, section 4.1.1: a cookie's name is a token, as a header's is.
        let cookie = section.parsed("cookie", "a text", |text| match HeaderName::from_bytes(text.as_bytes()) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(format!("\"{text}\" cannot name a cookie; use letters, digits, - and _")),
        });
        Self {
            store: Store::read(section).unwrap_or(base.store),
            cookie: cookie.unwrap_or(base.cookie),
            idle: time(section, "idle").unwrap_or(base.idle),
            absolute: time(section, "absolute").unwrap_or(base.absolute),
            per_user: count(section, "per_user", 0).unwrap_or(base.per_user),
            secret: section.string("secret"),
            secret_file: section.path("secret_file"),
        }
    }

    /// The secret: `secret`, else the text of `secret_file`. `None`: the worker makes one and keeps it in the state directory.
    ///
    /// # Errors
    /// If the file cannot be read, or has nothing: a sentence that names the key.
    pub(crate) fn read_secret(&self) -> Result<Option<String>, String> {
        own_secret(self.secret.as_deref(), "sessions.secret_file", self.secret_file.as_deref())
    }
}
