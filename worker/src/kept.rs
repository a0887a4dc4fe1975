//! Common code of sessions and logins: secrets, ids, and the place of their rows.
//!
//! | file | has |
//! |---|---|
//! | `secret` | a secret, as it is configured or made once in the state directory |
//! | `id` | ids of 128 random bits |
//! | `cookie` | cookies of a request by their names |
//! | `place` | the place that a key of the configuration names: the state directory, the database, Redis |
//! | `sqlite`, `sql` | a file of SQLite in the state directory; a table there or in the service's database, and what all its rows share |
//! | `in_redis` | what all rows in Redis share |
//! | `rows` | rows in one of these places |
//! | `marks` | numbers beside that file, by which workers hear of each other's writes |
//! | `mixed` | the hash of keys that are mixed already |
//! | `figures` | counts of what becomes of the rows |
//! | `asking` | a question to the place, and whether it answers |

#![cfg_attr(
    not(all(feature = "auth", feature = "csrf", feature = "redis")),
    allow(dead_code, unused_imports, reason = "each user of it is a feature")
)]

#[cfg(feature = "sessions")]
pub(crate) mod asking;
pub(crate) mod cookie;
#[cfg(feature = "sessions")]
pub(crate) mod figures;
pub(crate) mod id;
#[cfg(all(feature = "redis", feature = "sessions"))]
pub(crate) mod in_redis;
#[cfg(feature = "sessions")]
pub(crate) mod marks;
#[cfg(feature = "sessions")]
pub(crate) mod mixed;
#[cfg(feature = "sessions")]
pub(crate) mod place;
#[cfg(test)]
#[cfg(feature = "sessions")]
pub(crate) mod private_files;
#[cfg(feature = "sessions")]
pub(crate) mod rows;
pub(crate) mod secret;
#[cfg(feature = "sessions")]
pub(crate) mod sql;
#[cfg(feature = "sessions")]
pub(crate) mod sqlite;
