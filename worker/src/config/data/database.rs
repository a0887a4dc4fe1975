//! `[database]`

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::Section;

use super::{count, port, secret, time};

/// `[database]`: for a program that registers a database.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Database {
    /// Kind of the database.
    pub driver: Driver,
    /// Instead of driver, host, port, username, password and database: `postgres://shop:...@db/shop`.
    pub url: Option<String>,
    /// Address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom.
    pub username: Option<String>,
    /// The word for it.
    pub password: Option<String>,
    /// A file with the word, which counts where `password` is not set.
    pub password_file: Option<PathBuf>,
    /// Name of the database; of SQLite the path of the file.
    pub database: Option<String>,
    /// Character set of text, of MySQL.
    pub charset: String,
    /// Encryption of the connection.
    pub tls: Tls,
    /// Certificates that may sign the server's, in PEM, beside the public authorities that are built in.
    pub ca_file: Option<PathBuf>,
    /// Connections at most.
    pub max_open_conns: u32,
    /// Of them idle.
    pub max_idle_conns: u32,
    /// Older ones are closed.
    pub conn_max_lifetime: Duration,
    /// A request that gets no connection for so long is answered with 503.
    pub acquire_timeout: Duration,
    /// A query that takes longer is logged. Zero: none is.
    pub slow: Duration,
}

/// Kinds of databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "everybody knows them")]
#[non_exhaustive]
pub enum Driver {
    #[default]
    Sqlite,
    Mysql,
    Postgres,
}

impl Driver {
    /// The port on which servers of this kind listen. 0: there is no server.
    fn port(self) -> u16 {
        match self {
            Self::Sqlite => 0,
            Self::Mysql => 3306,
            Self::Postgres => 5432,
        }
    }
}

/// Encryption of a connection to a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// The connection is never encrypted.
    Disable,
    /// The connection is encrypted if the server can, without a look at its certificate.
    #[default]
    Prefer,
    /// The connection is encrypted, and the server's certificate is checked.
    Require,
}

impl Default for Database {
    fn default() -> Self {
        let driver = Driver::default();
        Self {
            driver,
            url: None,
            host: "127.0.0.1".to_owned(),
            port: driver.port(),
            username: None,
            password: None,
            password_file: None,
            database: None,
            charset: "utf8mb4".to_owned(),
            tls: Tls::default(),
            ca_file: None,
            max_open_conns: 100,
            max_idle_conns: 10,
            conn_max_lifetime: Duration::from_secs(60 * 60),
            acquire_timeout: Duration::from_secs(5),
            slow: Duration::from_millis(200),
        }
    }
}

/// Without the password and the URL, which stand in no log.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, host, port, username, database, tls, .. } = self;
        let mut shown = f.debug_struct("Database");
        shown.field("driver", driver).field("host", host).field("port", port).field("username", username);
        shown.field("database", database).field("tls", tls).finish_non_exhaustive()
    }
}

impl Database {
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let drivers = [("sqlite", Driver::Sqlite), ("mysql", Driver::Mysql), ("postgres", Driver::Postgres)];
        let tls = [("disable", Tls::Disable), ("prefer", Tls::Prefer), ("require", Tls::Require)];
        let driver = section.choice("driver", &drivers).unwrap_or(base.driver);
        Self {
            driver,
            url: section.string("url"),
            host: section.string("host").unwrap_or(base.host),
            port: port(section).unwrap_or(driver.port()),
            username: section.string("username"),
            password: section.string("password"),
            password_file: section.path("password_file"),
            database: section.string("database"),
            charset: section.string("charset").unwrap_or(base.charset),
            tls: section.choice("tls", &tls).unwrap_or(base.tls),
            ca_file: section.path("ca_file"),
            max_open_conns: count(section, "max_open_conns", 1).unwrap_or(base.max_open_conns),
            max_idle_conns: count(section, "max_idle_conns", 0).unwrap_or(base.max_idle_conns),
            conn_max_lifetime: section.duration("conn_max_lifetime").unwrap_or(base.conn_max_lifetime),
            acquire_timeout: time(section, "acquire_timeout").unwrap_or(base.acquire_timeout),
            slow: section.duration("slow").unwrap_or(base.slow),
        }
    }

    /// The password: `password`, else the text of `password_file`, which is read anew each time.
    ///
    /// # Errors
    /// If the file cannot be read: a sentence that names the key.
    pub(crate) fn read_password(&self) -> Result<Option<String>, String> {
        secret(self.password.as_deref(), "database.password_file", self.password_file.as_deref())
    }
}
