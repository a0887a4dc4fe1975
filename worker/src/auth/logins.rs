//! A login as it stands in the store, how long it lives, and what becomes of a refresh token. Nothing here reads a clock or a store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::user::Grants;
use crate::kept::id::Id;
use crate::{Result, ResultExt};

/// A time, in milliseconds since 1970, or a length of time.
pub(super) type Millis = i64;

/// The JSON of a login. Another version of the library may know more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) user: String,
    #[serde(default)]
    pub(super) grants: Grants,
}

/// A login as it stands in the store: a family of refresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The user, by a signature.
    pub(super) user_key: String,
    /// JSON.
    pub(super) data: String,
    pub(super) created: Millis,
    pub(super) expires: Millis,
    /// Number of the refresh token that is to be used next.
    pub(super) version: i64,
    /// The time at which the number has risen.
    pub(super) turned: Millis,
}

/// Outcome of the use of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is the one that is to be used: the next one takes its place.
    Next,
    /// It was used a moment ago. Its answer was lost, or two tabs have used it: the same tokens are given once more.
    Again,
    /// It was used before. Somebody has stolen it, or the one that came after it.
    Reused,
    /// The login has ended.
    Over,
}

/// Lifetimes of logins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    /// Without a refresh.
    pub(super) refresh: Millis,
    /// From the beginning, however often it is refreshed.
    pub(super) absolute: Millis,
    pub(super) grace: Millis,
}

impl Lifetime {
    /// The end of a login that began at one time, and was refreshed at another.
    pub(super) fn end(self, created: Millis, turned: Millis) -> Millis {
        turned.saturating_add(self.refresh).min(created.saturating_add(self.absolute))
    }
}

/// A length of time in milliseconds.
pub(super) fn millis(time: Duration) -> Millis {
    // A year is the longest time that the configuration takes.
    Millis::try_from(time.as_millis()).unwrap_or(Millis::from(u32::MAX))
}

impl Login {
    /// The row of a login that begins now.
    ///
    /// # Errors
    /// If it cannot be JSON.
    pub(super) fn row(&self, user_key: String, lifetime: Lifetime, now: Millis) -> Result<Row> {
        let data = serde_json::to_string(self).internal()?;
        Ok(Row { user_key, data, created: now, expires: lifetime.end(now, now), version: 0, turned: now })
    }

    /// `None`: the JSON is not a login's.
    pub(super) fn read(row: &Row) -> Option<Self> {
        serde_json::from_str(&row.data).ok()
    }
}

impl Row {
    /// The end of the login if no refresh token is used: no later than `auth.refresh` and `auth.absolute` allow, which were longer,
    /// perhaps, when the end was written.
    pub(super) fn ends(&self, lifetime: Lifetime) -> Millis {
        self.expires.min(lifetime.end(self.created, self.turned))
    }

    /// Decides about the refresh token of this number.
    pub(super) fn judge(&self, number: u32, lifetime: Lifetime, now: Millis) -> Turn {
        if self.ends(lifetime) <= now {
            return Turn::Over;
        }
        match self.version - i64::from(number) {
            0 => Turn::Next,
            // The other worker's clock may be a little ahead.
            1 if now - self.turned < lifetime.grace => Turn::Again,
            _ => Turn::Reused,
        }
    }
}

/// Logins of a user beyond the number that he may have: the oldest. `newest`: all of them, the newest first. `most` 0: no limit.
pub(super) fn beyond(newest: &[Id], most: usize) -> &[Id] {
    if most == 0 { &[] } else { newest.get(most..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Lifetime = Lifetime { refresh: 1000, absolute: 2500, grace: 10 };

    fn login() -> Login {
        Login { user: "Ann\0 ' OR 1=1 \u{1f375}".to_owned(), grants: Grants::default().role("admin") }
    }

    #[test]
    fn a_refresh_token_is_used_once_and_for_a_moment_again() {
        let row = Row { version: 7, turned: 100, ..login().row("k".to_owned(), LIFETIME, 100).unwrap() };
        for (number, now, turn) in [
            (7, 100, Turn::Next),
            (7, 1099, Turn::Next),
            (7, 1100, Turn::Over),
            (6, 109, Turn::Again),
            (6, 99, Turn::Again),
            (6, 110, Turn::Reused),
            (5, 101, Turn::Reused),
            (8, 101, Turn::Reused),
            (0, 101, Turn::Reused),
            (u32::MAX, 101, Turn::Reused),
            (6, 1100, Turn::Over),
        ] {
            assert_eq!(row.judge(number, LIFETIME, now), turn, "{number} at {now}");
        }
        let strict = Lifetime { grace: 0, ..LIFETIME };
        assert_eq!(row.judge(6, strict, 100), Turn::Reused);
        let shorter = Lifetime { refresh: 50, ..LIFETIME };
        assert_eq!((row.judge(7, shorter, 149), row.judge(7, shorter, 150)), (Turn::Next, Turn::Over));
    }

    #[test]
    fn a_login_ends_however_often_it_is_refreshed() {
        let begun = login().row("k".to_owned(), LIFETIME, 100).unwrap();
        for (turned, ends) in [(100, 1100), (1000, 2000), (1600, 2600), (2599, 2600)] {
            let row = Row { turned, expires: LIFETIME.end(100, turned), ..begun.clone() };
            assert_eq!((row.expires, row.ends(LIFETIME)), (ends, ends), "{turned}");
            assert_eq!((row.judge(0, LIFETIME, ends - 1), row.judge(0, LIFETIME, ends)), (Turn::Next, Turn::Over));
        }
        let shorter = Lifetime { absolute: 500, ..LIFETIME };
        assert_eq!((begun.ends(shorter), shorter.end(100, 100)), (600, 600), "of a login that there is, too");
    }

    #[test]
    fn a_row_says_the_same() {
        let row = login().row("k".to_owned(), LIFETIME, 100).unwrap();
        assert!(!row.data.contains('\0'), "PostgreSQL takes none");
        assert_eq!((row.created, row.expires, row.version, row.turned), (100, 1100, 0, 100));
        assert_eq!(Login::read(&row), Some(login()));
        let newer = Row { data: r#"{"user":"bob","more":1}"#.to_owned(), ..row.clone() };
        assert_eq!(Login::read(&newer), Some(Login { user: "bob".to_owned(), grants: Grants::default() }));
        assert_eq!(Login::read(&Row { data: "[".to_owned(), ..row }), None);
    }

    #[test]
    fn the_oldest_are_beyond_the_limit() {
        let all = [Id::of(3), Id::of(2), Id::of(1)];
        assert_eq!(beyond(&all, 2), [Id::of(1)]);
        assert!(beyond(&all, 3).is_empty() && beyond(&all, 4).is_empty() && beyond(&all, 0).is_empty());
    }
}
