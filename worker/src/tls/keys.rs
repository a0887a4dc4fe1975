//! Keys of one connection, on their way from one stream to the next.
//!
//! Two processes that write under one key give it away: the second one uses numbers of records again. So these bytes have one owner: they
//! cannot be cloned, [`TlsStream::open`](super::TlsStream::open) consumes them, and they are wiped when they are dropped. They stand in no
//! log and in no file.

use std::fmt;

use gin_shared::handover::Malformed;
use gin_shared::tls::material::wipe;

/// Keys of one connection, as s2n writes them: secrets, and the number of the next record in each direction.
pub(crate) struct Keys(Box<[u8]>);

impl Keys {
    /// Longest keys that are taken, in bytes. TLS 1.2 has 126 bytes today, TLS 1.3 at most 174.
    pub(crate) const MAX: usize = 512;

    /// Takes the keys of another worker's connection.
    ///
    /// # Errors
    /// If these are no keys by their length. Their contents are looked at when the connection is opened.
    pub(crate) fn received(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() || bytes.len() > Self::MAX {
            return Err(Malformed::Unexpected("keys of TLS that are too short or too long"));
        }
        Ok(Self(bytes.into()))
    }

    /// Keys of this length in bytes, which `write` writes.
    pub(super) fn written<E>(length: usize, write: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut keys = Self(vec![0; length].into());
        write(&mut keys.0)?;
        Ok(keys)
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes the keys behind what `packet` has. There must be room for [`Self::len`] bytes: a buffer that grows leaves a copy behind.
    pub(crate) fn write_to(&self, packet: &mut Vec<u8>) {
        debug_assert!(packet.capacity() - packet.len() >= self.len(), "room was to be set aside");
        packet.extend_from_slice(&self.0);
    }

    /// Moves the keys to another place in the heap. Here they are wiped: what is left holds the old place until it is dropped.
    pub(crate) fn moved(&mut self) -> Self {
        let keys = Self(self.0.clone());
        wipe(&mut self.0);
        keys
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_as_they_are_and_are_not_told() {
        let keys = Keys::received(&[7; 126]).unwrap();
        let mut packet = Vec::with_capacity(200);
        packet.push(1);
        keys.write_to(&mut packet);
        assert_eq!((packet.len(), packet[0], &packet[1..]), (127, 1, &[7; 126][..]));
        assert_eq!(format!("{keys:?}"), "Keys(126 bytes)");
    }

    #[test]
    fn keys_that_were_moved_are_wiped_where_they_were() {
        let mut old = Keys::received(&[7; 126]).unwrap();
        let keys = old.moved();
        assert_eq!((keys.bytes(), old.bytes()), (&[7; 126][..], &[0; 126][..]));
    }

    #[test]
    fn a_length_that_no_keys_have_is_refused() {
        assert!(Keys::received(&[]).is_err() && Keys::received(&[0; Keys::MAX + 1]).is_err());
        assert_eq!(Keys::received(&[0; Keys::MAX]).unwrap().len(), Keys::MAX);
    }
}
