//! Access tokens that this worker has verified. They are good until they expire, or somebody writes to their login, in whichever process:
//! the mark of a login tells of that ([`crate::kept::marks`]). A token is verified again after a minute.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::logins::Millis;
use super::user::User;
use crate::kept::mixed::AsItIs;

/// Longest time for which a token is kept.
pub(super) const AGE_MAX: Millis = 60_000;
const SHARDS: u64 = 16;
/// Tokens in a shard at most: 16,384 in all.
const SHARD_MAX: usize = 1024;

/// Tokens by the end of their signatures.
pub(super) struct Verified(Vec<Mutex<Shard>>);

/// Keys are mixed already. Only signatures that were good are kept, and nobody else can choose them.
type Shard = HashMap<u64, Entry, BuildHasherDefault<AsItIs>>;

struct Entry {
    token: Box<str>,
    /// Bytes before the signature.
    message: usize,
    user: User,
    /// The login's number when it was looked at. `None`: nobody asks for the login.
    mark: Option<u64>,
    until: Millis,
}

impl Entry {
    /// True if it is this token. How long that takes says nothing about the signature; what is signed is no secret to be guessed.
    fn is(&self, token: &str) -> bool {
        let (own, token) = (self.token.as_bytes(), token.as_bytes());
        token.len() == own.len()
            && token[..self.message] == own[..self.message]
            && verify_slices_are_equal(&token[self.message..], &own[self.message..]).is_ok()
    }
}

impl Verified {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Looks for a token. Returns its user, and the number that the login must still have, if it must.
    pub(super) fn find(&self, token: &str, now: Millis) -> Option<(User, Option<u64>)> {
        let key = key(token)?;
        let shard = self.shard(key);
        let entry = shard.get(&key).filter(|entry| entry.until > now && entry.is(token))?;
        Some((entry.user.clone(), entry.mark))
    }

    /// Keeps a token that was verified. `mark`: the number of its login that was read before the login was. `end`: of the token, or of its
    /// login.
    pub(super) fn keep(&self, token: &str, user: &User, mark: Option<u64>, end: Millis, now: Millis) {
        let (Some(key), Some(message)) = (key(token), token.rfind('.')) else { return };
        let until = end.min(now + AGE_MAX);
        let entry = Entry { token: token.into(), message, user: user.clone(), mark, until };
        let mut shard = self.shard(key);
        if shard.len() >= SHARD_MAX && !shard.contains_key(&key) {
            shard.retain(|_, entry| entry.until > now);
            if shard.len() >= SHARD_MAX {
                // Whichever it is: it is verified again when it is used.
                let one = shard.keys().next().copied();
                one.and_then(|key| shard.remove(&key));
            }
        }
        shard.insert(key, entry);
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        // The map's own place for a key comes from its other bits.
        let shard = usize::try_from((key >> 40) % SHARDS).unwrap_or_default();
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a token: of its last eight letters, which are 40 random bits of the signature at least (Ed25519).
fn key(token: &str) -> Option<u64> {
    let last = token.as_bytes().last_chunk::<8>()?;
    let mixed = u64::from_ne_bytes(*last).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Some(mixed ^ (mixed >> 32))
}

#[cfg(test)]
mod tests {
    use super::super::user::Grants;
    use super::*;
    use crate::kept::id::Id;

    fn user(name: &str) -> User {
        User::new(name, Grants::default(), Some(Id::of(7)))
    }

    fn found(verified: &Verified, token: &str, now: Millis) -> Option<String> {
        verified.find(token, now).map(|(user, _)| user.id().to_owned())
    }

    #[test]
    fn a_token_is_found_whole_and_not_for_ever() {
        let verified = Verified::new();
        verified.keep("head.claims.signature", &user("ann"), Some(7), 1000, 0);
        assert_eq!(verified.find("head.claims.signature", 999).unwrap().1, Some(7));
        for other in [
            "head.claims.Signature",
            "Head.claims.signature",
            "head.claims.signature ",
            "xhead.claims.signature",
            "signature",
            "",
        ] {
            assert_eq!(found(&verified, other, 0), None, "{other}");
        }
        assert_eq!(found(&verified, "head.claims.signature", 1000), None, "it has expired");
        verified.keep("head.claims.signature", &user("ann"), None, Millis::MAX, 0);
        assert_eq!(found(&verified, "head.claims.signature", AGE_MAX - 1).as_deref(), Some("ann"));
        assert_eq!(found(&verified, "head.claims.signature", AGE_MAX), None);
        verified.keep("short", &user("ann"), None, 1000, 0);
        assert_eq!(found(&verified, "short", 0), None);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let verified = Verified::new();
        for number in 0..40_000 {
            let token = format!("h.c.{number:016}");
            verified.keep(&token, &user("ann"), None, 1000, 0);
            assert!(found(&verified, &token, 0).is_some(), "{number}");
        }
        let all: usize = verified.0.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(all > SHARD_MAX && all <= 16 * SHARD_MAX, "{all}");
    }
}
