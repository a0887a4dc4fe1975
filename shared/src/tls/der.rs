//! Reader of DER (X.690): values with a tag and a length, within one another.
//!
//! It knows tags of one byte and lengths of at most three: those of certificates and keys. A length that reaches behind the end of what is
//! there is an error, and so is a value in more than [`DEPTH_MAX`] others.

/// The most values that one can lie in.
pub const DEPTH_MAX: u8 = 12;

/// BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// `UTCTime`.
pub const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub const GENERALIZED_TIME: u8 = 0x18;
/// SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// SET.
pub const SET: u8 = 0x31;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// A length reaches behind the end.
    #[error("it is cut off")]
    CutOff,
    /// A length that is not written in the one way that there is, or is larger than anything here.
    #[error("a length in it is malformed")]
    Length,
    /// Values lie in too many others.
    #[error("its values are nested too deeply")]
    Depth,
    /// Another value than this one stands there.
    #[error("it has no {0} where one belongs")]
    Missing(&'static str),
    /// This value has contents that cannot be.
    #[error("its {0} is malformed")]
    Malformed(&'static str),
    /// More follows where it should end.
    #[error("more bytes follow")]
    Trailing,
}

/// A value of DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its tag.
    pub tag: u8,
    /// Its contents.
    pub contents: &'a [u8],
    /// The same with tag and length.
    pub whole: &'a [u8],
}

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Reader<'a> {
    /// A reader of these bytes.
    ///
    /// ```
    /// use gin_shared::tls::der::{INTEGER, Reader, SEQUENCE};
    ///
    /// let mut inner = Reader::new(&[0x30, 3, 2, 1, 7]).nested(SEQUENCE, "sequence")?;
    /// assert_eq!(inner.value(INTEGER, "number")?.contents, [7]);
    /// inner.finish()?;
    /// # Ok::<(), gin_shared::tls::der::DerError>(())
    /// ```
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    /// True if nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    ///
    /// # Errors
    /// If it is cut off, or its length is malformed.
    pub fn any(&mut self) -> Result<Value<'a>, DerError> {
        let bytes = self.rest;
        let [tag, first, behind @ ..] = bytes else { return Err(DerError::CutOff) };
        let (length, head) = match *first {
            short @ 0..=0x7f => (usize::from(short), 2),
            0x81 => (long(behind, 1)?, 3),
            0x82 => (long(behind, 2)?, 4),
            0x83 => (long(behind, 3)?, 5),
            _ => return Err(DerError::Length),
        };
        let end = head + length;
        let (Some(whole), Some(contents)) = (bytes.get(..end), bytes.get(head..end)) else {
            return Err(DerError::CutOff);
        };
        self.rest = bytes.get(end..).unwrap_or_default();
        Ok(Value { tag: *tag, contents, whole })
    }

    /// The next value, if it has this tag.
    ///
    /// # Errors
    /// As [`Self::any`].
    pub fn optional(&mut self, tag: u8) -> Result<Option<Value<'a>>, DerError> {
        if self.rest.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// The next value, which has this tag. `name` is for the error.
    ///
    /// # Errors
    /// As [`Self::any`]; and if it has another tag.
    pub fn value(&mut self, tag: u8, name: &'static str) -> Result<Value<'a>, DerError> {
        self.optional(tag)?.ok_or(DerError::Missing(name))
    }

    /// A reader of what is in the next value, which has this tag.
    ///
    /// # Errors
    /// As [`Self::value`]; and if it lies too deep.
    pub fn nested(&mut self, tag: u8, name: &'static str) -> Result<Self, DerError> {
        let value = self.value(tag, name)?;
        self.within(value)
    }

    /// A reader of what is in a value that this reader has given.
    ///
    /// # Errors
    /// If it lies too deep.
    pub fn within(&self, value: Value<'a>) -> Result<Self, DerError> {
        if self.depth >= DEPTH_MAX {
            return Err(DerError::Depth);
        }
        Ok(Self { rest: value.contents, depth: self.depth + 1 })
    }

    /// The end.
    ///
    /// # Errors
    /// If more follows.
    pub fn finish(self) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DerError::Trailing) }
    }
}

/// A length of so many bytes. It is written in no more than it needs.
fn long(bytes: &[u8], count: usize) -> Result<usize, DerError> {
    let digits = bytes.get(..count).ok_or(DerError::CutOff)?;
    let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
    let least = if count == 1 { 0x80 } else { 1 << (8 * (count - 1)) };
    if length < least { Err(DerError::Length) } else { Ok(length) }
}

/// The value of these contents, which have less than 64 KiB.
#[must_use]
pub fn write(tag: u8, contents: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(contents.len()).ok()?;
    let mut bytes = vec![tag];
    let [high, low] = length.to_be_bytes();
    match length {
        0..0x80 => bytes.push(low),
        0x80..0x100 => bytes.extend([0x81, low]),
        _ => bytes.extend([0x82, high, low]),
    }
    bytes.extend(contents);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let contents = vec![7; length];
            let bytes = write(OCTET_STRING, &contents).unwrap();
            let mut reader = Reader::new(&bytes);
            let value = reader.value(OCTET_STRING, "text").unwrap();
            assert_eq!((value.contents, value.whole), (&contents[..], &bytes[..]));
            reader.finish().unwrap();
        }
        assert_eq!(write(OCTET_STRING, &vec![0; 0x10000]), None);
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        let cases: [(&[u8], DerError); 10] = [
            (&[], DerError::CutOff),
            (&[0x30], DerError::CutOff),
            (&[0x30, 1], DerError::CutOff),
            (&[0x30, 0x81], DerError::CutOff),
            (&[0x30, 0x82, 1, 0, 0], DerError::CutOff),
            (&[0x30, 0x83, 0xff, 0xff, 0xff], DerError::CutOff),
            // Without an end, in a way that is too long, or of four bytes.
            (&[0x30, 0x80, 0, 0], DerError::Length),
            (&[0x30, 0x81, 0x7f], DerError::Length),
            (&[0x30, 0x82, 0, 0xff], DerError::Length),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], DerError::Length),
        ];
        for (bytes, error) in cases {
            assert_eq!(Reader::new(bytes).any(), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn values_lie_in_so_many_others_and_no_more() {
        let mut bytes = Vec::new();
        for _ in 0..=DEPTH_MAX {
            bytes = write(SEQUENCE, &bytes).unwrap();
        }
        let mut reader = Reader::new(&bytes);
        for _ in 0..DEPTH_MAX {
            reader = reader.nested(SEQUENCE, "sequence").unwrap();
        }
        assert_eq!(reader.nested(SEQUENCE, "sequence").unwrap_err(), DerError::Depth);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let mut read = 0;
            while let Ok(value) = reader.any() {
                prop_assert!(value.whole.len() >= value.contents.len() + 2);
                read += value.whole.len();
            }
            prop_assert!(read <= bytes.len());
        }
    }
}
