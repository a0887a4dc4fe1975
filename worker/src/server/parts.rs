//! Parts that an application registers: a database, a cache, sessions, logins, uploads. Each is made of the configuration when the server
//! starts, so that nothing is opened for a program that registers nothing, whatever its configuration says.

#[cfg(any(feature = "cache", feature = "database", feature = "redis", feature = "uploads"))]
use std::fmt::Display;
use std::sync::Arc;

use axum::{Extension, Router};
#[cfg(feature = "database")]
use sea_orm_migration::MigratorTrait;

use super::Server;
#[cfg(feature = "auth")]
use crate::auth::AuthPart;
#[cfg(feature = "cache")]
use crate::cache::CachePart;
#[cfg(feature = "database")]
use crate::config::Driver;
#[cfg(any(feature = "redis", feature = "sessions"))]
use crate::config::RateLimitStore;
#[cfg(feature = "csrf")]
use crate::csrf::{self, CsrfPart};
#[cfg(feature = "database")]
use crate::database::migrate::{self, Migrations};
#[cfg(feature = "database")]
use crate::database::{Database, DatabasePart};
use crate::middleware::StandardLayer;
use crate::observed::Observer;
#[cfg(test)]
use crate::parts::Part;
use crate::parts::{Parts, Registered};
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::router::Routes;
#[cfg(feature = "sessions")]
use crate::sessions::{SessionsLayer, SessionsPart};
#[cfg(feature = "uploads")]
use crate::uploads::UploadsPart;
use crate::{Config, StartError};

/// Parts that are asked for.
#[derive(Default)]
pub(super) struct Asked {
    #[cfg(feature = "database")]
    database: bool,
    #[cfg(feature = "database")]
    migrations: Option<Box<dyn Migrations>>,
    #[cfg(feature = "cache")]
    cache: bool,
    #[cfg(feature = "sessions")]
    sessions: bool,
    #[cfg(feature = "auth")]
    auth: bool,
    #[cfg(feature = "uploads")]
    uploads: bool,
    #[cfg(test)]
    others: Vec<Arc<dyn Part>>,
}

impl<S: Clone + Send + Sync + 'static> Server<S> {
    /// Registers the database of `[database]`: handlers take it as [`crate::database::Database`]. Without a configuration it is a file of
    /// SQLite in the state directory.
    ///
    /// The worker is ready once the database answers. If it does not within `supervisor.ready_timeout`, the start fails, and under a
    /// supervisor the old version goes on. Later, while it is away, `/readyz` says so, and a handler's `?` answers 503 with `Retry-After`.
    /// It is closed behind the hooks of [`Self::on_shutdown`].
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).database();
    /// ```
    #[cfg(feature = "database")]
    #[must_use]
    pub fn database(mut self) -> Self {
        self.asked.database = true;
        self
    }

    /// Registers the database with its migrations: those that are pending run before the worker is ready, by one worker at a time. See
    /// [`crate::database`].
    #[cfg(feature = "database")]
    #[must_use]
    pub fn migrations<M: MigratorTrait + 'static>(mut self) -> Self {
        self.asked.migrations = Some(migrate::of::<M>());
        self.database()
    }

    /// Registers a cache as `[cache]` says: handlers take it as [`crate::cache::Cache`]. By default it is in the process.
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).cache();
    /// ```
    #[cfg(feature = "cache")]
    #[must_use]
    pub fn cache(mut self) -> Self {
        self.asked.cache = true;
        self
    }

    /// Registers sessions as `[sessions]` says: handlers take their client's as [`crate::Session`]. By default they are in a file of
    /// SQLite in the state directory.
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).sessions();
    /// ```
    #[cfg(feature = "sessions")]
    #[must_use]
    pub fn sessions(mut self) -> Self {
        self.asked.sessions = true;
        self
    }

    /// Registers logins by tokens as `[auth]` says: handlers take what is in [`crate::auth`]. By default the logins are in a file of SQLite
    /// in the state directory. With `auth.store = "database"` the program calls [`Self::database`], too.
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).auth();
    /// ```
    #[cfg(feature = "auth")]
    #[must_use]
    pub fn auth(mut self) -> Self {
        self.asked.auth = true;
        self
    }

    /// Registers uploads as `[uploads]` says: handlers take what is in [`crate::uploads`]. By default the files are in the state directory.
    ///
    /// ```
    /// use gin_worker::{Config, Server};
    ///
    /// let server: Server = Server::new(&Config::<()>::default()).uploads();
    /// ```
    #[cfg(feature = "uploads")]
    #[must_use]
    pub fn uploads(mut self) -> Self {
        self.asked.uploads = true;
        self
    }

    /// Registers a part of a test.
    #[cfg(test)]
    pub(crate) fn part(mut self, part: Arc<dyn Part>) -> Self {
        self.asked.others.push(part);
        self
    }
}

/// Parts that are made, and not opened yet.
pub(super) struct Made {
    pub(super) parts: Parts,
    #[cfg(feature = "sessions")]
    sessions: Option<SessionsLayer>,
}

impl Made {
    /// Puts around the routes what handlers and middleware take their parts from. Without parts it is nothing. `routes`: of all joined
    /// parts of the server.
    #[cfg_attr(not(feature = "csrf"), allow(unused_variables, reason = "only this feature's layer goes by the routes"))]
    pub(super) fn around(&mut self, router: Router, config: &Config, routes: &[Arc<Routes>], is_bare: bool) -> Router {
        #[cfg(feature = "sessions")]
        let router = match self.sessions.take_if(|_| is_bare || has_others_around_sessions(config)) {
            Some(sessions) => router.layer(sessions),
            None => router,
        };
        #[cfg(feature = "csrf")]
        let router = if config.security.enable_csrf {
            let exempt = Arc::new(Routes::joined(routes).csrf_exempt());
            router.layer(csrf::layer(&config.security, exempt))
        } else {
            router
        };
        // Elsewhere each request gets the parts with its settings.
        if self.parts.is_empty() || !is_bare { router } else { router.layer(Extension(self.parts.clone())) }
    }

    /// Puts around everything what is around everything, and the sessions if they are not there yet: two layers in one are one box less for
    /// each request.
    pub(super) fn within<O: Observer>(&mut self, router: Router, standard: StandardLayer<O>) -> Router {
        #[cfg(feature = "sessions")]
        if let Some(sessions) = self.sessions.take() {
            return router.layer((standard, sessions));
        }
        router.layer(standard)
    }
}

/// True if something stands between the sessions and what is around everything.
#[cfg(feature = "sessions")]
fn has_others_around_sessions(config: &Config) -> bool {
    config.security.enable_csrf || config.rate_limit.store == RateLimitStore::Redis
}

impl Asked {
    /// Makes the parts.
    ///
    /// # Errors
    /// If the configuration of one cannot be used.
    #[cfg_attr(
        not(any(feature = "cache", feature = "csrf", feature = "database", feature = "redis", feature = "uploads")),
        allow(clippy::unnecessary_wraps, unused_mut, unused_variables, reason = "every part is a feature")
    )]
    pub(super) fn make(self, config: &Config) -> Result<Made, StartError> {
        let mut all = Registered::default();
        #[cfg(feature = "redis")]
        if self.uses_redis(config) {
            all.lend(made("redis", Redis::new(&config.redis))?);
        }
        #[cfg(feature = "database")]
        if self.database {
            let part = database(config, self.migrations)?;
            all.lend(part.handle());
            all.add(Arc::new(part));
        }
        #[cfg(feature = "cache")]
        if self.cache {
            let part = made("cache", CachePart::new(config, &all))?;
            all.lend(part.handle());
            all.add(Arc::new(part));
        }
        #[cfg(feature = "sessions")]
        let sessions = if self.sessions {
            let part = made("sessions", SessionsPart::new(config, &all))?;
            let layer = part.layer();
            all.add(Arc::new(part));
            Some(layer)
        } else {
            None
        };
        #[cfg(feature = "auth")]
        if self.auth {
            let part = made("auth", AuthPart::new(config, &all))?;
            part.lend(&mut all);
            all.add(Arc::new(part));
        }
        #[cfg(feature = "csrf")]
        if config.security.enable_csrf {
            let part = CsrfPart::new(config);
            part.lend(&mut all);
            all.add(Arc::new(part));
        }
        #[cfg(feature = "uploads")]
        if self.uploads {
            let part = made("uploads", UploadsPart::new(config))?;
            part.lend(&mut all);
            all.add(Arc::new(part));
        }
        #[cfg(feature = "database")]
        if let Some(database) = all.lent::<Database>() {
            database.count_in(&config.monitoring.namespace);
        }
        #[cfg(test)]
        self.others.into_iter().for_each(|part| all.add(part));
        Ok(Made {
            parts: all.finish(),
            #[cfg(feature = "sessions")]
            sessions,
        })
    }

    /// Makes the database alone, if it is asked for.
    ///
    /// # Errors
    /// If its configuration cannot be used.
    #[cfg(feature = "database")]
    pub(super) fn into_database(self, config: &Config) -> Result<Option<DatabasePart>, StartError> {
        self.database.then(|| database(config, self.migrations)).transpose()
    }

    /// True if something that is asked for, or the rate limit, is in Redis.
    #[cfg(feature = "redis")]
    fn uses_redis(&self, config: &Config) -> bool {
        #[cfg(feature = "cache")]
        let of_cache = self.cache && config.cache.levels != crate::config::CacheLevels::Process;
        #[cfg(not(feature = "cache"))]
        let of_cache = false;
        #[cfg(feature = "sessions")]
        let of_sessions = self.sessions && config.sessions.store == crate::config::Store::Redis;
        #[cfg(not(feature = "sessions"))]
        let of_sessions = false;
        #[cfg(feature = "auth")]
        let of_auth = self.auth && config.auth.store == crate::config::Store::Redis;
        #[cfg(not(feature = "auth"))]
        let of_auth = false;
        of_cache || of_sessions || of_auth || config.rate_limit.store == RateLimitStore::Redis
    }

    /// For a router that another server serves: nobody would open the parts.
    ///
    /// # Errors
    /// If there are any.
    pub(super) fn none(&self, config: &Config) -> Result<(), StartError> {
        // The rate limit opens Redis by its first question.
        let Some(name) = self.sections(config).into_iter().find(|name| *name != "redis") else { return Ok(()) };
        let why = "Server::into_router opens nothing; use Server::run, or TestServer::start in a test";
        Err(StartError::Part { name, why: why.to_owned() })
    }

    /// A line for the log, if the configuration has sections of parts that nothing is registered for.
    pub(super) fn passed_over(&self, config: &Config) -> Option<String> {
        let used = self.sections(config);
        let idle = SECTIONS.into_iter().filter(|section| config.has(section) && !used.contains(section));
        let names: Vec<String> = idle.map(|section| format!("[{section}]")).collect();
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!("{names}: checked and not used, as this program registers no such part of gin-worker")
        })
    }

    /// Sections of what is asked for.
    #[cfg_attr(
        not(any(feature = "csrf", feature = "redis")),
        allow(unused_variables, reason = "these are asked for by the configuration")
    )]
    fn sections(&self, config: &Config) -> Vec<&'static str> {
        let all: &[(bool, &'static str)] = &[
            #[cfg(feature = "database")]
            (self.database, "database"),
            #[cfg(feature = "cache")]
            (self.cache, "cache"),
            #[cfg(feature = "sessions")]
            (self.sessions, "sessions"),
            #[cfg(feature = "auth")]
            (self.auth, "auth"),
            #[cfg(feature = "csrf")]
            (config.security.enable_csrf, "csrf"),
            #[cfg(feature = "uploads")]
            (self.uploads, "uploads"),
            #[cfg(feature = "redis")]
            (self.uses_redis(config), "redis"),
            #[cfg(test)]
            (!self.others.is_empty(), "part"),
        ];
        all.iter().filter(|(is_asked, _)| *is_asked).map(|(_, name)| *name).collect()
    }
}

/// Sections of the configuration that only parts use.
const SECTIONS: [&str; 6] = ["database", "redis", "cache", "sessions", "auth", "uploads"];

#[cfg(feature = "database")]
fn database(config: &Config, migrations: Option<Box<dyn Migrations>>) -> Result<DatabasePart, StartError> {
    made("database", has_server_without_driver(config).map_or(Ok(()), Err))?;
    made("database", DatabasePart::new(&config.database, migrations))
}

/// The part, or why it cannot be made.
#[cfg(any(feature = "cache", feature = "database", feature = "redis", feature = "uploads"))]
fn made<T, E: Display>(name: &'static str, made: Result<T, E>) -> Result<T, StartError> {
    made.map_err(|problem| StartError::Part { name, why: problem.to_string() })
}

/// The problem of a server's key where nothing says which kind of server it is: a file of SQLite in its place would be a surprise.
#[cfg(feature = "database")]
fn has_server_without_driver(config: &Config) -> Option<String> {
    let said = |key: &str| config.said("database", key);
    if config.database.driver != Driver::Sqlite || config.database.url.is_some() || said("driver").is_some() {
        return None;
    }
    let (key, place) = ["host", "port", "username"].iter().find_map(|key| Some((key, said(key)?)))?;
    Some(format!(
        "{place}: database.{key} is of a server, and nothing says of which kind; set database.driver to \"mysql\" or \
         \"postgres\", or take the key out"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::from_text(Path::new("shop.toml"), text).unwrap()
    }

    #[test]
    fn sections_that_nothing_is_registered_for_are_told_in_a_line() {
        let told = |text: &str| Asked::default().passed_over(&config(text));
        assert_eq!(told("[server]\nport = 1\n[database]\n"), None);
        let line = told("[redis]\nport = 1\n[database]\ndriver = \"mysql\"\n[sessions]\nidle = \"1h\"\n").unwrap();
        assert!(line.starts_with("[database], [redis], [sessions]: checked and not used"), "{line}");
    }

    #[test]
    fn a_program_that_registers_nothing_opens_nothing() {
        let made = Asked::default().make(&config("[database]\nhost = \"db\"\n[redis]\nhost = \"r\"\n")).unwrap();
        assert!(made.parts.is_empty());
    }

    #[cfg(feature = "database")]
    #[test]
    fn a_server_of_no_known_kind_is_no_file() {
        let told = |text: &str| has_server_without_driver(&config(text));
        let problem = told("[database]\nmax_open_conns = 1\nhost = \"db\"\n").unwrap();
        assert!(problem.starts_with("shop.toml:3: database.host is of a server"), "{problem}");
        for fine in [
            "",
            "[database]\ndatabase = \"/srv/shop.db\"\n",
            "[database]\ndriver = \"sqlite\"\nhost = \"db\"\n",
            "[database]\ndriver = \"mysql\"\nhost = \"db\"\n",
            "[database]\nurl = \"postgres://db/shop\"\nhost = \"db\"\n",
        ] {
            assert_eq!(told(fine), None, "{fine}");
        }
    }
}
