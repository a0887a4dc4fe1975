//! Sections that are read and checked for the application: this library opens no connection by them.

use std::time::Duration;

use gin_shared::config::Section;

/// `[database]`
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Database {
    /// Which kind.
    pub driver: Driver,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom.
    pub username: Option<String>,
    /// The word for it.
    pub password: Option<String>,
    /// Which one.
    pub database: Option<String>,
    /// How text is written.
    pub charset: String,
    /// Connections at most.
    pub max_open_conns: u32,
    /// Of them idle.
    pub max_idle_conns: u32,
    /// Older ones are closed.
    pub conn_max_lifetime: Duration,
}

/// Kinds of databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "everybody knows them")]
#[non_exhaustive]
pub enum Driver {
    #[default]
    Mysql,
    Postgres,
    Sqlite,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            driver: Driver::default(),
            host: "127.0.0.1".to_owned(),
            port: 3306,
            username: None,
            password: None,
            database: None,
            charset: "utf8mb4".to_owned(),
            max_open_conns: 100,
            max_idle_conns: 10,
            conn_max_lifetime: Duration::from_secs(60 * 60),
        }
    }
}

/// Without the password, which stands in no log.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { driver, host, port, username, database, .. } = self;
        let mut shown = f.debug_struct("Database");
        shown.field("driver", driver).field("host", host).field("port", port);
        shown.field("username", username).field("database", database).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let drivers = [("mysql", Driver::Mysql), ("postgres", Driver::Postgres), ("sqlite", Driver::Sqlite)];
        Self {
            driver: section.choice("driver", &drivers).unwrap_or(base.driver),
            host: section.string("host").unwrap_or(base.host),
            port: port(section).unwrap_or(base.port),
            username: section.string("username"),
            password: section.string("password"),
            database: section.string("database"),
            charset: section.string("charset").unwrap_or(base.charset),
            max_open_conns: count(section, "max_open_conns", 1).unwrap_or(base.max_open_conns),
            max_idle_conns: count(section, "max_idle_conns", 0).unwrap_or(base.max_idle_conns),
            conn_max_lifetime: section.duration("conn_max_lifetime").unwrap_or(base.conn_max_lifetime),
        }
    }
}

/// `[redis]`
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redis {
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The word for it.
    pub password: Option<String>,
    /// Which one.
    pub database: u32,
    /// Connections at most.
    pub pool_size: u32,
    /// Of them kept open.
    pub min_idle_conns: u32,
    /// For a connection.
    pub dial_timeout: Duration,
    /// For an answer.
    pub read_timeout: Duration,
    /// For a question.
    pub write_timeout: Duration,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            password: None,
            database: 0,
            pool_size: 10,
            min_idle_conns: 5,
            dial_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(3),
        }
    }
}

/// Without the password, which stands in no log.
impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, database, .. } = self;
        let mut shown = f.debug_struct("Redis");
        shown.field("host", host).field("port", port).field("database", database).finish_non_exhaustive()
    }
}

impl Redis {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        Self {
            host: section.string("host").unwrap_or(base.host),
            port: port(section).unwrap_or(base.port),
            password: section.string("password"),
            database: section
                .integer("database", 0..=1 << 20)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(base.database),
            pool_size: count(section, "pool_size", 1).unwrap_or(base.pool_size),
            min_idle_conns: count(section, "min_idle_conns", 0).unwrap_or(base.min_idle_conns),
            dial_timeout: section.duration("dial_timeout").unwrap_or(base.dial_timeout),
            read_timeout: section.duration("read_timeout").unwrap_or(base.read_timeout),
            write_timeout: section.duration("write_timeout").unwrap_or(base.write_timeout),
        }
    }
}

fn port(section: &Section<'_>) -> Option<u16> {
    section.integer("port", 1..=65535).and_then(|port| u16::try_from(port).ok())
}

fn count(section: &Section<'_>, key: &'static str, least: i64) -> Option<u32> {
    section.integer(key, least..=100_000).and_then(|count| u32::try_from(count).ok())
}
