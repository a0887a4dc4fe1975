//! The configuration of a worker: a file in any of three formats, the environment over it, the command line over both.
//!
//! Every section of the file is read here but `[supervisor]`; everything that is wrong is told at once, each thing with the file
//! and the line, or the variable, or the flag. `[app]` is the application's own:
//!
//! ```no_run
//! #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
//! struct Settings {
//!     greeting: String,
//! }
//! # fn f() -> Result<(), gin_worker::config::Invalid> {
//! let config = gin_worker::Config::<Settings>::load()?;
//! println!("{}", config.app.greeting);
//! # Ok(())
//! # }
//! ```
//!
//! [`show`] tells what is in force, without secrets; of `[app]` it shows the values that [`show_public`] is told are public.

mod app_path;
mod app_read;
mod builder;
mod certificate_check;
mod cors;
mod data;
mod flags;
mod left_out;
mod levels;
mod limits;
mod mounts;
mod observability;
mod otel_variables;
mod profiling;
mod rate_limit;
mod ready_timeout;
mod sections;
mod show;
mod source;
mod start_check;
#[cfg(test)]
mod tests;
mod tracing;
mod within;

use std::path::{Path, PathBuf};

use gin_shared::config::listen::{self, ListenSettings};
use serde::de::DeserializeOwned;

pub use self::tracing::{TraceParents, Tracing};
pub use builder::Builder;
pub use cors::{Cors, Origin};
pub use data::{
    Algorithm, Auth, AuthKey, Cache, CacheLevels, Database, Driver, Redis, RedisTls, Revocation, SessionStore,
    Sessions, Store, Tls, Uploads,
};
pub use ipnet::IpNet;
pub(crate) use levels::Levels;
pub use limits::{Limits, Timeouts, WebSocket};
pub use mounts::{MountOptions, StaticMount};
pub use observability::{Format, Level, Logging, Metrics, Monitoring, Output};
pub use profiling::Profiling;
#[cfg(feature = "profile")]
#[allow(unused_imports, reason = "pages of profiles compare tokens")]
pub(crate) use profiling::Secret;
pub use rate_limit::{RateLimit, RateLimitStore, WithoutAddress};
pub use sections::{Features, Mode, Security, Server, Static};
pub(crate) use show::difference;
#[cfg(test)]
pub(crate) use show::samples;
pub use show::{Shown, show, show_public};
use source::Read;
pub use source::{Invalid, Overrides};

/// Settings of a worker; `A` is what `[app]` says.
///
/// Sections and keys come with new versions, so no program makes one field by field: [`Config::load`], [`Config::builder`], or a
/// [`Default`] whose fields are set.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Config<A = ()> {
    /// `[server]`
    pub server: Server,
    /// `[features]`
    pub features: Features,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[limits]`
    pub limits: Limits,
    /// `[websocket]`
    pub websocket: WebSocket,
    /// `[static]`
    pub files: Static,
    /// `[cors]`
    pub cors: Cors,
    /// `[rate_limit]`
    pub rate_limit: RateLimit,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[logging]`
    pub logging: Logging,
    /// `[monitoring]`
    pub monitoring: Monitoring,
    /// `[monitoring.jaeger]`
    pub tracing: Tracing,
    /// `[monitoring.pprof]`
    pub profiling: Profiling,
    /// `[security]`
    pub security: Security,
    /// `[database]`
    pub database: Database,
    /// `[redis]`
    pub redis: Redis,
    /// `[cache]`
    pub cache: Cache,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[auth]`
    pub auth: Auth,
    /// `[uploads]`
    pub uploads: Uploads,
    /// `[app]`
    pub app: A,
    /// What each listener of the supervisor speaks, by its name.
    pub(crate) listeners: Vec<(String, ListenSettings)>,
    /// The same for a TCP listener that has no name there.
    pub(crate) listener_default: ListenSettings,
    /// Settings that are valid, but suspicious.
    pub warnings: Vec<String>,
    /// Sources of the settings, to be read again.
    pub(crate) origin: source::Origins,
}

/// The problem of a rate limit for clients over this Unix socket.
pub(crate) fn tells_no_address(address: &str) -> String {
    format!(
        "rate_limit.enable: clients over {address} have no address to be counted by; set server.trusted_proxies, so that the \
         X-Forwarded-For of the proxy before it counts, or rate_limit.without_address = \"one_bucket\" or \"unlimited\""
    )
}

impl<A> Config<A> {
    /// True if handlers are to have spans.
    pub(crate) fn traces_handlers(&self) -> bool {
        self.tracing.is_on && cfg!(feature = "otel")
    }

    /// True if a Unix socket to accept on is an error, because the rate limit could tell no client over it from another.
    pub(crate) fn refuses_unix_sockets(&self) -> bool {
        let limit = &self.rate_limit;
        limit.enable && limit.without_address == WithoutAddress::Error && self.server.trusted_proxies.is_empty()
    }
}

impl<A> Config<A> {
    /// What a TCP listener of this name speaks. Other sockets, and the private listener, speak cleartext whatever this says.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "for the feature tls"))]
    pub(crate) fn listener(&self, name: &str) -> &ListenSettings {
        listen::settings_of(name, &self.listeners, &self.listener_default)
    }
}

impl<A> Config<A> {
    /// The same, with another word of the application's.
    fn with_app<B>(self, app: B) -> Config<B> {
        Config {
            server: self.server,
            features: self.features,
            timeouts: self.timeouts,
            limits: self.limits,
            websocket: self.websocket,
            files: self.files,
            cors: self.cors,
            rate_limit: self.rate_limit,
            metrics: self.metrics,
            logging: self.logging,
            monitoring: self.monitoring,
            tracing: self.tracing,
            profiling: self.profiling,
            security: self.security,
            database: self.database,
            redis: self.redis,
            cache: self.cache,
            sessions: self.sessions,
            auth: self.auth,
            uploads: self.uploads,
            app,
            listeners: self.listeners,
            listener_default: self.listener_default,
            warnings: self.warnings,
            origin: self.origin,
        }
    }
}

impl<A: Clone> Config<A> {
    /// Without the application's own.
    pub(crate) fn settings(&self) -> Config {
        self.clone().with_app(())
    }
}

impl Config {
    /// What may change while it runs ([`gin_shared::reference::Applies::Live`]) is as `new` says.
    pub(crate) fn with_live(self, new: &Self) -> Self {
        let new = new.clone();
        Self {
            server: Server { trusted_proxies: new.server.trusted_proxies, ..self.server },
            timeouts: Timeouts { request: new.timeouts.request, ..self.timeouts },
            limits: Limits { body: new.limits.body, ..self.limits },
            files: Static { url_prefix: self.files.url_prefix, mounts: self.files.mounts, ..new.files },
            cors: new.cors,
            rate_limit: RateLimit { store: self.rate_limit.store, clients: self.rate_limit.clients, ..new.rate_limit },
            logging: Logging { level: new.logging.level, targets: new.logging.targets, ..self.logging },
            tracing: Tracing { sample_rate: new.tracing.sample_rate, ..self.tracing },
            security: Security {
                headers: new.security.headers,
                hsts: new.security.hsts,
                hsts_subdomains: new.security.hsts_subdomains,
                ..self.security
            },
            auth: Auth { keys: new.auth.keys, ..self.auth },
            origin: new.origin,
            ..self
        }
    }
}

impl<A: DeserializeOwned + Default> Config<A> {
    /// The same once more, from the file as it is now, the environment and the command line.
    pub(crate) fn again<B>(before: &Config<B>) -> Result<Self, Invalid> {
        let origin = &before.origin;
        let file = origin.file.as_ref().map(|(path, _)| path.as_path());
        Self::of(Read::from_surroundings(file, origin.flags.clone(), &|name| origin.app_path(name))?)
    }

    /// Reads the file that `--config FILE` names, else `GIN_CONFIG` (a supervisor sets it to the snapshot of this generation), else
    /// `CONFIG_FILE`, else the first of `config.yaml`, `config.yml`, `config.toml` and `config.json` in the current directory, if there is
    /// one. The environment counts over it (`GIN_SECTION_KEY`, else `SECTION_KEY`), and over both the flags `--host`, `--port`, `--mode`
    /// and `--log-level`. `--config-check` says what is wrong, or what a start would not find ([`Self::check`],
    /// [`Self::check_certificates`]), and ends the process, with 0 or 2; `--help` lists these flags, and ends it. Any other flag is an
    /// error: an application with flags of its own reads its command line itself, and calls [`Self::load_with`]. What is no flag, and what
    /// follows `--`, is the application's.
    ///
    /// # Errors
    /// [`Invalid`]: everything that is wrong.
    pub fn load() -> Result<Self, Invalid> {
        let mut args = std::env::args_os();
        let program = args.next().map(PathBuf::from).unwrap_or_default();
        let flags::Flags { config, overrides, is_check, is_help, unknown } = flags::Flags::read(args);
        if is_help {
            print!("{}", flags::help(&program.file_name().unwrap_or_default().to_string_lossy()));
            std::process::exit(gin_shared::exit::DONE.into());
        }
        let loaded = flags::with_unknown(Self::load_with(config.as_deref(), overrides), &unknown);
        if is_check {
            std::process::exit(flags::checked(loaded));
        }
        loaded
    }

    /// The same for a file of one's own choice, and with the command line over all. Without a file it is found as by [`Self::load`].
    ///
    /// ```no_run
    /// use gin_worker::Config;
    /// use gin_worker::config::{Invalid, Overrides};
    ///
    /// // As the application's own command line says it.
    /// fn configuration(port: Option<i64>) -> Result<Config, Invalid> {
    ///     let flags = Overrides::default().integer("server", "port", "--port", port);
    ///     Config::load_with(Some("shop.toml".as_ref()), flags)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(path: Option<&Path>, flags: Overrides) -> Result<Self, Invalid> {
        Self::of(Read::from_surroundings(path, flags, &app_path::of::<A>)?)
    }

    /// The same for a text, as if it stood in a file of this name, without the environment.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(name: &Path, text: &str) -> Result<Self, Invalid> {
        Self::of(Read::from_text(name, text, Overrides::default(), &|_| None)?)
    }

    fn of(read: Read) -> Result<Self, Invalid> {
        let mut sections = read.sections();
        let (security, listeners, listener_default) = sections.security();
        let (features, monitoring, tracing, profiling) = sections.observability();
        let mut config = Self {
            server: sections.read("server", Server::read),
            features,
            timeouts: sections.read("timeouts", Timeouts::read),
            limits: sections.read("limits", Limits::read),
            websocket: sections.read("websocket", WebSocket::read),
            files: sections.read("static", Static::read),
            cors: sections.read("cors", Cors::read),
            rate_limit: sections.read("rate_limit", RateLimit::read),
            metrics: sections.read("metrics", Metrics::read),
            logging: sections.read("logging", Logging::read),
            monitoring,
            tracing,
            profiling,
            security,
            database: sections.read("database", Database::read),
            redis: sections.read("redis", Redis::read),
            cache: sections.read("cache", Cache::read),
            sessions: sections.read("sessions", Sessions::read),
            auth: sections.read("auth", Auth::read),
            uploads: sections.read("uploads", Uploads::read),
            app: sections.app(),
            listeners,
            listener_default,
            warnings: Vec::new(),
            origin: source::Origins::default(),
        };
        if config.monitoring.is_asked_for && !sections.says("server", "public") {
            config.server.public.push("/metrics".to_owned());
        }
        let mut warnings = sections.finish(&config)?;
        warnings.splice(0..0, read.warnings.iter().cloned());
        Ok(Self { warnings, origin: read.into_origins(), ..config })
    }
}
