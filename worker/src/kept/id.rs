//! Ids of 128 random bits: of a session, of a login.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::rand;

use crate::{Error, Result};

/// Bytes of an id.
const BYTES: usize = 16;

/// An id: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(u128);

/// Ids are secrets: who has one and the secret has the session.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id(..)")
    }
}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low());
    }
}

impl Id {
    /// # Errors
    /// If there are no random bits.
    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes).map_err(|_| Error::internal("the system gives no random bits"))?;
        Ok(Self::from_bytes(bytes))
    }

    pub(crate) fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(crate) fn bytes(self) -> [u8; BYTES] {
        self.0.to_be_bytes()
    }

    /// Its lower half, as random as the whole.
    pub(crate) fn low(self) -> u64 {
        self.0 as u64
    }

    /// Its upper half.
    pub(crate) fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// As it stands in the store: 32 hexadecimal digits.
    pub(crate) fn text(self) -> String {
        hex(&self.bytes())
    }

    /// Reads what [`Self::text`] gives.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        unhex(text.as_bytes()).map(Self::from_bytes)
    }

    #[cfg(test)]
    pub(crate) fn of(number: u128) -> Self {
        Self(number)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(DIGITS[usize::from(half)])).collect()
}

/// The 16 bytes of 32 digits, as [`hex`] writes them, and only those: a cookie has one way to be written.
pub(crate) fn unhex(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES {
        return None;
    }
    let (mut bytes, mut all) = ([0; BYTES], 0);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        all |= high | low;
        *byte = (high << 4) | low;
    }
    (all < 16).then_some(bytes)
}

/// Values of digits, by their letters. No digit: 16, or more.
static VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text_and_one_row_of_bytes() {
        let id = Id::random().unwrap();
        assert!(Id::from_bytes(id.bytes()) == id && Id::parse(&id.text()) == Some(id));
        assert_eq!((id.high().to_be_bytes(), id.low().to_be_bytes()), {
            let bytes = id.bytes();
            (bytes[..8].try_into().unwrap(), bytes[8..].try_into().unwrap())
        });
        assert_eq!(Id::parse(&id.text().to_uppercase().replace(|letter: char| letter.is_ascii_digit(), "A")), None);
        assert_eq!(unhex(b"07"), None);
        for letter in 0..=u8::MAX {
            let mut text = *b"00000000000000000000000000000000";
            text[31] = letter;
            let is_digit = letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
            assert_eq!(unhex(&text).is_some(), is_digit, "{letter}");
        }
    }
}
