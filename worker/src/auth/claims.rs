//! The contents of an access token (RFC 9068), how long it is good, and whose request it makes. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

use super::inner::Rules;
use super::logins::{Login, Millis};
use super::refusal::Bad;
use super::user::{Grants, User};
use crate::kept::id::Id;
use crate::{Error, Result};

/// Most bytes of an access token. A longer one is refused unread.
pub(super) const TOKEN_MAX: usize = 4096;

/// Contents of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    /// The user.
    pub(super) sub: String,
    /// Seconds since 1970.
    pub(super) exp: i64,
    pub(super) iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    /// The token's own name: two tokens of one moment are not the same.
    pub(super) jti: String,
    /// The login.
    pub(super) sid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<String>,
    /// Scopes with a space between them: RFC 8693, section 4.2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) scope: String,
}

impl Claims {
    /// Contents of a token that is made now.
    ///
    /// # Errors
    /// If there are no random bits.
    pub(super) fn of(login: &Login, id: Id, rules: &Rules, now: Millis) -> Result<Self> {
        Ok(Self {
            iss: rules.issuer.clone(),
            aud: rules.audience.clone(),
            sub: login.user.clone(),
            // Upwards: a token of less than a second is good for a moment, too.
            exp: now.saturating_add(rules.access).saturating_add(999) / 1000,
            iat: now / 1000,
            nbf: None,
            jti: Id::random()?.text(),
            sid: id.text(),
            roles: login.grants.roles.clone(),
            scope: login.grants.scopes.join(" "),
        })
    }

    /// The first moment at which the token is good no more.
    pub(super) fn end(&self, leeway: Millis) -> Millis {
        self.exp.saturating_mul(1000).saturating_add(leeway)
    }

    /// The user whose request the token makes. Issuer, audience and signature were checked before.
    ///
    /// # Errors
    /// If it is not good now, or names no login.
    pub(super) fn user(self, leeway: Millis, now: Millis) -> Result<User, Bad> {
        if self.end(leeway) <= now {
            return Err(Bad::Expired);
        }
        if self.nbf.is_some_and(|nbf| nbf.saturating_mul(1000) > now.saturating_add(leeway)) {
            return Err(Bad::Invalid("it is not good yet"));
        }
        let login = Id::parse(&self.sid).ok_or(Bad::Invalid("its sid is no login's"))?;
        let scopes = self.scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        Ok(User::new(&self.sub, Grants { roles: self.roles, scopes }, Some(login)))
    }
}

/// Checks that each scope is one word: with a space in it, it would be two in a token.
///
/// # Errors
/// 500, which names the scope.
pub(super) fn checked(grants: &Grants) -> Result<()> {
    let is_word = |scope: &str| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
    match grants.scopes.iter().find(|scope| !is_word(scope)) {
        Some(scope) => Err(Error::internal(format!("{scope:?} is no scope: a scope is one word of ASCII characters"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn claims() -> Claims {
        let grants = Grants::default().role("admin").scope("files:read").scope("files:write");
        let login = Login { user: "ann".to_owned(), grants };
        Claims::of(&login, Id::of(7), &Rules::of(&Config::default()), 10_500).unwrap()
    }

    #[test]
    fn a_token_says_whose_it_is_and_for_how_long() {
        let own = claims();
        assert_eq!((own.iat, own.exp, own.nbf), (10, 911, None));
        assert_ne!(own.jti, claims().jti);
        let user = own.clone().user(0, 910_999).unwrap();
        assert_eq!((user.id(), user.roles(), user.scopes().len()), ("ann", &["admin".to_owned()][..], 2));
        assert!(user.has_scope("files:write") && !user.has_scope("files") && !user.has_role("files:read"));
        assert_eq!(own.clone().user(0, 911_000).unwrap_err(), Bad::Expired);
        assert!(own.clone().user(5_000, 915_999).is_ok());
        assert_eq!(own.user(5_000, 916_000).unwrap_err(), Bad::Expired);
    }

    #[test]
    fn what_is_not_good_yet_or_names_no_login_is_refused() {
        let later = Claims { nbf: Some(20), ..claims() };
        assert!(matches!(later.clone().user(0, 19_999), Err(Bad::Invalid(_))));
        assert!(later.clone().user(0, 20_000).is_ok() && later.user(1_000, 19_000).is_ok());
        for sid in ["", "7", &"A".repeat(32)] {
            let without = Claims { sid: sid.to_owned(), ..claims() };
            assert!(matches!(without.user(0, 11_000), Err(Bad::Invalid(_))), "{sid}");
        }
        let ages = Claims { exp: i64::MAX, nbf: Some(i64::MIN), ..claims() };
        assert!(ages.user(i64::MAX, 0).is_ok(), "no sum overflows");
    }

    #[test]
    fn a_scope_is_one_word() {
        assert!(checked(&Grants::default().scope("files:write").role("a role")).is_ok());
        for wrong in ["", "a b", "a\tb", "\u{e9}", "a\n"] {
            let error = checked(&Grants::default().scope(wrong)).unwrap_err();
            assert!(error.status() == 500 && error.to_string().contains("is no scope"), "{wrong:?}: {error}");
        }
    }
}
