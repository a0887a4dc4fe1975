//! `[redis]`

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::Section;

use super::{count, port, secret, time};

/// `[redis]`: for a program whose cache, sessions or rate limit are there.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redis {
    /// Address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user of its access list (ACL). `None`: the default one.
    pub username: Option<String>,
    /// The word for it.
    pub password: Option<String>,
    /// A file with the word, which counts where `password` is not set.
    pub password_file: Option<PathBuf>,
    /// Number of the database.
    pub database: u32,
    /// Encryption of the connections.
    pub tls: RedisTls,
    /// Certificates that alone may sign the server's, in PEM. Without it: the public authorities that are built in.
    pub ca_file: Option<PathBuf>,
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

/// Encryption of connections to Redis. They cannot be encrypted "if the server can": one port of it takes TLS alone, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisTls {
    /// Connections are never encrypted.
    #[default]
    Disable,
    /// Connections are encrypted, and the server's certificate is checked.
    Require,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            username: None,
            password: None,
            password_file: None,
            database: 0,
            tls: RedisTls::default(),
            ca_file: None,
            pool_size: 10,
            min_idle_conns: 5,
            dial_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(3),
        }
    }
}

/// Without the password, which stands in no log.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, username, database, tls, .. } = self;
        let mut shown = f.debug_struct("Redis");
        shown.field("host", host).field("port", port).field("username", username);
        shown.field("database", database).field("tls", tls).finish_non_exhaustive()
    }
}

impl Redis {
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let host = section.string("host").unwrap_or(base.host);
        Self {
            tls: tls(section, &host),
            host,
            port: port(section).unwrap_or(base.port),
            username: section.string("username"),
            password: section.string("password"),
            password_file: section.path("password_file"),
            database: section
                .integer("database", 0..=1 << 20)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(base.database),
            ca_file: section.path("ca_file"),
            pool_size: count(section, "pool_size", 1).unwrap_or(base.pool_size),
            min_idle_conns: count(section, "min_idle_conns", 0).unwrap_or(base.min_idle_conns),
            dial_timeout: time(section, "dial_timeout").unwrap_or(base.dial_timeout),
            read_timeout: time(section, "read_timeout").unwrap_or(base.read_timeout),
            write_timeout: time(section, "write_timeout").unwrap_or(base.write_timeout),
        }
    }

    /// The password: `password`, else the text of `password_file`, which is read anew each time.
    ///
    /// # Errors
    /// If the file cannot be read: a sentence that names the key.
    pub(crate) fn read_password(&self) -> Result<Option<String>, String> {
        secret(self.password.as_deref(), "redis.password_file", self.password_file.as_deref())
    }
}

fn tls(section: &Section<'_>, host: &str) -> RedisTls {
    let kinds = [("disable", RedisTls::Disable), ("require", RedisTls::Require)];
    let tls = section.choice("tls", &kinds).unwrap_or_default();
    if tls == RedisTls::Require && host.starts_with('/') {
        section.problem(
            "tls",
            "redis.host is a Unix socket, which has no TLS; set it to \"disable\", or name the server by its host",
        );
    }
    tls
}
