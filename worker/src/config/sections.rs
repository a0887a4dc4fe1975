//! The sections that this library itself lives by.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gin_shared::config::{Section, listen};
use ipnet::IpNet;

use super::cors::Origin;
use super::data::own_secret;
use super::mounts::{self, StaticMount};

/// `[server]`: under a supervisor host and port are the master's to use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// A name for people.
    pub name: String,
    /// An IP address.
    pub host: String,
    /// 0 chooses one.
    pub port: u16,
    /// debug, release or test.
    pub mode: Mode,
    /// Which of the system's endpoints everybody may see in release mode. `/metrics` is added where `monitoring.prometheus.enable` is
    /// written and `server.public` is not.
    pub public: Vec<String>,
    /// Whether a path that is wrong by a slash at its end is redirected.
    pub redirect_trailing_slash: bool,
    /// Whose X-Forwarded-For and X-Forwarded-Proto are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: "Gin Web Server".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 8080,
            mode: Mode::default(),
            public: ["/info", "/routes"].map(str::to_owned).to_vec(),
            redirect_trailing_slash: true,
            trusted_proxies: Vec::new(),
        }
    }
}

/// Gin's modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// For development.
    Debug,
    /// For production.
    #[default]
    Release,
    /// For tests.
    Test,
}

impl Server {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let modes = [("debug", Mode::Debug), ("release", Mode::Release), ("test", Mode::Test)];
        Self {
            name: section.string("name").unwrap_or(base.name),
            host: section.string("host").unwrap_or(base.host),
            port: section.integer("port", 0..=65535).and_then(|port| u16::try_from(port).ok()).unwrap_or(base.port),
            mode: section.choice("mode", &modes).unwrap_or(base.mode),
            public: section.texts("public").map_or(base.public, |paths| known_endpoints(section, paths)),
            redirect_trailing_slash: section.boolean("redirect_trailing_slash").unwrap_or(base.redirect_trailing_slash),
            trusted_proxies: section
                .texts("trusted_proxies")
                .map_or(base.trusted_proxies, |all| networks(section, &all)),
        }
    }
}

/// The endpoints of the system that release mode can hide: the private listener shows them always.
const CAN_BE_HIDDEN: [&str; 3] = ["/metrics", "/routes", "/info"];

fn known_endpoints(section: &Section<'_>, paths: Vec<String>) -> Vec<String> {
    for path in paths.iter().filter(|path| !CAN_BE_HIDDEN.contains(&path.as_str())) {
        section.problem("public", &format!("\"{path}\" is none of {}", CAN_BE_HIDDEN.join(", ")));
    }
    paths
}

fn networks(section: &Section<'_>, all: &[String]) -> Vec<IpNet> {
    let network = |text: &String| {
        let read = listen::network(text).and_then(|network| network.parse::<IpNet>().ok());
        if read.is_none() {
            section.problem("trusted_proxies", &format!("\"{text}\" is no network; write it as \"10.0.0.0/8\""));
        }
        read
    };
    all.iter().filter_map(network).collect()
}

/// `[features]`, without the switches of [`super::Tracing`] and [`super::Profiling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// false cuts what is under way at a stop.
    pub graceful_shutdown: bool,
    /// Whether requests are counted.
    pub metrics: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { graceful_shutdown: true, metrics: true }
    }
}

impl Features {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        // The master's.
        let _ = section.place("hot_restart");
        Self {
            graceful_shutdown: section.boolean("graceful_shutdown").unwrap_or(base.graceful_shutdown),
            metrics: section.boolean("metrics").unwrap_or(base.metrics),
        }
    }
}

/// `[static]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Static {
    /// The directory whose files are served, if any.
    pub dir: Option<PathBuf>,
    /// Under which path.
    pub url_prefix: String,
    /// Whether a directory without an index file is listed.
    pub enable_directory_listing: bool,
    /// What stands for a directory.
    pub index_files: Vec<String>,
    /// The page of a single-page application, below `dir`: the answer to a browser where there is no file and no route.
    pub fallback: Option<String>,
    /// For how long a client need not ask again. In debug mode it asks each time.
    pub cache_max_age: Duration,
    /// The same for HTML. Zero, because a page names the scripts of its release: an old page asks for scripts that are gone.
    pub html_max_age: Duration,
    /// True if a client may keep a file for a year whose name has a hash.
    pub immutable: bool,
    /// Whether text is compressed.
    pub enable_compression: bool,
    /// 1 to 9.
    pub compression_level: u8,
    /// Which endings are served; none named: all.
    pub allowed_types: Vec<String>,
    /// Larger files are refused. In bytes.
    pub max_size: Option<u64>,
    /// For small files that are asked for often, of all directories. In bytes.
    pub memory: u64,
    /// More directories, each under a path of its own.
    pub mounts: Vec<StaticMount>,
}

impl Default for Static {
    fn default() -> Self {
        Self {
            dir: None,
            url_prefix: "/static".to_owned(),
            enable_directory_listing: false,
            index_files: vec!["index.html".to_owned()],
            fallback: None,
            cache_max_age: Duration::from_secs(24 * 60 * 60),
            html_max_age: Duration::ZERO,
            immutable: true,
            enable_compression: true,
            compression_level: 6,
            allowed_types: Vec::new(),
            max_size: None,
            memory: 64 << 20,
            mounts: Vec::new(),
        }
    }
}

impl Static {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        let dir = section.string("dir").map(PathBuf::from);
        let url_prefix = mounts::prefix_of(section).unwrap_or(base.url_prefix);
        let fallback = mounts::fallback_of(section);
        if fallback.is_some() && dir.is_none() {
            section.problem("fallback", "it is a file of static.dir, which is not set; set that, or take this out");
        }
        let level = section.integer("compression_level", 1..=9).and_then(|level| u8::try_from(level).ok());
        Self {
            mounts: mounts::read(section, dir.is_some().then_some(url_prefix.as_str())),
            dir,
            url_prefix,
            fallback,
            enable_directory_listing: section
                .boolean("enable_directory_listing")
                .unwrap_or(base.enable_directory_listing),
            index_files: section.texts("index_files").unwrap_or(base.index_files),
            cache_max_age: section.duration("cache_max_age").unwrap_or(base.cache_max_age),
            html_max_age: section.duration("html_max_age").unwrap_or(base.html_max_age),
            immutable: section.boolean("immutable").unwrap_or(base.immutable),
            enable_compression: section.boolean("enable_compression").unwrap_or(base.enable_compression),
            compression_level: level.unwrap_or(base.compression_level),
            allowed_types: section.texts("allowed_types").unwrap_or(base.allowed_types),
            max_size: section.size("max_size"),
            memory: section.size("memory").unwrap_or(base.memory),
        }
    }
}

/// `[security]`
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Security {
    /// Whether the usual headers are set.
    pub headers: bool,
    /// How long a browser that has come over TLS keeps to it: 365 days. Zero sets no header.
    pub hsts: Duration,
    /// True if that counts for the host's subdomains, too.
    pub hsts_subdomains: bool,
    /// True if a core of a worker that speaks TLS has its memory.
    pub core_dumps: bool,
    /// A file of which the keys of session tickets are made.
    pub ticket_secret_file: Option<PathBuf>,
    /// True if requests are refused that a page of another origin sends.
    pub enable_csrf: bool,
    /// Signs the tokens of forms.
    pub csrf_secret: Option<String>,
    /// A file with the secret, which counts where `csrf_secret` is not set.
    pub csrf_secret_file: Option<PathBuf>,
    /// Other origins whose pages may send such requests.
    pub csrf_origins: Vec<Origin>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            headers: true,
            hsts: Duration::from_secs(365 * 24 * 60 * 60),
            hsts_subdomains: true,
            core_dumps: false,
            ticket_secret_file: None,
            enable_csrf: false,
            csrf_secret: None,
            csrf_secret_file: None,
            csrf_origins: Vec::new(),
        }
    }
}

/// Without the secret, which stands in no log.
impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { headers, hsts, hsts_subdomains, core_dumps, ticket_secret_file, enable_csrf, csrf_origins, .. } =
            self;
        let mut shown = f.debug_struct("Security");
        shown.field("headers", headers).field("hsts", hsts).field("hsts_subdomains", hsts_subdomains);
        shown.field("core_dumps", core_dumps).field("ticket_secret_file", ticket_secret_file);
        shown.field("enable_csrf", enable_csrf).field("csrf_origins", csrf_origins).finish_non_exhaustive()
    }
}

impl Security {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let base = Self::default();
        Self {
            headers: section.boolean("headers").unwrap_or(base.headers),
            hsts: section.duration("hsts").unwrap_or(base.hsts),
            hsts_subdomains: section.boolean("hsts_subdomains").unwrap_or(base.hsts_subdomains),
            core_dumps: section.boolean("core_dumps").unwrap_or(base.core_dumps),
            ticket_secret_file: section.path("ticket_secret_file"),
            enable_csrf: section.boolean("enable_csrf").unwrap_or(base.enable_csrf),
            csrf_secret: section.string("csrf_secret"),
            csrf_secret_file: section.path("csrf_secret_file"),
            csrf_origins: section.texts("csrf_origins").map_or(base.csrf_origins, |all| csrf_origins(section, &all)),
        }
    }

    /// The secret against CSRF: `csrf_secret`, else the text of `csrf_secret_file`. `None`: the worker makes one and keeps it in the state
    /// directory.
    ///
    /// # Errors
    /// If the file cannot be read, or has nothing: a sentence that names the key.
    #[cfg_attr(not(feature = "csrf"), allow(dead_code, reason = "for the feature csrf"))]
    pub(crate) fn read_csrf_secret(&self) -> Result<Option<String>, String> {
        own_secret(self.csrf_secret.as_deref(), "security.csrf_secret_file", self.csrf_secret_file.as_deref())
    }
}

fn csrf_origins(section: &Section<'_>, all: &[String]) -> Vec<Origin> {
    let origin = |text: &String| {
        let read = Origin::parse(text).and_then(|origin| match origin {
            Origin::Any => Err("\"*\" would let every page in; name the origins".to_owned()),
            named => Ok(named),
        });
        read.map_err(|error| section.problem("csrf_origins", &error)).ok()
    };
    all.iter().filter_map(origin).collect()
}
