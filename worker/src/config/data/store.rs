//! Places of sessions and logins.

use gin_shared::config::Section;

/// Places of sessions and logins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// A file of SQLite in the state directory.
    #[default]
    Sqlite,
    /// The database of `[database]`.
    Database,
    /// Redis.
    Redis,
}

impl Store {
    /// Reads the key `store`.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let stores = [("sqlite", Self::Sqlite), ("database", Self::Database), ("redis", Self::Redis)];
        section.choice("store", &stores)
    }
}
