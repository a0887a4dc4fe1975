//! Directories and files among the routes: what is served under which path, and by which settings.

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use axum::response::Response;

use crate::StartError;
use crate::assets::{Asking, Files};
use crate::config::{Config, MountOptions, Static};
use crate::request_path::normal_path;
use crate::router::Place;

/// A directory whose files are served under a path, with settings of its own: see [`crate::Server::mount`].
///
/// What is not set here is as in `[static]`. In debug mode a browser asks for each file anew, whatever is set.
///
/// ```
/// use std::time::Duration;
/// use gin_worker::{Config, Mount, Server};
/// # let temporary = tempfile::tempdir()?;
/// # let (dist, uploads) = (temporary.path(), temporary.path());
/// # std::fs::write(dist.join("index.html"), "")?;
///
/// let server: Server = Server::new(&Config::<()>::default())
///     .get("/api/health", || async { "well" })
///     // A single-page application: a browser that goes to /orders/7 gets index.html.
///     .mount(Mount::new("/", dist).fallback("index.html"))
///     // Here another picture may come under the same name.
///     .mount(Mount::new("/uploads", uploads).immutable(false).cache_max_age(Duration::ZERO).max_size(10 << 20));
/// # server.into_router()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is served by `Server::mount`"]
pub struct Mount {
    /// As it was written.
    prefix: String,
    /// The directory or file. For `static.dir` the directory of the start: the configuration may name another one later.
    path: PathBuf,
    kind: Kind,
    options: MountOptions,
    place: &'static Location<'static>,
}

/// Who has asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The configuration, by `static.dir`: it may be another directory later.
    StaticDir,
    /// The configuration, by one of `[[static.mounts]]`.
    StaticMount,
    /// The application.
    Directory,
    /// The application: one file.
    File,
}

impl Mount {
    /// Serves the files of `dir` under `prefix`. A relative `dir` is meant from where the worker runs.
    #[track_caller]
    pub fn new(prefix: &str, dir: impl Into<PathBuf>) -> Self {
        Self::of(Kind::Directory, prefix, dir.into(), MountOptions::default(), Location::caller())
    }

    /// Serves one file at `path`.
    #[track_caller]
    pub(crate) fn file(path: &str, file: impl Into<PathBuf>) -> Self {
        Self::of(Kind::File, path, file.into(), MountOptions::default(), Location::caller())
    }

    /// Those of `[static]` and `[[static.mounts]]`, as the caller's.
    #[track_caller]
    pub(crate) fn configured(settings: &Static) -> Vec<Self> {
        let place = Location::caller();
        let first = settings
            .dir
            .as_ref()
            .map(|dir| Self::of(Kind::StaticDir, &settings.url_prefix, dir.clone(), MountOptions::default(), place));
        let more = settings.mounts.iter().map(|mount| {
            Self::of(Kind::StaticMount, &mount.url_prefix, mount.dir.clone(), mount.options.clone(), place)
        });
        first.into_iter().chain(more).collect()
    }

    fn of(kind: Kind, prefix: &str, path: PathBuf, options: MountOptions, place: &'static Location<'static>) -> Self {
        Self { prefix: prefix.to_owned(), path, kind, options, place }
    }

    /// Answers a browser with this file of the directory where there is no file and no route: the page of a single-page application,
    /// whose own router knows what the path means.
    ///
    /// A browser is known by `text/html` in `Accept`, for GET and HEAD; a script, a picture or a call of an API that is missing is 404
    /// as before. The page is answered with 200, and asked for each time. If there is no such file, the server does not start.
    pub fn fallback(mut self, page: impl Into<String>) -> Self {
        self.options.fallback = Some(page.into());
        self
    }

    /// Lists a directory that has no index file.
    pub fn list_directories(mut self, lists: bool) -> Self {
        self.options.enable_directory_listing = Some(lists);
        self
    }

    /// Names the files that stand for a directory: the first that is there.
    pub fn index_files<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.options.index_files = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Lets a client keep a file for so long without asking; zero: it asks each time. HTML has [`Self::html_max_age`].
    pub fn cache_max_age(mut self, age: Duration) -> Self {
        self.options.cache_max_age = Some(age);
        self
    }

    /// Lets a client keep HTML for so long without asking. The default is zero: a page names the scripts of its release, and an old page
    /// asks for scripts that are gone.
    pub fn html_max_age(mut self, age: Duration) -> Self {
        self.options.html_max_age = Some(age);
        self
    }

    /// Lets a client keep a file for a year, without asking, if the name has a hash: `app-5f3a9c21.js`, `app.5f3a9c21.js`. That is the
    /// default, and wrong where another content may come under the same name.
    ///
    /// A hash has 8 characters or more after the last `-`, or between two dots: hexadecimal digits in small letters, base32, or base64url
    /// without `-`. What could be a word, a number, a date or a UUID is no hash.
    pub fn immutable(mut self, is_immutable: bool) -> Self {
        self.options.immutable = Some(is_immutable);
        self
    }

    /// Compresses text for clients that accept that.
    pub fn compression(mut self, compresses: bool) -> Self {
        self.options.enable_compression = Some(compresses);
        self
    }

    /// Serves files with these endings alone (`"png"`).
    pub fn allowed_types<N: Into<String>>(mut self, endings: impl IntoIterator<Item = N>) -> Self {
        self.options.allowed_types = Some(endings.into_iter().map(Into::into).collect());
        self
    }

    /// Refuses files that are larger than this number of bytes.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.options.max_size = Some(bytes);
        self
    }

    /// The path as it was written.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn place(&self) -> Place {
        match self.kind {
            Kind::StaticDir => Place::Key("static.dir"),
            Kind::StaticMount => Place::Key("static.mounts"),
            Kind::Directory | Kind::File => Place::Code(self.place),
        }
    }

    /// True for one file.
    pub(crate) fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// True if both are directories under the same path.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        let path = |of: &Self| normal_path(of.prefix.trim_matches('/'));
        !self.is_file() && !other.is_file() && path(self) == path(other)
    }

    /// Opens it with so many bytes for small files.
    ///
    /// # Errors
    /// If there is no such directory or file, or no such fallback.
    pub(crate) fn open(&self, config: &Config, memory: u64) -> Result<Mounted, StartError> {
        let path = self.path(config);
        let failed = |error| self.failed(config, "dir", path, error);
        let (files, name) = if self.is_file() {
            let (files, name) = Files::one(path, memory).map_err(failed)?;
            (files, Some(name))
        } else {
            (Files::open(path, &self.prefix, memory).map_err(failed)?, None)
        };
        self.renewed(&Mounted { files: Arc::new(files), name, settings: Static::default() }, config)
    }

    /// The same files, by the settings as they are now.
    ///
    /// # Errors
    /// If there is no such fallback.
    pub(crate) fn renewed(&self, before: &Mounted, config: &Config) -> Result<Mounted, StartError> {
        let settings = self.settings(config);
        if let Some(page) = &settings.fallback {
            let page = Path::new(page);
            let failed = |error| self.failed(config, "fallback", &self.path(config).join(page), error);
            before.files.has(page).map_err(failed)?;
        }
        Ok(Mounted { files: Arc::clone(&before.files), name: before.name.clone(), settings })
    }

    /// Settings in force: those of `[static]`, its own over them, as the mode has them.
    fn settings(&self, config: &Config) -> Static {
        let own = self.options.over(&config.files);
        let fallback = if self.kind == Kind::StaticDir { config.files.fallback.clone() } else { own.fallback.clone() };
        Static { fallback, ..own }.in_mode(config.server.mode)
    }

    fn path<'a>(&'a self, config: &'a Config) -> &'a Path {
        let configured = config.files.dir.as_deref().filter(|_| self.kind == Kind::StaticDir);
        configured.unwrap_or(&self.path)
    }

    fn failed(&self, config: &Config, key: &str, path: &Path, error: io::Error) -> StartError {
        let named = match self.kind {
            Kind::StaticDir => said(config, key),
            Kind::StaticMount => said(config, "mounts"),
            Kind::Directory | Kind::File => format!("{}: {self}", self.place),
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        StartError::Files { named, dir: path.display().to_string(), error }
    }
}

/// The key of `[static]` with its place. Where nothing that was read sets it, the program has: the field.
fn said(config: &Config, key: &str) -> String {
    let field = || format!("config.files.{key}");
    config.said("static", key).map_or_else(field, |place| format!("{place}: static.{key}"))
}

/// What the caller wrote.
impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, path, kind, .. } = self;
        match kind {
            Kind::StaticDir => write!(f, "files of static.dir ({path:?}) at {prefix:?}"),
            Kind::StaticMount => write!(f, "files of static.mounts ({path:?}) at {prefix:?}"),
            Kind::Directory => write!(f, "files of {path:?} at {prefix:?}"),
            Kind::File => write!(f, "file {path:?} at {prefix:?}"),
        }
    }
}

/// An open directory, or one file of it, and the settings by which it is served.
#[derive(Debug)]
pub(crate) struct Mounted {
    files: Arc<Files>,
    /// Of the one file.
    name: Option<PathBuf>,
    settings: Static,
}

impl Mounted {
    pub(crate) async fn answer(&self, request: &Asking<'_>) -> Response {
        match &self.name {
            Some(name) => self.files.answer_with(&self.settings, request, name).await,
            None => self.files.answer(&self.settings, request).await,
        }
    }
}
