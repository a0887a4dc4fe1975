//! Ids of uploads that can be resumed.

use std::fmt;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

/// An id: 128 random bits. Its text is a secret of the client's: who has it can write to the upload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u128);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id(..)")
    }
}

impl Id {
    /// # Errors
    /// If there are no random bits.
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        if getrandom(&mut bytes, GetRandomFlags::empty())? < bytes.len() {
            return Err(io::Error::other("the system gives no random bits"));
        }
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    /// 32 hexadecimal digits.
    pub(super) fn text(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Reads what [`Self::text`] gives.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// The number in the name of the file that the upload becomes: the first half of the id. So an upload that is finished twice is one
    /// file.
    pub(super) fn number(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let id = Id::random().unwrap();
        assert!(Id::parse(&id.text()) == Some(id) && id != Id::random().unwrap());
        assert_eq!(format!("{:016x}", id.number()), id.text()[..16]);
        for not_one in ["", "7", "../../../../../../../etc/passwd1", &id.text()[1..], &format!("{}0", id.text())] {
            assert!(Id::parse(not_one).is_none(), "{not_one}");
        }
        assert!(Id::parse(&"A".repeat(DIGITS)).is_none() && Id::parse(&"+".repeat(DIGITS)).is_none());
    }
}
