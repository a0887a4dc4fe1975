//! Keys of one connection between two streams.

#![allow(dead_code, reason = "not every part of it is used yet")]

/// Keys of one connection. They have one owner, and no copy.
pub(crate) struct Keys(Box<[u8]>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} bytes)", self.0.len())
    }
}
