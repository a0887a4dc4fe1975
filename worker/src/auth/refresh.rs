//! Refresh tokens: the login's id, the number of the token in the login, and a signature. Nothing here reads a clock or a store.
//!
//! The store has no part of a token that could be stolen there, a made-up token costs no look at the store, and the same token can be given
//! twice, which is what the grace needs.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use crate::kept::id::Id;

/// Bytes of an id.
const ID: usize = 16;
/// Bytes of an id and a number.
const SIGNED: usize = ID + 4;
/// Bytes of a token: the rest is half of HMAC-SHA-256's, as RFC 2104, section 5, allows. They are 48 letters without padding.
const BYTES: usize = SIGNED + 16;

/// The alphabet of base64url: RFC 4648, section 5.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Signs refresh tokens.
pub(super) struct RefreshKey(hmac::Key);

impl RefreshKey {
    /// `secret`: of refresh tokens alone.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of this number in the login.
    pub(super) fn sign(&self, id: Id, number: u32) -> String {
        let mut token = [0; BYTES];
        token[..ID].copy_from_slice(&id.bytes());
        token[ID..SIGNED].copy_from_slice(&number.to_be_bytes());
        let tag = hmac::sign(&self.0, &token[..SIGNED]);
        token[SIGNED..].copy_from_slice(&tag.as_ref()[..BYTES - SIGNED]);
        letters(&token)
    }

    /// The login and the number of a token. `None`: it is none of ours.
    pub(super) fn read(&self, text: &str) -> Option<(Id, u32)> {
        let token = bytes(text.as_bytes())?;
        let tag = hmac::sign(&self.0, &token[..SIGNED]);
        verify_slices_are_equal(&tag.as_ref()[..BYTES - SIGNED], &token[SIGNED..]).ok()?;
        let (mut id, mut number) = ([0; ID], [0; SIGNED - ID]);
        id.copy_from_slice(&token[..ID]);
        number.copy_from_slice(&token[ID..SIGNED]);
        Some((Id::from_bytes(id), u32::from_be_bytes(number)))
    }
}

fn letters(bytes: &[u8; BYTES]) -> String {
    let four = |three: &[u8]| {
        let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        [18, 12, 6, 0].map(|shift| char::from(LETTERS[((word >> shift) & 63) as usize]))
    };
    bytes.chunks_exact(3).flat_map(four).collect()
}

/// The bytes that [`letters`] writes so.
fn bytes(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != BYTES / 3 * 4 {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (three, four) in bytes.chunks_exact_mut(3).zip(text.chunks_exact(4)) {
        let word = four.iter().try_fold(0_u32, |word, letter| Some((word << 6) | value(*letter)?))?;
        three.copy_from_slice(&word.to_be_bytes()[1..]);
    }
    Some(bytes)
}

fn value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_its_login_and_its_number_and_is_signed() {
        let key = RefreshKey::new(&[7; 32]);
        let id = Id::random().unwrap();
        let token = key.sign(id, 258);
        assert_eq!((token.len(), key.read(&token)), (48, Some((id, 258))));
        assert_eq!(key.sign(id, 258), token, "it can be given again");
        assert_ne!(key.sign(id, 259), token);
        assert_eq!(RefreshKey::new(&[8; 32]).read(&token), None, "a token of another secret");
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.read(std::str::from_utf8(&forged).unwrap()), None, "{at}");
        }
    }

    #[test]
    fn what_cannot_be_a_token_is_none() {
        let key = RefreshKey::new(&[7; 32]);
        let token = key.sign(Id::of(7), 1);
        for wrong in
            ["", "A", &token[1..], &format!("{token}A"), &format!("{token}="), &format!("+{}", &token[1..]), "\u{e9}"]
        {
            assert_eq!(key.read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn letters_are_those_of_base64url() {
        let mut all = [0; BYTES];
        all[..6].copy_from_slice(&[0xfb, 0xff, 0xbf, 0x14, 0xfb, 0x9c]);
        assert_eq!(&letters(&all)[..12], "-_-_FPucAAAA");
        assert_eq!(bytes(letters(&all).as_bytes()), Some(all));
    }
}
