//! A cache's name, with the type of its values: what two caches with different values differ by.

use std::any::{TypeId, type_name};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::figures::Level;

/// Room for a key, in bytes: a longer one is copied as it grows.
const KEY: usize = 64;

/// Data that all [`super::Typed`] of a name and a type share.
pub(super) struct Named {
    pub(super) name: &'static str,
    /// Beginning of each key's text.
    prefix: String,
    /// Type of the values.
    pub(super) kind: TypeId,
    pub(super) memory: Level,
    /// Only if there is such a level.
    pub(super) redis: Option<Level>,
    is_told: AtomicBool,
}

impl Named {
    pub(super) fn new<V: 'static>(namespace: &str, name: &'static str, has_redis: bool) -> Self {
        Self {
            name,
            prefix: prefix(name, type_name::<V>()),
            kind: TypeId::of::<V>(),
            memory: Level::new(namespace, name, "memory"),
            redis: has_redis.then(|| Level::new(namespace, name, "redis")),
            is_told: AtomicBool::new(false),
        }
    }

    /// A key's text.
    pub(super) fn text(&self, key: impl Display) -> String {
        let mut text = String::with_capacity(self.prefix.len() + KEY);
        text.push_str(&self.prefix);
        write!(text, "{key}").expect("a String takes all, and a key can be shown");
        text
    }

    /// Logs, once, that values of this cache cannot be kept as JSON.
    pub(super) fn tell(&self, error: &serde_json::Error) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::error!("the cache {:?} keeps a value in no level: it cannot be JSON: {error}", self.name);
        }
    }

    pub(super) fn details(&self) -> Value {
        json!({ "memory": self.memory.details(), "redis": self.redis.as_ref().map(Level::details) })
    }
}

/// The name's length says where the name ends, so no key of one cache is that of another. Values of another type have other keys, so
/// that none is read as what it is not; another version of the same type has the same ones.
fn prefix(name: &str, kind: &str) -> String {
    format!("{}:{name}:{:016x}:", name.len(), fnv(kind.as_bytes()))
}

/// FNV-1a: the same in every process, of whatever build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_of_one_cache_is_that_of_another() {
        let parts = ["", ":", "a", "a:", ":a", "1", "1:a", "2:a:", "a:b", "5:users:", "users", "\n", "é"];
        let mut seen = HashSet::new();
        for name in parts {
            for kind in ["u64", "String"] {
                for key in parts {
                    let text = format!("{}{key}", prefix(name, kind));
                    assert!(seen.insert(text.clone()), "{text}");
                }
            }
        }
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
