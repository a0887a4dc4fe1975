//! Tokens for the fuzz target: made and read as a worker does it, without a store or a clock.

use std::fmt;

use super::claims::{Claims, TOKEN_MAX};
use super::inner::Rules;
use super::keys::{Ring, Secret};
use super::logins::Login;
use super::refresh::RefreshKey;
use super::user::Grants;
use crate::Config;
use crate::kept::id::Id;

/// Tokens of a login in a service.
pub struct Tokens {
    ring: Ring,
    key: RefreshKey,
    /// The login's access token.
    pub access: String,
    /// Its refresh token.
    pub refresh: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Makes the tokens of a login, with the secret of a test.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn make() -> Self {
        let (config, secret) = (Config::default(), Secret::new(vec![7; 32]));
        let (ring, key) = (Ring::of(&config.auth, &secret).expect("HS256 needs no file"), secret.refresh_key());
        let grants = Grants::default().role("admin").scope("files:write");
        let login = Login { user: "ann".to_owned(), grants };
        let id = Id::random().expect("random bits");
        let claims = Claims::of(&login, id, &Rules::of(&config), 0).expect("random bits");
        let access = ring.sign(&claims).expect("a key that signs");
        let refresh = key.sign(id, 7);
        Self { ring, key, access, refresh }
    }

    /// True if this is an access token of the service, at the moment when they were made.
    #[must_use]
    pub fn is_access(&self, text: &str) -> bool {
        text.len() <= TOKEN_MAX && self.ring.verify(text).and_then(|claims| claims.user(0, 0)).is_ok()
    }

    /// True if this is a refresh token of the service.
    #[must_use]
    pub fn is_refresh(&self, text: &str) -> bool {
        self.key.read(text).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_tokens_are_good_and_no_others() {
        let tokens = Tokens::make();
        assert!(tokens.is_access(&tokens.access) && tokens.is_refresh(&tokens.refresh));
        assert!(!tokens.is_access(&tokens.refresh) && !tokens.is_refresh(&tokens.access));
    }
}
